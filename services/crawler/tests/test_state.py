import os

import orjson
import pytest

from crawler import state
from crawler.state import Confirmed
from fairprice.errors import StartupError

CONFIRMED = {"BTCUSDT": Confirmed(2**40, 1_789_000_000_000_000), "币安人生USDT": Confirmed(7, 8)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "confirmed.json"


def test_what_was_saved_is_loaded(path):
    state.save(path, CONFIRMED)
    assert state.load(path) == CONFIRMED


def test_without_a_file_nothing_is_known(path):
    assert state.load(path) == {}
    assert not path.parent.exists(), "reading makes no folder"


def test_saving_again_replaces_and_leaves_nothing_else_behind(path):
    state.save(path, CONFIRMED)
    state.save(path, {"BTCUSDT": Confirmed(1, 2)})
    assert state.load(path) == {"BTCUSDT": Confirmed(1, 2)}
    assert [entry.name for entry in path.parent.iterdir()] == ["confirmed.json"]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_at_any_moment_of_saving_leaves_the_old_state_whole(path, monkeypatch, moment):
    state.save(path, CONFIRMED)

    def crash(*_arguments, **_options):
        raise OSError("out of power")

    monkeypatch.setattr(
        *{"write": (state.orjson, "dumps"), "fsync": (os, "fsync"), "replace": (type(path), "replace")}[moment], crash
    )
    with pytest.raises(OSError, match="out of power"):
        state.save(path, {"BTCUSDT": Confirmed(1, 2)})
    assert state.load(path) == CONFIRMED


def test_the_new_state_is_on_the_disk_before_it_takes_the_old_one_s_place(path, monkeypatch):
    happened = []
    replace, fsync = type(path).replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (happened.append("fsync"), fsync(number)))
    monkeypatch.setattr(type(path), "replace", lambda self, to: (happened.append("replace"), replace(self, to))[1])
    state.save(path, CONFIRMED)
    assert happened == ["fsync", "replace"]


def test_a_half_written_new_file_of_a_crashed_run_is_no_hindrance(path):
    state.save(path, CONFIRMED)
    path.with_suffix(".new").write_bytes(b'{"BTCUSDT":{"upd')
    assert state.load(path) == CONFIRMED
    state.save(path, {"BTCUSDT": Confirmed(1, 2)})
    assert state.load(path) == {"BTCUSDT": Confirmed(1, 2)}


GOOD = orjson.dumps({"BTCUSDT": {"update_id": 5, "event_time": 6}})


@pytest.mark.parametrize(
    "content",
    [
        *(GOOD[:length] for length in range(len(GOOD))),
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
def test_a_torn_or_foreign_file_stops_the_start_and_says_what_to_do(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StartupError, match="delete the file") as refused:
        state.load(path)
    assert str(path) in str(refused.value)


def test_a_file_that_cannot_be_opened_stops_the_start(path):
    path.mkdir(parents=True)
    with pytest.raises(StartupError, match="delete the file"):
        state.load(path)
