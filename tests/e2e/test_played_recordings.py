"""Recordings as people have them: with holes, late snapshots, in several files, of another venue."""

import gzip
import json

import pytest

START_MS = 1_700_000_000_000


def diff(number, **fields):
    """A diff at its own tenth of a second: one level far from the top, which a hole would leave behind as a ghost."""
    event = {"e": "depthUpdate", "E": START_MS + number * 100, "s": "BTCUSDT", "U": number, "u": number, **fields}
    return event | {"b": [["97.00", f"{number}.0"]], "a": []}


def book(number, best="100.00"):
    bids = [[best, "5.0"], ["99.00", "7.0"], ["98.00", "9.0"]]
    return {"at": number, "lastUpdateId": number, "bids": bids, "asks": [["101.00", "5.0"], ["102.00", "7.0"]]}


def diffs(first, last):
    return [diff(number) for number in range(first, last + 1)]


def written(path, lines):
    """Write events and snapshots as a recorder does; a snapshot stands right behind the diff of its id."""
    with path.open("w") as file:
        for number, line in enumerate(lines):
            time_ms = START_MS + (line["u"] if "u" in line else line["at"]) * 100 + number % 2
            body = {"stream": "btcusdt@depth@100ms", "data": line} if "u" in line else line
            body = {name: body[name] for name in ("stream", "data")} if "stream" in line else body
            file.write(f"{time_ms}000000 {json.dumps(body, separators=(',', ':'))}\n")
    return path


@pytest.fixture
def play(standalone, rows_of, tmp_path):
    """Play recordings as fast as it goes and a thousand times as fast as recorded; both have to give the same rows."""

    def run(*paths, options=(), **environ):
        runs = []
        for speed in ("max", "1000"):
            database = tmp_path / f"{speed}.db"
            common = ("--speed", speed, "--once", "--database", database)
            done = standalone("--capture", *paths, *common, *options, **environ)
            summary = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
            runs.append((done, summary, rows_of(database)))
        (done, summary, rows), (done_again, _, rows_again) = runs
        assert rows == rows_again
        assert done.returncode == done_again.returncode
        assert "Traceback" not in done.stderr
        return done, summary, rows

    return run


def ids(rows):
    return [row["update_id"] for row in rows["fair_price"]]


def gaps(rows):
    return [(row["from_update_id"], row["to_update_id"]) for row in rows.get("gap", [])]


def test_what_follows_a_hole_is_a_gap_to_the_end_where_no_snapshot_comes_again(play, tmp_path):
    lines = [diff(101), book(101), *diffs(102, 110), *diffs(121, 140)]
    done, summary, rows = play(written(tmp_path / "r", lines))

    assert ids(rows) == list(range(102, 111))
    assert gaps(rows) == [(111, 140)]
    assert (done.returncode, summary["out_of_sync"], summary["gaps"]) == (1, ["BTCUSDT"], 1)


def test_a_later_snapshot_heals_a_hole_and_the_rest_is_a_gap(play, tmp_path):
    lines = [diff(101), book(101), *diffs(102, 110), *diffs(121, 130), book(130, "99.50"), *diffs(131, 150)]
    done, summary, rows = play(written(tmp_path / "r", lines))

    assert ids(rows) == [*range(102, 111), *range(131, 151)]
    assert gaps(rows) == [(111, 130)]
    assert {row["bid"] for row in rows["fair_price"] if row["update_id"] > 130} == {99.5}
    assert (done.returncode, summary["out_of_sync"]) == (0, [])


def test_each_of_several_holes_is_healed_by_the_snapshot_behind_it(play, tmp_path):
    lines = [diff(1), book(1), *diffs(2, 5), *diffs(8, 9), book(9), *diffs(10, 14), book(14), *diffs(15, 16)]
    lines += [*diffs(20, 22), book(22), *diffs(23, 25)]
    done, _, rows = play(written(tmp_path / "r", lines))

    assert ids(rows) == [*range(2, 6), *range(10, 17), *range(23, 26)]
    assert gaps(rows) == [(6, 9), (17, 22)]
    assert done.returncode == 0


