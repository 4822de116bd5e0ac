"""A SQLite file that is really damaged: told at the start, and what can be read is rescued as it is told."""

import re
import shlex
import sqlite3
from contextlib import closing
from threading import Event

import preloaded
import pytest
from waiting import PATIENCE

from fairprice.errors import StartupError, StoreUnavailable
from storer.measurements import Point
from storer.rescue import rescue
from storer.stores.origin import EXCHANGE
from storer.stores.port import NEVER
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_damage import refuse_damaged
from storer.stores.sqlite_reader import open_sqlite_reader

ROWS = 2000
PAGE = 4096
LEAF = 10


def points():
    fields = {"price": 1.5, "spread": 0.5, "status": "ok", "update_id": 1}
    return [Point("fair_price", second * 1_000_000, "binance", "BTCUSDT", fields) for second in range(ROWS)]


@pytest.fixture
async def path(tmp_path):
    """Return a file of some fifty pages, with a blank in its name."""
    path = tmp_path / "fair price.db"
    store = await open_sqlite(path, origin=EXCHANGE)
    assert await store.write(points()) == []
    await store.close()
    return path


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(b"\xa5" * PAGE)


def cut_off(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def lose_pages(path):
    """Leave zeros, as a disk does that has lost what was written."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(bytes(5 * PAGE))


DAMAGES = [overwrite, cut_off, lose_pages]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_refused_at_the_start_and_left_as_it_is(path, damage):
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StartupError, match=r"cannot store in .*: the file is damaged \(.+\)\. Stop what uses it"):
        await open_sqlite(path, origin=EXCHANGE)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_can_be_read_is_rescued_and_what_cannot_is_told(path, damage):
    damage(path)
    before, told = path.read_bytes(), []
    rescued = rescue(path, told.append)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(rescued)) as connection:
        [found] = connection.execute("SELECT count(*) FROM fair_price WHERE symbol = 'BTCUSDT'").fetchone()
    assert ROWS / 3 < found < ROWS
    [prices] = [line for line in told if line.startswith("fair_price: ")]
    assert f"fair_price: {found:,} rows\n  lost of binance/BTCUSDT: 1970-01-01T00:" in prices
    store = await open_sqlite(rescued, origin=EXCHANGE)
    assert await store.write(points()) == []
    await store.close()


async def test_a_damaged_page_costs_its_own_rows_alone(path):
    overwrite(path)
    with closing(sqlite3.connect(rescue(path, lambda _: None))) as connection:
        times = {time // 1_000_000 for (time,) in connection.execute("SELECT time FROM fair_price")}
    lost = sorted(set(range(ROWS)) - times)
    assert 0 < len(lost) == lost[-1] - lost[0] + 1 < 150


async def test_a_damaged_first_page_of_a_symbol_costs_its_own_rows_alone(path):
    with closing(sqlite3.connect(path)) as connection:
        [size] = connection.execute("PRAGMA page_size").fetchone()
    content = path.read_bytes()
    first = next(at for at in range(size, len(content), size) if content[at] == LEAF and content[at + 4])
    with path.open("r+b") as file:
        file.seek(first)
        file.write(b"\xa5" * size)
    with closing(sqlite3.connect(rescue(path, lambda _: None))) as connection:
        [found] = connection.execute("SELECT count(*) FROM fair_price").fetchone()
    assert found > ROWS * 0.9


@pytest.mark.slow
async def test_the_command_that_is_told_rescues(path, capfd):
    overwrite(path)
    with pytest.raises(StartupError) as told:
        await open_sqlite(path, origin=EXCHANGE)
    command = re.search("into a new one: python -m (.*)", str(told.value))[1]
    done = preloaded.run(*shlex.split(command), environ={}, strict=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"What could be read is in {path}.rescued" in done.stdout
    done = preloaded.run(*shlex.split(command), environ={}, strict=True)
    assert done.returncode == 2
    assert "is there already" in done.stderr


def test_what_is_no_database_at_all_cannot_be_rescued(tmp_path):
    (tmp_path / "text").write_text("text" * 1000)
    for name in ("text", "none"):
        with pytest.raises(StartupError, match=r"cannot be rescued: .*; take a backup"):
            rescue(tmp_path / name, lambda _: None)
        assert not (tmp_path / f"{name}.rescued").exists()


async def test_damage_that_comes_while_running_is_told_with_the_way_out(path):
    reader = await open_sqlite_reader(path)
    cut_off(path)
    with pytest.raises(StoreUnavailable, match=r"the file is damaged \(.*storer rescue"):
        [row async for row in reader.rows("fair_price", ["price"], "binance", "BTCUSDT", 0, NEVER)]
    await reader.close()


def test_a_look_ends_after_its_time_and_says_nothing_of_what_it_has_not_seen():
    class Long:
        def __init__(self):
            self.was_interrupted = Event()

        def interrupt(self):
            self.was_interrupted.set()

        def execute(self, _query):
            assert self.was_interrupted.wait(PATIENCE)
            raise sqlite3.OperationalError("interrupted")

    refuse_damaged(Long(), seconds=0)
