"""What a SQLite file gives up of its oldest rows, and when; bars stay."""

import sqlite3
from contextlib import asynccontextmanager, closing
from random import Random

import structlog
from exchange_data import START, price

from storer.measurements import Point, fair_price_point
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_bars import HOUR, MINUTE
from storer.stores.sqlite_retention import Bounds

DAY = 24 * HOUR
LATER = START + 1000 * DAY
TABLES = ("fair_price", "gap")


@asynccontextmanager
async def opened(path, age=DAY, size=0, wall=LATER):
    store = await open_sqlite(path, bounds=Bounds(age, size), wall=lambda: wall)
    try:
        yield store
    finally:
        await store.close()


def priced(minute, symbol="BTCUSDT", *, second=0, value=1.0):
    number = minute * 60_000 + second * 1000
    values = price(number).values | {"spread": 0.5}
    point = fair_price_point(price(number, price=value, values=values, status="ok"))
    return Point(point.measurement, point.time, point.venue, symbol, point.fields, point.decimals)


def gap(minute, symbol="BTCUSDT"):
    fields = {"from_update_id": 1, "to_update_id": 2, "duration_ms": 1.0, "reason": "disconnect", "open_ids": 2}
    return Point("gap", START + minute * MINUTE + 5, "binance", symbol, fields)


def minutes(path, table="fair_price", symbol="BTCUSDT"):
    with closing(sqlite3.connect(path)) as connection:
        query = f"SELECT DISTINCT (time - ?) / 60000000 FROM {table} WHERE symbol = ? ORDER BY 1"
        return [minute for (minute,) in connection.execute(query, (START, symbol))]


async def test_rows_older_than_the_newest_price_by_the_retention_go_and_their_bars_stay(tmp_path):
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([*(priced(minute) for minute in range(60)), gap(0), gap(5), gap(30)])
        assert minutes(tmp_path / "db") == list(range(60))
        await store.write([priced(70)])
    assert minutes(tmp_path / "db") == [*range(10, 60), 70]
    assert minutes(tmp_path / "db", "gap") == [30]
    assert minutes(tmp_path / "db", "fair_price_1m") == [*range(60), 70]


async def test_a_symbol_that_is_not_followed_any_more_grows_old_too(tmp_path):
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([priced(0, "OLDUSDT"), gap(1, "OLDUSDT"), priced(0)])
        await store.write([priced(100)])
    assert minutes(tmp_path / "db", symbol="OLDUSDT") == minutes(tmp_path / "db", "gap", "OLDUSDT") == []
    assert minutes(tmp_path / "db", "fair_price_1m", "OLDUSDT") == [0]


async def test_a_minute_without_a_bar_gets_it_before_its_rows_go(tmp_path):
    async with opened(tmp_path / "db") as store:
        await store.write([priced(minute, value=float(minute)) for minute in range(5)])
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("DROP TABLE fair_price_1m")
        connection.commit()
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([priced(1000, "ETHUSDT")])
        with closing(sqlite3.connect(tmp_path / "db")) as connection:
            bars = connection.execute("SELECT close FROM fair_price_1m WHERE symbol = 'BTCUSDT' ORDER BY time")
            assert bars.fetchall() == [(0.0,), (1.0,), (2.0,), (3.0,), (4.0,)]
    assert minutes(tmp_path / "db") == []


async def test_a_price_that_comes_after_its_minute_has_gone_leaves_the_bar_as_it_was(tmp_path):
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([priced(0, second=second, value=second) for second in (1.0, 2.0, 3.0)])
        await store.write([priced(100)])
        await store.write([priced(0, second=4, value=99.0)])
        await store.write([priced(101)])
    assert minutes(tmp_path / "db") == [100, 101]
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert connection.execute("SELECT high, count FROM fair_price_1m ORDER BY time").fetchone() == (3.0, 3.0)


async def test_a_write_removes_no_more_than_it_may_and_the_next_ones_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("storer.stores.sqlite_retention.LEAST", 10)
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([priced(minute) for minute in range(35)])
        left = []
        for minute in range(1000, 1005):
            await store.write([priced(minute)])
            left.append(len(minutes(tmp_path / "db")))
    assert left == [26, 17, 8, 4, 5]


async def test_neither_a_clock_nor_a_price_that_is_far_ahead_makes_rows_old(tmp_path):
    async with opened(tmp_path / "db", age=HOUR, wall=LATER) as store:
        await store.write([priced(0), priced(1)])
        await store.write([priced(2)])
    assert minutes(tmp_path / "db") == [0, 1, 2]
    async with opened(tmp_path / "db", age=HOUR, wall=START + 3 * MINUTE) as store:
        await store.write([priced(10_000)])
        await store.write([priced(3)])
    assert minutes(tmp_path / "db") == [0, 1, 2, 3, 10_000]


async def test_what_an_earlier_run_stored_grows_old_as_well(tmp_path):
    async with opened(tmp_path / "db") as store:
        await store.write([priced(0), priced(1), gap(1, "ONLYGAPS")])
    async with opened(tmp_path / "db", age=HOUR) as store:
        await store.write([priced(100, "ETHUSDT")])
    assert minutes(tmp_path / "db") == minutes(tmp_path / "db", "gap", "ONLYGAPS") == []


async def test_without_a_bound_everything_stays(tmp_path):
    async with opened(tmp_path / "db", age=0) as store:
        await store.write([priced(0)])
        await store.write([priced(1_000_000)])
    assert minutes(tmp_path / "db") == [0, 1_000_000]


async def test_a_file_that_is_too_large_gives_its_oldest_rows_up_but_never_the_newest_hour_and_says_so(tmp_path):
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path / "db", age=0, size=1) as store:
            for minute in range(0, 200, 5):
                await store.write([priced(minute), priced(minute, "ETHUSDT")])
    assert minutes(tmp_path / "db") == list(range(135, 200, 5))
    assert minutes(tmp_path / "db", "fair_price_1m") == list(range(0, 200, 5))
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "FAIRPRICE_STORE_MAX_SIZE" in logs[0]["event"]


async def test_room_that_has_become_free_is_used_again(tmp_path):
    pages = []
    async with opened(tmp_path / "db", age=HOUR) as store:
        for minute in range(0, 300, 10):
            await store.write([priced(minute, second=second) for second in range(30)])
            with closing(sqlite3.connect(tmp_path / "db")) as connection:
                pages += connection.execute("PRAGMA page_count").fetchone()
    assert pages[-1] <= pages[9] + 3, "some for the bars, which stay"


async def test_in_whatever_order_prices_come_bars_are_complete_and_only_old_rows_go(tmp_path):
    random = Random(1)
    arrivals = [(random.randrange(300), random.choice("AB")) for _ in range(40)]
    async with opened(tmp_path / "db", age=HOUR) as store:
        for minute, symbol in arrivals:
            await store.write([priced(minute, symbol)])
    newest = max(minute for minute, _ in arrivals)
    for symbol in "AB":
        came = {minute for minute, each in arrivals if each == symbol}
        assert set(minutes(tmp_path / "db", symbol=symbol)) == {minute for minute in came if minute > newest - 61}
        assert set(minutes(tmp_path / "db", "fair_price_1m", symbol)) == came
