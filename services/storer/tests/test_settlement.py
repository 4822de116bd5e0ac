"""Which gaps stay open is found out from the rows alone."""

import asyncio
from random import Random

import pytest
import structlog
from clocks import ManualClock
from exchange_data import START
from hypothesis import given
from hypothesis import strategies as st
from kept_points import Store

from fairprice.errors import StoreUnavailable
from storer.measurements import Point
from storer.rounds import INTERVAL, Rounds
from storer.settlement import FIRST_LOOK_BACK, LONGEST, LOOK_BACK, SHARE, Settled, Settlement
from storer.stores.sqlite import open_sqlite

KEY = ("binance", "BTCUSDT")
MS = 1000


def claim(first, last, *, at=0, duration_ms=1000.0, **changes):
    """A gap as it is stored at first, so many milliseconds after the start."""
    fields = {"from_update_id": first, "to_update_id": last, "duration_ms": duration_ms, "reason": "disconnect"}
    return Point("gap", START + at * MS, *KEY, {**fields, "open_ids": max(1, last - first + 1), **changes})


def row(first, last, *, at):
    return Point("fair_price", START + at * MS, *KEY, {"first_update_id": first, "update_id": last})


class Bench:
    """A settlement that runs by a clock that is driven by hand."""

    def __init__(self, *points, wall=START + 10_000_000):
        self.clock = ManualClock(wall)
        self.store = Store(self.clock, *points)
        self.settled = Settled()
        self.rounds = Rounds()
        self.settlement = Settlement(self.store, self.settled, clock=self.clock)

    def __enter__(self):
        self._task = asyncio.create_task(self.rounds.run(self.settlement.round, clock=self.clock, random=Random(1)))
        return self

    def __exit__(self, *_):
        self._task.cancel()

    async def round(self, seconds=INTERVAL * 1.1):
        await self.clock.advance(seconds)
        assert not self._task.done()


async def test_what_another_crawler_has_brought_is_no_hole():
    with Bench(claim(11, 20), row(11, 15, at=100), row(16, 20, at=900)) as bench:
        await bench.round()
    assert bench.store.open_ids() == [0]
    assert dict(bench.settled.filled) == {KEY: 1}
    assert set(bench.settled.samples()) == {("storer_filled_gaps_total", KEY, 1)}


async def test_the_whole_point_is_written_again_and_nothing_but_the_open_ids_is_another():
    with Bench(claim(11, 20), row(11, 15, at=100)) as bench:
        await bench.round()
    [point] = [each for key, each in bench.store.points.items() if key[0] == "gap"]
    assert point == claim(11, 20, open_ids=5)
    assert ("storer_open_gaps", KEY, 1) in set(bench.settled.samples())


async def test_a_hole_that_both_had_stays_open_and_is_not_written_again_and_again():
    with Bench(claim(11, 20), row(1, 10, at=0), row(21, 30, at=1000)) as bench:
        for _ in range(5):
            await bench.round()
    assert bench.store.open_ids() == [10]
    assert bench.store.writes == 0
    assert bench.settled.open_gaps == {KEY: 1}


async def test_rows_are_read_a_second_before_the_gap_and_behind_it():
    with Bench(claim(11, 20, at=5000), row(9, 12, at=4000), row(13, 30, at=7000)) as bench:
        await bench.round()
    assert bench.store.open_ids() == [0]
    assert bench.store.looks == [(4_000_000, 7_000_001)]


async def test_rows_that_come_late_are_found():
    with Bench(claim(11, 20)) as bench:
        await bench.round()
        assert bench.store.open_ids() == [10]
        bench.store.put(row(11, 18, at=500))
        await bench.round()
        assert bench.store.open_ids() == [2]
        bench.store.put(row(19, 20, at=600))
        await bench.round()
        await bench.round()
        assert bench.store.open_ids() == [0]


async def test_a_gap_that_stays_open_is_looked_at_ever_more_seldom():
    with Bench(claim(11, 20)) as bench:
        for _ in range(200):
            await bench.round(INTERVAL)
    assert 200 * INTERVAL / LONGEST <= len(bench.store.looks) <= 200 * INTERVAL / LONGEST + 8