def test_a_snapshot_that_is_too_old_gives_no_book(play, tmp_path):
    done, summary, rows = play(written(tmp_path / "r", [book(101), *diffs(150, 170)]))

    assert rows.get("fair_price", []) == []
    assert (done.returncode, summary["without_books"]) == (1, ["BTCUSDT"])
    assert "no book could be made of BTCUSDT" in done.stderr


def test_two_diffs_that_have_changed_places_are_put_right(play, tmp_path):
    lines = [diff(101), book(101), *diffs(102, 103), diff(105), diff(104), *diffs(106, 121)]
    done, summary, rows = play(written(tmp_path / "r", lines))

    assert ids(rows) == list(range(102, 122))
    assert gaps(rows) == []
    assert (done.returncode, summary["gaps"]) == (0, 0)


def test_diffs_with_impossible_times_are_left_out_told_and_a_hole(play, tmp_path):
    lines = [diff(101), book(101), *diffs(102, 110), *diffs(111, 120), book(120), *diffs(121, 125)]
    path = written(tmp_path / "r", lines)
    path.write_text(path.read_text().replace(f'"E":{START_MS + 11_200}', f'"E":{START_MS + 200_000_000}'))
    done, _, rows = play(path)

    assert "line 13 (after 2023-11-14T22:13:31.101Z, before 2023-11-14T22:13:31.301Z): its event time is" in done.stderr
    assert gaps(rows) == [(112, 120)]
    assert done.returncode == 0


