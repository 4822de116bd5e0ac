"""`crawler verify`: a sound recording is sound, and each thing that is taken out of it is found."""

import gzip
import json
import os
from math import isclose

import orjson
import preloaded
import pytest

from crawler.recorder.reader import Unread, files_of, read
from crawler.recorder.tally import Tally
from crawler.recorder.verification import Lost, Verification, by_venue
from fairprice.errors import StartupError
from fairprice.messages import Book

BEGIN_MS = 1_700_000_000_000


def line(number, body):
    return f"{BEGIN_MS + number * 100}000000 {json.dumps(body, separators=(',', ':'))}\n"


def diff(number, symbol="BTCUSDT", **fields):
    event = {"e": "depthUpdate", "E": BEGIN_MS + number * 100, "s": symbol, "U": number, "u": number}
    event |= {"b": [["100.00", f"{number}.0"]], "a": []} | fields
    return line(number, {"stream": f"{symbol.lower()}@depth@100ms", "data": event, "connection": 3})


def ticker(number, quantity=None, symbol="BTCUSDT"):
    event = {"u": number, "s": symbol, "b": "100.00", "B": f"{quantity or number}.0", "a": "101.00", "A": "5.0"}
    return line(number, {"stream": f"{symbol.lower()}@bookTicker", "data": event, "connection": 3})


def snapshot(number, symbol=None):
    bids = [["100.00", f"{number}.0"], ["99.00", "7.0"]]
    body = {"lastUpdateId": number, "bids": bids, "asks": [["101.00", "5.0"], ["102.00", "7.0"]]}
    return line(number, {"stream": f"{symbol.lower()}@snapshot", "data": body} if symbol else body)


def lines(first, last, symbol="BTCUSDT"):
    return [each(number, symbol=symbol) for number in range(first, last + 1) for each in (ticker, diff)]


def sound():
    return [diff(101), snapshot(101), *lines(102, 150)]


def verified(path, text):
    path.write_text("".join(text))
    verification = Verification(files_of([path]))
    assert verification.run(lambda: False)
    return verification


def test_a_sound_recording_is_sound(tmp_path):
    verification = verified(tmp_path / "r", sound())
    tally = verification.tallies["BTCUSDT"]
    assert (tally.diffs, tally.books, tally.tops, tally.snapshots, tally.missing) == (50, 49, 49, 1, 0)
    assert verification.problems() == []
    assert verification.venue.name == "binance"
    spread = tally.spread_bps()
    assert all(isclose(value, 10_000 / 100.5, rel_tol=0.01) for value in spread.values())


@pytest.mark.parametrize(
    ("number", "problems"),
    [
        (101, []),  # the snapshot holds it
        (102, ["BTCUSDT: no book"]),
        (107, ["BTCUSDT: 44 ids missing in 1 gaps (missed_updates 1)"]),
        (149, ["BTCUSDT: 2 ids missing in 1 gaps (missed_updates 1)"]),
    ],
)
def test_a_diff_that_is_taken_out_is_found(tmp_path, number, problems):
    text = sound()
    text.remove(diff(number))
    assert verified(tmp_path / "r", text).problems() == problems


def test_a_hole_that_a_later_snapshot_heals_is_a_gap_with_its_ids(tmp_path):
    text = [diff(101), snapshot(101), *lines(102, 110), *lines(116, 120), snapshot(120), *lines(121, 130)]
    verification = verified(tmp_path / "r", text)
    assert verification.problems() == ["BTCUSDT: 10 ids missing in 1 gaps (missed_updates 1)"]
    assert verification.tallies["BTCUSDT"].books == 9 + 10


def test_a_quantity_that_is_not_the_tickers_is_found(tmp_path):
    text = [ticker(120, 999) if each == ticker(120) else each for each in sound()]
    problems = verified(tmp_path / "r", text).problems()
    assert "BTCUSDT: 1 tops wrong" in problems


