"""What the whole pipeline stored is proven by the stored rows alone, and one row less is found."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import preloaded
import pytest
from test_played_recordings import book, diff, diffs, written

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}


def audit(database, *options):
    environ = CLEAN | {"FAIRPRICE_STORE_URL": f"sqlite:///{database}"}
    done = preloaded.run("storer", "audit", "--since", "all", "--json", *options, environ=environ)
    assert done.stderr == ""
    (symbol,) = json.loads(done.stdout)["symbols"]
    verdicts = [hour["verdict"] for hour in symbol["hours"]]
    found = {kind: count for kind, count in symbol["findings"].items() if count}
    return SimpleNamespace(code=done.returncode, verdicts=verdicts, found=found, symbol=symbol)


def test_whoever_reads_no_further_is_told_nothing(replay, spot_recording):
    _, database = replay(spot_recording.path)
    environ = CLEAN | {"FAIRPRICE_STORE_URL": f"sqlite:///{database}"}
    reading, writing = os.pipe()
    os.close(reading)  # before it begins: a machine that is slow here would let it write all of it
    with os.fdopen(writing, "wb") as unread:
        child = preloaded.start("storer", "audit", "--since", "all", environ=environ, piped="stderr", other=unread)

    assert child.communicate() == (None, "")
    assert child.returncode == 2


def change(database, statement):
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(statement).rowcount == 1


@pytest.fixture
def played(standalone, tmp_path):
    def play(*paths):
        database = tmp_path / "played.db"
        done = standalone("--capture", *paths, "--speed", "max", "--once", "--database", database)
        assert done.returncode == 0, done.stderr
        return database, json.loads(done.stdout.splitlines()[-1])

    return play


def test_a_recording_is_verified_and_a_row_less_or_a_bid_changed_is_found(replay, recording, tmp_path):
    summary, replayed = replay(recording.path)
    database = shutil.copy(replayed, tmp_path)
    sound = audit(database, "--strict")
    assert (sound.code, sound.found, set(sound.verdicts)) == (0, {}, {"verified"})
    assert sound.symbol["rows"] == summary["prices"]
    assert sound.symbol["tops"] == summary["books"]
    assert sound.symbol["sampled_books"] > 10

    middle = "(SELECT time FROM fair_price ORDER BY time LIMIT 1 OFFSET 100)"
    change(database, f"UPDATE fair_price SET bid = bid + 0.01 WHERE time = {middle}")
    changed = audit(database)
    assert (changed.code, changed.found) == (1, {"contradicting_row": 1})
    change(database, f"DELETE FROM fair_price WHERE time = {middle}")
    less = audit(database)
    assert (less.code, less.found) == (1, {"unrecorded_hole": 1})
    assert "unrecorded_hole" in less.verdicts


def test_a_hole_in_a_recording_is_a_recorded_one(played, tmp_path):
    lines = [book(9), *diffs(10, 30), *diffs(41, 50), book(50), *diffs(51, 60)]
    database, summary = played(written(tmp_path / "holed.ndjson", lines))
    assert summary["gaps"] == 1
    found = audit(database)
    assert (found.code, found.found, found.verdicts) == (0, {"recorded_hole": 1}, ["hole"])
    assert [gap["open_ids"] for gap in found.symbol["gaps"]] == [found.symbol["particulars"][0]["count"]]
    assert audit(database, "--strict").code == 1


def test_books_without_a_ticker_are_never_called_verified(played, tmp_path):
    database, _ = played(written(tmp_path / "without.ndjson", [book(9), *diffs(10, 30), diff(31)]))
    found = audit(database)
    assert (found.code, found.found, found.verdicts) == (0, {}, ["unverified"])