def test_what_cannot_be_read_is_told_and_a_gap_and_refused_if_strict(play, standalone, tmp_path):
    """A folder of what killed recorders and disks leave: a file that is cut off, one of NULs, one with a bad line."""
    folder = tmp_path / "folder"
    folder.mkdir()
    whole = written(folder / "a", [diff(101), book(101), *diffs(102, 110)])
    (folder / "a.gz").write_bytes(gzip.compress(whole.read_bytes()[:-20]))
    whole.unlink()
    path = written(folder / "b", [*diffs(111, 112), book(112), *diffs(113, 130), book(130, "99.50"), *diffs(131, 140)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\0" * 1000 + b"".join(lines[:10]) + b"what is this\n" + b"".join(lines[12:]))
    (folder / "empty.gz").write_bytes(b"")
    done, _, rows = play(folder)

    assert ids(rows) == [*range(102, 110), *range(113, 120), *range(131, 141)]
    assert gaps(rows) == [(110, 112), (120, 130)]
    assert done.returncode == 0
    for words in (
        "a.gz, line 11 (after 2023-11-14T22:13:30.901Z, to the end): not valid JSON",
        "b, line 1 (from the begin, before 2023-11-14T22:13:31.100Z): a block of NULs",
        "b, line 11 (after 2023-11-14T22:13:31.901Z, before 2023-11-14T22:13:32.200Z): does not begin with",
        "empty.gz, line 1 (from the begin, to the end): holds no market events",
    ):
        assert f"not readable, and a hole: {folder}/{words}" in done.stderr
    strict = standalone("--capture", folder, "--strict", "--once", "--database", tmp_path / "strict.db")
    assert strict.returncode == 2
    assert len(strict.stderr.splitlines()) == 1


def ticker(number, bid="100.00"):
    event = {"u": number, "s": "BTCUSDT", "b": bid, "B": "5.0", "a": "101.00", "A": "5.0"}
    return {"stream": "btcusdt@bookTicker", "data": event, "at": number}


def test_a_ticker_that_cannot_be_read_accuses_no_book(play, tmp_path):
    """The top changes with diff 105, its ticker is damaged: the one before it must not contradict the book."""
    lines = [ticker(101), diff(101), book(101), *diffs(102, 104)]
    change = diff(105) | {"b": [["100.50", "5.0"]]}
    path = written(tmp_path / "r", [*lines, ticker(105, "100.50"), change, diff(106), ticker(107, "100.50"), diff(107)])
    half = '"u":105,"s":"BTC'
    path.write_text("".join(line.partition(half)[0] + "\n" for line in path.read_text().splitlines()))
    done, _, rows = play(path)

    assert ids(rows) == list(range(102, 108))
    assert (done.returncode, gaps(rows)) == (0, [])


def test_a_part_of_a_recording_is_played_from_the_first_snapshot_in_it(play, tmp_path):
    lines = [diff(101), book(101), *diffs(102, 130), book(130), *diffs(131, 150)]
    path = written(tmp_path / "r", lines)
    for start in ("2s", "2023-11-14T22:13:32.5Z"):
        done, _, rows = play(path, options=("--from", start, "--to", "4s"))
        assert ids(rows) == list(range(131, 141))
        assert (done.returncode, gaps(rows)) == (0, [])
    done, *_ = play(path, options=("--from", "1h"))
    assert done.returncode == 2
    assert "nothing is recorded from 2023-11-14T23:13:30.100Z to the end" in done.stderr


def test_several_recordings_are_one_after_the_other_and_so_are_those_of_a_folder(play, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    first = written(folder / "b", [diff(101), book(101), *diffs(102, 105)])
    second = written(folder / "a", [*diffs(201, 203), book(203), *diffs(204, 206)])
    for paths in ((first, second), (folder,)):
        done, _, rows = play(*paths)

        assert ids(rows) == [*range(102, 106), *range(204, 207)]
        assert gaps(rows) == [(106, 203)]
        assert done.returncode == 0


def futures(number):
    return diff(number, U=number, pu=number - 1)


def test_the_venue_is_that_of_the_recording(play, tmp_path):
    done, _, rows = play(written(tmp_path / "r", [futures(101), book(101), *map(futures, range(102, 110))]))

    assert done.returncode == 0
    assert {row["venue"] for row in rows["fair_price"]} == {"binance-usdm"}
    assert ids(rows) == list(range(102, 110))


@pytest.mark.parametrize(
    ("lines", "environ", "words"),
    [
        ([diff(1), book(1)], {"FAIRPRICE_VENUE": "binance-usdm"}, "the recording is of binance; leave it out"),
        ([diff(1, ps="BTCUSD", pu=0), book(1)], {}, "COIN-M futures, which count contracts"),
        ([diff(1), futures(2), book(2)], {}, "diffs of different venues are mixed"),
        ([diff(1), book(1)], {"FAIRPRICE_SYMBOLS": "ETHUSDT"}, "which the recording does not hold; it holds BTCUSDT"),
    ],
)
def test_a_recording_of_another_market_than_the_one_that_was_set_is_refused(
    standalone, tmp_path, lines, environ, words
):
    path = written(tmp_path / "r", lines)
    done = standalone("--capture", path, "--once", "--database", tmp_path / "x.db", **environ)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_made_up_replayed_and_real_prices_never_get_into_one_file(standalone, tmp_path):
    path = written(tmp_path / "r", [diff(1), book(1), *diffs(2, 4)])
    assert standalone("--capture", path, "--once", "--database", tmp_path / "x.db").returncode == 0
    for options in ((), ("--live",)):
        done = standalone("--database", tmp_path / "x.db", *options)
        assert done.returncode == 2
        assert "it holds rows of a recording, among which rows of" in done.stderr


def test_a_recording_without_some_of_its_diffs_ends_in_a_gap(play, spot_recording, tmp_path):
    path, last = without_diffs(spot_recording.path, tmp_path / "r", range(200, 203))
    done, summary, rows = play(path)

    [gap] = gaps(rows)
    assert gap == (ids(rows)[-1] + 1, last)
    assert (done.returncode, summary["out_of_sync"]) == (1, ["BTCUSDT"])
    assert 190 < summary["books"] < 200


def without_diffs(recording, path, left_out):
    """Write the recording less some of its diffs, counted from the first, and return it with the last update id."""
    number, last = 0, 0
    with gzip.open(recording, "rt") as lines, path.open("w") as file:
        for line in lines:
            if "depthUpdate" in line:
                number += 1
                last = int(line.split('"u":')[1].split(",")[0])
                if number in left_out:
                    continue
            file.write(line)
    return path, last
