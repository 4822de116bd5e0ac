"""Bars of a minute in a SQLite file: a function of the rows, however they came."""

import sqlite3
from contextlib import asynccontextmanager, closing

from exchange_data import START, price

from storer.measurements import fair_price_point
from storer.stores.sqlite import open_sqlite

MINUTE = 60_000_000


@asynccontextmanager
async def opened(path):
    store = await open_sqlite(path)
    try:
        yield store
    finally:
        await store.close()


def point(minute, second, value, *, spread=0.5, status="ok"):
    number = minute * 60_000 + second * 1000
    values = price(number).values | {"spread": spread}
    return fair_price_point(price(number, price=value, values=values, status=status))


def bars(path):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT (time - ?) / 60000000, open, high, low, close, spread, count FROM fair_price_1m ORDER BY time"
        return connection.execute(query, (START,)).fetchall()


async def store_without_bars(path, minutes, since=0):
    """Store a price a minute without the bars from a minute on, as a killed process leaves them."""
    async with opened(path) as store:
        await store.write([point(minute, 1, float(minute)) for minute in range(minutes)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM fair_price_1m WHERE time >= ?", (START + since * MINUTE,))
        connection.commit()


async def test_a_minute_becomes_a_bar_when_a_later_one_has_begun_and_the_last_one_at_the_end(tmp_path):
    path = tmp_path / "db"
    async with opened(path) as store:
        await store.write([point(0, 1, 10.0), point(0, 2, 12.0, spread=1.5), point(0, 3, 9.0), point(0, 4, 11.0)])
        assert bars(path) == []
        await store.write([point(1, 0, 11.5)])
        assert bars(path) == [(0, 10.0, 12.0, 9.0, 11.0, 0.75, 4.0)]
    assert bars(path)[1:] == [(1, 11.5, 11.5, 11.5, 11.5, 0.5, 1.0)]


async def test_prices_that_mean_nothing_are_in_no_bar(tmp_path):
    async with opened(tmp_path / "db") as store:
        await store.write([point(0, 1, 10.0), point(0, 2, None, status="crossed"), point(0, 3, 99.0, status="empty")])
        await store.write([point(1, 1, None, status="crossed")])
    assert bars(tmp_path / "db") == [(0, 10.0, 10.0, 10.0, 10.0, 0.5, 1.0)]


async def test_a_price_that_comes_late_makes_its_bar_anew(tmp_path):
    async with opened(tmp_path / "db") as store:
        await store.write([point(0, 1, 10.0), point(1, 1, 11.0), point(2, 1, 12.0)])
        await store.write([point(0, 0, 8.0)])
        assert [row[:2] for row in bars(tmp_path / "db")] == [(0, 8.0), (1, 11.0)]


async def test_what_a_killed_process_or_an_earlier_version_has_left_is_made_by_the_next_one(tmp_path):
    path = tmp_path / "db"
    await store_without_bars(path, 130)
    async with opened(path) as store:
        for minute in (130, 131, 132):
            await store.write([point(minute, 1, float(minute))])
    assert [row[:2] for row in bars(path)] == [(minute, float(minute)) for minute in range(133)]


async def test_what_is_still_to_be_made_when_a_process_ends_is_made_by_the_next_one(tmp_path):
    path = tmp_path / "db"
    await store_without_bars(path, 130)
    for minute in (130, 131, 132):
        async with opened(path) as store:
            await store.write([point(minute, 1, float(minute))])
    assert [row[:2] for row in bars(path)] == [(minute, float(minute)) for minute in range(133)]


async def test_a_late_price_beside_a_new_one_does_not_hide_what_a_killed_process_has_left(tmp_path):
    path = tmp_path / "db"
    await store_without_bars(path, 6, since=4)
    async with opened(path) as store:
        await store.write([point(2, 2, 9.0), point(7, 1, 7.0)])
    assert [row[:2] for row in bars(path)] == [(minute, float(minute)) for minute in (0, 1, 2, 3, 4, 5, 7)]


async def test_a_file_without_what_a_bar_needs_goes_without(tmp_path):
    async with opened(tmp_path / "db") as store:
        bare = point(0, 1, 1.0)
        bare.fields = {"price": 1.0, "update_id": 1}
        assert await store.write([bare]) == []
