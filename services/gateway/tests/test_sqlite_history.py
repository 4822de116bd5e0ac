"""The history in a SQLite file: the contract, and files that are not there, of an older layout, held or slow."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from itertools import product

import pytest
from history_contract import BTC, ETH, START, HistoryContract, put_price

from fairprice.errors import StoreUnavailable
from gateway.stored.port import MINUTE
from gateway.stored.sqlite import SqliteHistory, _keys


class Kept:
    """Rows of tables that grow the columns that rows have, as the storer's do."""

    def __init__(self, path):
        self.path = path
        self.history = SqliteHistory(path)
        self._rows = []

    def put(self, measurement, time, venue, symbol, **fields):
        self._rows.append((measurement, {"time": time, "venue": venue, "symbol": symbol, **fields}))

    async def store(self):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for table in {table for table, _ in self._rows}:
                mine = [row for name, row in self._rows if name == table]
                columns = ", ".join(dict.fromkeys(column for row in mine for column in row))
                key = "PRIMARY KEY (venue, symbol, time)"
                connection.execute(f"CREATE TABLE {table} ({columns}, {key}) WITHOUT ROWID")
                for row in mine:
                    places = ", ".join(f":{name}" for name in row)
                    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", row)


@pytest.fixture
async def kept(tmp_path):
    kept = Kept(tmp_path / "history.db")
    yield kept
    await kept.history.close()


class TestSqlite(HistoryContract):
    """Collects the contract."""


async def test_a_file_that_is_not_there_is_told_and_read_once_it_is(kept):
    with pytest.raises(StoreUnavailable, match="there is no such file yet; the storer makes it"):
        await kept.history.keys()
    put_price(kept, 1, 10.0)
    await kept.store()
    assert await kept.history.keys() == [BTC]


async def test_a_file_that_is_no_database_is_told(kept):
    kept.path.write_text("something else " * 100)
    with pytest.raises(StoreUnavailable, match="cannot be read: file is not a database"):
        await kept.history.newest(BTC)


async def test_a_file_of_an_older_layout_has_no_bars_and_no_audits(kept):
    with closing(sqlite3.connect(kept.path)) as connection:
        connection.execute("CREATE TABLE fair_price (time, venue, symbol, price, update_id)")
    period = BTC, START, START + MINUTE, MINUTE
    assert await kept.history.minutes(*period) == await kept.history.ticks(*period) == []
    assert await kept.history.compared(*period) == []
    assert await kept.history.closes(START, START + MINUTE) == {}


async def test_symbols_are_found_in_as_many_steps_however_many_rows_each_has(tmp_path):
    steps = {}
    for rows in (2, 2000):
        kept = Kept(tmp_path / f"{rows}.db")
        for key, number in product((BTC, ETH, BTC._replace(symbol="ADAUSDT")), range(rows)):
            kept.put("fair_price", START + number, *key, price=1.0)
        await kept.store()

        def counted(connection, rows=rows):
            steps[rows] = 0
            connection.set_progress_handler(lambda: steps.update({rows: steps[rows] + 1}), 1)
            return _keys(connection, "fair_price")

        assert await kept.history._do(counted) == [BTC._replace(symbol="ADAUSDT"), BTC, ETH]
        await kept.history.close()
    assert steps[2000] < 2 * steps[2]


async def test_nothing_can_be_written(kept):
    put_price(kept, 1, 10.0)
    await kept.store()
    with pytest.raises(StoreUnavailable, match="readonly"):
        await kept.history._do(lambda connection: connection.execute("DELETE FROM fair_price"))


async def test_who_goes_before_his_turn_disturbs_nobody(kept):
    put_price(kept, 1, 10.0)
    await kept.store()
    begun, loop, may_end = asyncio.Event(), asyncio.get_running_loop(), threading.Event()

    def at_work():
        loop.call_soon_threadsafe(begun.set)
        return int(may_end.wait())

    def slow(connection):
        connection.create_function("at_work", 0, at_work)
        return connection.execute("SELECT at_work() FROM fair_price").fetchall()

    first = asyncio.create_task(kept.history._do(slow))
    await begun.wait()
    second = asyncio.create_task(kept.history.keys())
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    may_end.set()
    assert await first == [(1,)]


async def test_who_is_not_waited_for_any_more_lets_the_next_one_go_first(kept):
    put_price(kept, 1, 10.0)
    await kept.store()
    begun, loop, may_go_on = asyncio.Event(), asyncio.get_running_loop(), threading.Event()

    def for_ever(connection):
        loop.call_soon_threadsafe(begun.set)
        may_go_on.wait()  # so that it is given up before its statement begins
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        connection.execute(endless).fetchall()

    asking = asyncio.create_task(kept.history._do(for_ever))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_go_on.set()
    assert await kept.history.keys() == [BTC]