async def test_what_takes_long_to_read_is_read_for_a_small_part_of_the_time_only():
    with Bench(claim(11, 20)) as bench:
        bench.store.seconds = 60.0
        await bench.round(36_000)
    assert 2 <= len(bench.store.looks) <= 36_000 * SHARE / 60 / 0.9 + 1


async def test_a_claim_that_was_stored_again_is_settled_again():
    """A message that comes twice writes the gap as it was claimed."""
    with Bench(claim(11, 20), row(11, 20, at=100)) as bench:
        await bench.round()
        bench.store.put(claim(11, 20))
        await bench.round()
    assert bench.store.open_ids() == [0]


async def test_a_gap_that_runs_backwards_is_never_filled():
    with Bench(claim(1001, 9), row(1, 2000, at=500)) as bench:
        await bench.round()
    assert bench.store.open_ids() == [1]


async def test_a_gap_of_an_earlier_version_that_has_no_open_ids_gets_them():
    with Bench(claim(11, 20, open_ids=None), claim(31, 40, at=5000, open_ids=None), row(11, 20, at=100)) as bench:
        await bench.round()
    assert bench.store.open_ids() == [0, 10]


async def test_a_number_never_rises_though_rows_expire():
    with Bench(claim(11, 20, open_ids=3)) as bench:
        await bench.round()
    assert bench.store.open_ids() == [3]


async def test_the_first_round_looks_far_back_the_others_a_day():
    days = LOOK_BACK
    with Bench(claim(11, 20), wall=START + FIRST_LOOK_BACK - days) as bench:
        await bench.round()
        assert bench.settled.open_gaps == {KEY: 1}
        await bench.round()
        assert bench.settled.open_gaps == {}


async def test_the_day_is_one_of_what_is_stored_where_the_market_has_a_time_of_its_own():
    with Bench(claim(11, 20), row(11, 20, at=1), wall=START + 1000 * LOOK_BACK) as bench:
        await bench.round()
        assert bench.store.open_ids() == [10]
        bench.settled.note([row(21, 30, at=2000)])
        await bench.round()
        assert bench.store.open_ids() == [0]


async def test_a_store_that_cannot_be_read_is_told_once_and_tried_again():
    with Bench(claim(11, 20), row(11, 20, at=100)) as bench, structlog.testing.capture_logs() as logged:
        bench.store.broken = StoreUnavailable("may not read")
        await bench.round(INTERVAL)
        await bench.round(INTERVAL)
        assert bench.rounds.failures >= 1
        assert [each["error"] for each in logged] == ["may not read"]
        bench.store.broken = None
        await bench.round()
    assert bench.store.open_ids() == [0]


@pytest.mark.parametrize("symbols", [1, 3])
async def test_two_storers_that_settle_the_same_at_once_come_to_the_same_end(symbols, tmp_path):
    store = await open_sqlite(tmp_path / "twins.db")
    try:
        for number in range(symbols):
            key = ("binance", f"S{number}USDT")
            gaps = [Point("gap", START + n, *key, claim(n * 10, n * 10 + 9).fields) for n in range(1, 9)]
            rows = [Point("fair_price", START + n, *key, row(n * 10, n * 10 + 6 + n % 2 * 3, at=0).fields)
                    for n in range(1, 9)]  # fmt: skip
            assert await store.write([*gaps, *rows]) == []
        clock = ManualClock(START)
        both = [Settlement(store, Settled(), clock=clock) for _ in range(2)]
        await asyncio.gather(*(each.settle(LOOK_BACK) for each in both))
        for number in range(symbols):
            found = [each async for each in store.rows("gap", ("open_ids",), "binance", f"S{number}USDT", 0, 2**62)]
            assert [open_ids for _, open_ids in found] == [0, 3] * 4
    finally:
        await store.close()


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=20), st.integers(20, 30), st.integers(0, 10))
def test_the_rows_around_a_gap_are_joined_without_a_change_of_what_they_cover(ranges, first, length):
    rows = [row(begin, begin + more, at=n) for n, (begin, more) in enumerate(ranges)]

    async def settle():
        bench = Bench(claim(first, first + length), *rows)
        await bench.settlement.settle(LOOK_BACK)
        return bench.store.open_ids()

    covered = {each for begin, more in ranges for each in range(begin, begin + more + 1)}
    assert asyncio.run(settle()) == [len(set(range(first, first + length + 1)) - covered)]
