import os
import subprocess
import sys

import orjson
import pytest
import structlog
from tables import each_row

from crawler import state
from crawler.book.publication import Confirmed
from crawler.checkpoint import Checkpoint
from crawler.state import StateFile
from fairprice.errors import StartupError

CONFIRMED = {"BTCUSDT": Confirmed(2**40, 1_789_000_000_000_000), "币安人生USDT": Confirmed(7, 8)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "var" / "state"


@pytest.fixture
def claim(folder):
    """Claims files as processes would, and lets all of them go at the end."""
    claimed = []

    def claim(venue="binance"):
        claimed.append(StateFile.claim(folder, venue))
        return claimed[-1]

    yield claim
    for each in claimed:
        each.release()


@pytest.fixture
def file(claim):
    return claim()


# Which file is whose


def test_each_takes_the_lowest_number_that_nobody_holds(claim, folder):
    first, second, third = claim(), claim(), claim()
    assert [each.path for each in (first, second, third)] == [folder / f"binance.{n}.json" for n in range(3)]
    second.release()
    assert claim().path == second.path
    assert claim().path == folder / "binance.3.json"


def test_venues_have_numbers_of_their_own(claim, folder):
    assert [claim(venue).path.name for venue in ("binance", "binance-usdm", "binance")] == [
        "binance.0.json", "binance-usdm.0.json", "binance.1.json",
    ]  # fmt: skip


HOLDER = """
import sys, pathlib
from crawler.state import StateFile
file = StateFile.claim(pathlib.Path(sys.argv[1]), "binance")
print(file.path.name, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_what_another_process_holds_is_free_again_however_it_ends(claim, folder):
    arguments = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline().strip() == "binance.0.json"
        assert claim().path.name == "binance.1.json"
        holder.kill()
        holder.wait()
        assert claim().path.name == "binance.0.json"


@pytest.mark.parametrize("obstacle", ["a file", "no folder can be made"])
def test_a_folder_that_cannot_be_used_stops_the_start_and_says_what_to_do(tmp_path, obstacle):
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(StartupError, match="FAIRPRICE_STATE_DIR") as refused:
        StateFile.claim(blocker if obstacle == "a file" else blocker / "state", "binance")
    assert str(blocker) in str(refused.value)


# What is in it


def test_what_was_saved_is_loaded(file):
    file.save(CONFIRMED)
    assert file.load() == CONFIRMED
    assert orjson.loads(file.path.read_bytes())["BTCUSDT"] == {
        "update_id": 2**40, "event_time": 1_789_000_000_000_000,
    }  # fmt: skip


def test_a_crawler_that_knows_of_no_earlier_run_says_so(file, folder):
    """Its state may have been lost: then a hole follows that nobody records."""
    with structlog.testing.capture_logs() as logged:
        Checkpoint(file, {})
        file.save(CONFIRMED)
        assert Checkpoint(file, {}).of("BTCUSDT") == CONFIRMED["BTCUSDT"]
        Checkpoint(None, {})
    [line] = logged
    assert (line["event"].split(";")[0], line["folder"]) == ("no earlier run is known", str(folder))


def test_without_a_file_nothing_is_known(file):
    assert file.load() == {}


def test_each_symbol_begins_where_any_crawler_of_the_venue_came_last(claim):
    """A second crawler that was away for a month missed nothing that the first one published meanwhile."""
    first, second, third = claim(), claim(), claim()
    first.save({"BTCUSDT": Confirmed(5, 50)})
    second.save({"BTCUSDT": Confirmed(9, 90), "ETHUSDT": Confirmed(1, 10), "SOLUSDT": Confirmed(4, 10)})
    third.save({"ETHUSDT": Confirmed(2, 20), "SOLUSDT": Confirmed(3, 5)})
    latest = {"BTCUSDT": Confirmed(9, 90), "ETHUSDT": Confirmed(2, 20), "SOLUSDT": Confirmed(4, 10)}
    assert [each.load() for each in (first, second, third, claim())] == [latest] * 4


def test_of_ids_that_began_anew_the_later_ones_count(claim):
    first, second = claim(), claim()
    first.save({"BTCUSDT": Confirmed(1000, 50)})
    second.save({"BTCUSDT": Confirmed(3, 90)})
    assert first.load() == {"BTCUSDT": Confirmed(3, 90)}


def test_the_file_of_an_earlier_version_is_taken_over_once_by_the_venue_that_it_knew(claim, folder):
    folder.mkdir(parents=True)
    (folder / "confirmed.json").write_bytes(GOOD)
    assert claim("binance-usdm").load() == {}
    file = claim("binance")
    assert file.load() == {"BTCUSDT": Confirmed(5, 6)}
    assert not (folder / "confirmed.json").exists()
    assert claim("binance").load() == {"BTCUSDT": Confirmed(5, 6)}


def test_the_file_of_an_earlier_version_never_replaces_a_newer_one(claim, folder):
    file = claim()
    file.save(CONFIRMED)
    file.release()
    (folder / "confirmed.json").write_bytes(GOOD)
    assert claim().load() == CONFIRMED


def test_another_venue_s_symbols_are_not_taken(claim):
    spot, futures = claim("binance"), claim("binance-usdm")
    futures.save(CONFIRMED)
    assert spot.load() == {}
    spot.save({"BTCUSDT": Confirmed(1, 2)})
    assert futures.load() == CONFIRMED


def test_saving_again_replaces_and_leaves_nothing_else_behind(file, folder):
    file.save(CONFIRMED)
    file.save({"BTCUSDT": Confirmed(1, 2)})
    assert file.load() == {"BTCUSDT": Confirmed(1, 2)}
    assert sorted(entry.name for entry in folder.iterdir()) == ["binance.0.json", "binance.0.lock"]


def test_what_has_not_changed_is_not_written_again(file):
    """A save a second, for months, of a market that sleeps."""
    file.save(CONFIRMED)
    before = file.path.stat().st_ino
    file.save(dict(CONFIRMED))
    assert file.path.stat().st_ino == before
    file.save({**CONFIRMED, "BTCUSDT": Confirmed(2**40 + 1, 9)})
    assert file.path.stat().st_ino != before


def test_two_that_save_at_once_do_not_meet(claim):
    first, second = claim(), claim()
    first.save(CONFIRMED)
    second.save({"BTCUSDT": Confirmed(1, 2)})
    assert orjson.loads(first.path.read_bytes())["BTCUSDT"]["update_id"] == 2**40
    assert orjson.loads(second.path.read_bytes())["BTCUSDT"]["update_id"] == 1


# Crashes


def crash(*_arguments, **_options):
    raise OSError("out of power")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_at_any_moment_of_saving_leaves_the_old_state_whole(file, monkeypatch, moment):
    file.save(CONFIRMED)
    places = {"write": (state.orjson, "dumps"), "fsync": (os, "fsync"), "replace": (type(file.path), "replace")}
    with monkeypatch.context() as patch:
        patch.setattr(*places[moment], crash)
        with pytest.raises(OSError, match="out of power"):
            file.save({"BTCUSDT": Confirmed(1, 2)})
    assert file.load() == CONFIRMED
    file.save({"BTCUSDT": Confirmed(1, 2)})
    assert file.load() == {"BTCUSDT": Confirmed(1, 2)}, "what failed is not taken for saved"


def test_the_new_state_is_on_the_disk_before_it_takes_the_old_one_s_place(file, monkeypatch):
    happened = []
    replace, fsync = type(file.path).replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (happened.append("fsync"), fsync(number)))
    monkeypatch.setattr(type(file.path), "replace", lambda self, to: (happened.append("replace"), replace(self, to)))
    file.save(CONFIRMED)
    assert happened == ["fsync", "replace"]


def test_a_half_written_new_file_of_a_crashed_run_is_no_hindrance(file):
    file.save(CONFIRMED)
    file.path.with_suffix(".new").write_bytes(b'{"BTCUSDT":{"upd')
    assert file.load() == CONFIRMED
    file.save({"BTCUSDT": Confirmed(1, 2)})
    assert file.load() == {"BTCUSDT": Confirmed(1, 2)}


GOOD = orjson.dumps({"BTCUSDT": {"update_id": 5, "event_time": 6}})


@pytest.mark.parametrize("whose", [0, 1])
@each_row(
    "content",
    [
        b"[]",
        b"5",
        b"null",
        b'{"BTCUSDT":5}',
        b'{"BTCUSDT":{}}',
        b'{"BTCUSDT":{"update_id":5}}',
        b'{"BTCUSDT":{"update_id":"5","event_time":6}}',
        b'{"BTCUSDT":{"update_id":5,"event_time":null}}',
        b'{"BTCUSDT":{"update_id":5.5,"event_time":6}}',
        b"\xff\xfe\x00",
        b"\x00" * 100,
    ],
)
def test_a_foreign_file_stops_the_start_and_says_what_to_do(claim, folder, content, whose):
    assert_refused(claim(), folder / f"binance.{whose}.json", content)


@pytest.mark.parametrize("whose", [0, 1])
def test_a_file_torn_anywhere_stops_the_start_and_says_what_to_do(claim, folder, whose):
    file = claim()
    for length in range(len(GOOD)):
        assert_refused(file, folder / f"binance.{whose}.json", GOOD[:length])


def assert_refused(file, broken, content):
    broken.write_bytes(content)
    with pytest.raises(StartupError, match="delete the file") as refused:
        file.load()
    assert str(broken) in str(refused.value), content


def test_a_file_that_cannot_be_opened_stops_the_start(file):
    file.path.mkdir()
    with pytest.raises(StartupError, match="delete the file"):
        file.load()