def test_a_level_that_is_not_the_snapshots_is_found(tmp_path):
    """Ten minutes on the book is compared with the recorded snapshot, level by level."""
    text = [diff(101), snapshot(101), *lines(102, 103)]
    later = [diff(number, E=BEGIN_MS + number * 1000) for number in range(104, 1400)]
    other = snapshot(1400).replace('["99.00","7.0"]', '["99.00","8.0"]')
    for last, expected in ((snapshot(1400), []), (other, ["BTCUSDT: 1 levels wrong"])):
        end = [diff(1400, E=BEGIN_MS + 1_400_000), last, diff(1401, E=BEGIN_MS + 1_401_000)]
        verification = verified(tmp_path / "r", text + later + end)
        assert verification.tallies["BTCUSDT"].levels >= 3
        assert verification.problems() == expected


def test_symbols_are_told_apart_and_a_bare_snapshot_is_of_the_one_whose_ids_are_near(tmp_path):
    text = [diff(101), diff(5001, symbol="ETHUSDT"), snapshot(5001), snapshot(101)]
    text += [*lines(102, 110), *lines(5002, 5005, "ETHUSDT"), snapshot(5005, "ETHUSDT")]
    tallies = verified(tmp_path / "r", text).tallies
    assert {name: (tally.books, tally.snapshots) for name, tally in tallies.items()} == {
        "BTCUSDT": (9, 1), "ETHUSDT": (4, 2),
    }  # fmt: skip


def test_what_cannot_be_read_is_told_and_harms_nothing_else(tmp_path):
    text = sound()
    text.insert(20, "nonsense\n")
    text.insert(30, line(1, {"stream": "btcusdt@depth@100ms", "data": {"e": "depthUpdate"}}))
    verification = verified(tmp_path / "r", text)
    assert [unread.line for unread in verification.unread] == [21, 31]
    assert "does not begin with a receive time" in verification.unread[0].problem
    assert "is missing" in verification.unread[1].problem
    assert verification.problems() == ["2 lines or parts of files cannot be read"]


def test_a_file_that_is_cut_off_is_read_to_its_end_and_that_is_told(tmp_path):
    packed = gzip.compress("".join(sound()).encode()) + gzip.compress("".join(lines(151, 170)).encode())
    path = tmp_path / "r.gz"
    path.write_bytes(packed[:-9])
    verification = Verification([path])
    assert verification.run(lambda: False)
    assert verification.tallies["BTCUSDT"].books >= 60
    assert "cut off" in verification.unread[-1].problem


