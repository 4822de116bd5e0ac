"""Where the rows of a database end, whatever a kill has left of them."""

import sqlite3
from contextlib import closing

import pytest

from storer.measurements import Point
from storer.stores.coverage import LOOKED_AT, covered_until
from storer.stores.sqlite import open_sqlite


def price(first, last, time, symbol="BTCUSDT", venue="binance"):
    return Point("fair_price", time, venue, symbol, {"first_update_id": first, "update_id": last})


def gap(first, last, time, seconds=1):
    fields = {"from_update_id": first, "to_update_id": last, "duration_ms": seconds * 1000.0, "reason": "restart"}
    return Point("gap", time, "binance", "BTCUSDT", fields)


@pytest.fixture
async def covered(tmp_path):
    """Stores points, and tells how far they cover each symbol."""
    path = tmp_path / "x.db"

    async def covered(*points, venue="binance"):
        store = await open_sqlite(path)
        await store.write(points)
        await store.close()
        return covered_until(path, venue)

    return covered


async def test_rows_that_join_end_with_the_last_one(covered):
    assert await covered(price(1, 5, 10), price(6, 9, 20)) == {"BTCUSDT": (9, 20)}


async def test_a_recorded_gap_covers_its_ids(covered):
    """Its row has the time of the last book before it."""
    assert await covered(price(1, 5, 10), gap(6, 8, 10, 3), price(9, 9, 3_000_010)) == {"BTCUSDT": (9, 3_000_010)}
    assert await covered(gap(10, 12, 3_000_010)) == {"BTCUSDT": (12, 4_000_010)}


async def test_a_gap_that_was_not_stored_any_more_is_where_they_end(covered):
    """Prices and gaps come by two queues: of two that left together, a kill may leave the later one only."""
    assert await covered(price(1, 5, 10), price(9, 9, 20), price(10, 12, 30)) == {"BTCUSDT": (5, 10)}


async def test_what_overlaps_or_goes_back_in_time_covers_all_the_same(covered):
    assert await covered(price(1, 5, 10), price(3, 9, 30), price(10, 11, 20)) == {"BTCUSDT": (11, 20)}


async def test_after_ids_that_began_anew_the_new_ones_count(covered):
    points = price(1000, 1005, 10), gap(1006, 2, 10), price(3, 4, 20)
    assert await covered(*points) == {"BTCUSDT": (4, 20)}


async def test_only_the_newest_rows_are_looked_at(covered):
    late = LOOKED_AT + 100
    assert await covered(price(1, 5, 10), price(9, 9, late), price(10, 10, late + 1)) == {"BTCUSDT": (10, late + 1)}


async def test_each_symbol_and_venue_for_itself(covered):
    points = price(1, 5, 10), price(7, 7, 10, "ETHUSDT"), price(9, 9, 20, venue="binance-usdm")
    assert await covered(*points) == {"BTCUSDT": (5, 10), "ETHUSDT": (7, 10)}
    assert await covered(venue="binance-usdm") == {"BTCUSDT": (9, 20)}


async def test_a_new_database_covers_nothing(covered, tmp_path):
    assert await covered() == {}
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.executescript("DROP TABLE gap; CREATE TABLE gap (time INTEGER, open_ids INTEGER)")
    assert await covered() == {}