def test_a_witness_sees_tickers_books_gaps_and_losses_in_their_order_with_the_time_they_came(tmp_path):
    note = line(111, {"stream": "!loss", "data": {"e": "loss", "symbols": ["BTCUSDT"], "kind": "disconnect"}})
    text = [diff(101), snapshot(101), *lines(102, 103), note, *lines(110, 120), snapshot(120), *lines(121, 122)]
    path, seen = tmp_path / "r", []
    path.write_text("".join([*text, "nonsense\n"]))
    verification = Verification([path], levels=2, witness=lambda *event: seen.append(event))
    assert verification.run(lambda: False)

    assert {symbol for symbol, *_ in seen} == {"BTCUSDT"}
    told = [
        ((time // 1000 - BEGIN_MS) // 100, type(event).__name__, getattr(event, "update_id", None))
        for _, time, event in seen
    ]
    assert told == [
        (102, "Ticker", 102), (102, "Book", 102), (103, "Ticker", 103), (103, "Book", 103), (111, "Lost", None),
        *((number, "Ticker", number) for number in range(110, 122)),
        (121, "Gap", None), (121, "Book", 121), (122, "Ticker", 122), (122, "Book", 122), (122, "Lost", None),
    ]  # fmt: skip
    assert [event.reason for _, _, event in seen if isinstance(event, Lost)] == ["disconnect", "unreadable_line"]
    assert {len(event.bids) for _, _, event in seen if isinstance(event, Book)} == {2}


def flipped(member):
    return member[:-40] + bytes([member[-40] ^ 0xFF]) + member[-39:]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda member: member[: len(member) // 2], "damaged"),  # written half, and others behind it
        (flipped, "damaged"),
        (lambda member: member[:-8] + b"\0" * 8, "damaged"),  # the checksum alone
        (lambda member: b"\0" * len(member), "damaged"),  # what a power cut kept from being written
        (lambda member: b"\x1f\x8b\x08 no member" + member[20:], "damaged"),
    ],
)
def test_a_damaged_second_of_a_file_is_a_hole_and_what_is_behind_it_is_read(harm, problem, tmp_path):
    seconds = ["".join(lines(number, number + 9)) for number in range(102, 152, 10)]
    seconds[3] = "".join(lines(132, 134)) + snapshot(134, "BTCUSDT") + "".join(lines(135, 141))
    members = [gzip.compress(text.encode()) for text in (diff(101) + snapshot(101), *seconds)]
    path = tmp_path / "r.gz"
    path.write_bytes(b"".join([*members[:2], harm(members[2]), *members[3:]]))
    verification = Verification([path])
    assert verification.run(lambda: False)
    tally = verification.tallies["BTCUSDT"]
    assert [problem in unread.problem for unread in verification.unread] == [True]
    assert (tally.books + tally.missing, tally.tops_wrong) == (50, 0)
    assert tally.missing <= 23, "from the first lost one to the snapshot"
    assert set(tally.gaps) <= {"unreadable_line"}
    assert verification.problems()[-1] == "1 lines or parts of files cannot be read"


def test_a_damaged_file_without_another_member_ends_where_it_cannot_be_read(tmp_path):
    path = tmp_path / "r.gz"
    packed = gzip.compress("".join(sound()).encode())
    path.write_bytes(packed[:100] + b"\xff" * 50 + packed[150:] + b"\x1f\x8b\x08, and so on")
    assert "damaged" in next(item.problem for item in read(path) if isinstance(item, Unread))


def test_what_the_recorder_noted_of_a_loss_is_the_reason_of_the_gap(tmp_path):
    note = line(111, {"stream": "!loss", "data": {"e": "loss", "symbols": ["BTCUSDT"], "kind": "disconnect"}})
    other = line(111, {"stream": "!other", "data": {"e": "other", "frame": 1}})
    text = [diff(101), snapshot(101), *lines(102, 110), note, other, *lines(116, 120), snapshot(120), *lines(121, 130)]
    assert verified(tmp_path / "r", text).problems() == ["BTCUSDT: 10 ids missing in 1 gaps (disconnect 1)"]


def test_recordings_of_a_folder_are_read_in_the_order_of_their_times(tmp_path):
    whole = sound()
    for name, part in (("b", whole[:40]), ("a", whole[40:]), ("b.index.json", ["{}"])):
        (tmp_path / name).write_text("".join(part))
    verification = Verification(files_of([tmp_path]))
    assert verification.run(lambda: False)
    assert verification.problems() == []
    assert not Verification(files_of([tmp_path / "b"])).run(lambda: True) or verification.lines < 10_000


def futures_diff(number):
    """A diff of USD-M futures, which names the id before it, so that spot's rules do not read it."""
    return diff(number, "ETHUSDT", T=BEGIN_MS + number * 100, pu=number - 1)


def test_files_of_two_venues_are_each_verified_by_their_own_rules(tmp_path):
    files = {"a": sound()[:40], "b": [futures_diff(7)], "c": sound()[40:], "d": [snapshot(8, "ETHUSDT")]}
    for name, text in files.items():
        (tmp_path / name).write_text("".join(text))
    groups = by_venue(files_of([tmp_path / name for name in ("d", "a", "b", "c")]))
    assert [[file.name for file in group] for group in groups] == [["d", "a", "c"], ["b"]]
    assert [Verification(group).venue.name for group in groups] == ["binance", "binance-usdm"]


def test_where_there_is_nothing_to_verify_that_is_said(tmp_path):
    with pytest.raises(StartupError, match="does not exist"):
        files_of([tmp_path / "none"])
    with pytest.raises(StartupError, match="no recordings in"):
        files_of([tmp_path])
    (tmp_path / "trades").write_text(line(1, {"stream": "btcusdt@trade", "data": {"e": "trade"}}))
    with pytest.raises(StartupError, match="no diff of a venue that is known"):
        Verification(files_of([tmp_path]))
    with pytest.raises(StartupError, match="no diff of a venue that is known"):
        by_venue(files_of([tmp_path]))


def tally_of(spreads):
    """Books around 10,000 with these spreads in basis points."""
    tally = Tally()
    for number, spread in enumerate(spreads):
        bids, asks = [[str(10_000 - spread / 2), "1"]], [[str(10_000 + spread / 2), "1"]]
        tally.add_book(Book("v", "S", number, number, 1, None, 1, "c", bids, asks, None, None))
    return tally


def test_the_classes_of_spreads_are_right_to_a_hundredth():
    found = tally_of(1.0 + number / 100 for number in range(1000)).spread_bps()
    expected = {"least": 1.0, "mean": 5.995, "median": 5.995, "p95": 10.49, "greatest": 10.99}
    assert all(isclose(found[name], value, rel_tol=0.011) for name, value in expected.items())


@pytest.mark.parametrize(
    ("spreads", "median"),
    [((-2.0, -2.0, -2.0), -2.0), ((0.0, 0.0, 3.0), 0.0), ((-2.0, 3.0, 3.0), 3.0), ((2.0, 2.0, 3.0), 2.0)],
)
def test_the_spread_of_a_book_whose_sides_touch_or_cross_counts_as_the_others(spreads, median):
    found = tally_of(spreads).spread_bps()
    assert (found["least"], found["greatest"]) == pytest.approx((spreads[0], spreads[-1]), abs=1e-9)
    assert found["median"] == pytest.approx(median, rel=0.01, abs=1e-5)
    assert found["mean"] == pytest.approx(sum(spreads) / 3, abs=1e-9)


def test_a_book_without_a_side_has_no_spread(tmp_path):
    text = [diff(101), snapshot(101), diff(102, a=[["101.00", "0"], ["102.00", "0"]])]
    tally = verified(tmp_path / "r", text).tallies["BTCUSDT"]
    assert (tally.books, tally.spread_bps()) == (1, None)


def test_all_that_was_counted_of_a_symbol_is_in_its_json(tmp_path):
    [tally] = verified(tmp_path / "r", sound()).tallies.values()
    told = tally.to_json()
    assert told.pop("spread_bps").keys() == {"least", "mean", "median", "p95", "greatest"}
    assert told == {
        "diffs": 50, "books": 49, "snapshots": 1, "tops": 49, "tops_wrong": 0, "levels": 0, "levels_wrong": 0,
        "missing": 0, "first_update_id": 102, "last_update_id": 150, "gaps": {}, "problems": [],
    }  # fmt: skip


def crawler_verify(*arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    return preloaded.run("crawler", "verify", *arguments, environ=clean)


@pytest.mark.slow
def test_the_exit_code_tells_what_was_found(tmp_path):
    (tmp_path / "r").write_text("".join(sound()))
    done = crawler_verify(tmp_path / "r")
    assert (done.returncode, done.stderr) == (0, "")
    assert "All ids are there, nothing is wrong." in done.stdout
    text = sound()
    text.remove(diff(131))
    (tmp_path / "r").write_text("".join(text))
    done = crawler_verify("--json", tmp_path / "r")
    assert done.returncode == 1
    found = orjson.loads(done.stdout)
    assert (found["ok"], found["symbols"]["BTCUSDT"]["gaps"]) == (False, {"missed_updates": 1})
    (tmp_path / "futures").write_text(futures_diff(7))
    done = crawler_verify("--json", tmp_path / "r", tmp_path / "futures")
    told = [orjson.loads(text) for text in done.stdout.splitlines()]
    assert [(one["venue"], one["unreadable"]) for one in told] == [("binance", 0), ("binance-usdm", 0)]
    assert [list(one["symbols"]) for one in told] == [["BTCUSDT"], ["ETHUSDT"]]
    done = crawler_verify(tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist" in done.stderr
