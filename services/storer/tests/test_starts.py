"""What is missing before a crawler that knew of no earlier run is claimed from rows alone."""

import asyncio

import pytest
from clocks import ManualClock
from exchange_data import START
from hypothesis import given
from hypothesis import strategies as st
from kept_points import Store
from test_settlement import KEY, MS, claim, row

from storer.measurements import Point
from storer.settlement import Settled
from storer.starts import PATIENCE, Starts

SECOND = 1000


def start(first, last, *, at, key=KEY):
    """With which book a crawler started, so many milliseconds after the start of the test."""
    return Point("start", START + at * MS, *key, {"first_update_id": first, "update_id": last})


class Bench:
    """Rounds by a clock that is driven by hand."""

    def __init__(self, *points):
        self.clock = ManualClock(START + 10_000_000)
        self.store = Store(self.clock, *points)
        self.starts = Starts(self.store, Settled(), clock=self.clock)

    async def round(self, seconds=30.0):
        await self.clock.advance(seconds)
        await self.starts.round()


def found(bench):
    """The gaps: milliseconds, ids, reason, open ids."""
    gaps = [point for key, point in sorted(bench.store.points.items()) if key[0] == "gap"]
    names = ("from_update_id", "to_update_id", "reason", "open_ids")
    return [((each.time - START) // MS, *(each.fields[name] for name in names)) for each in gaps]


def after(*points):
    """The gaps after two rounds over these points."""

    async def settle():
        bench = Bench(*points)
        for _ in range(2):
            await bench.round()
        return found(bench)

    return asyncio.run(settle())


BEFORE, AFTER = row(1, 10, at=0), row(51, 60, at=9 * SECOND)


def test_what_is_missing_before_a_start_is_claimed_from_the_last_row_on():
    assert after(BEFORE, start(51, 60, at=9 * SECOND), AFTER) == [(0, 11, 50, "no_state", 40)]


def test_the_first_start_of_all_claims_nothing():
    assert after(start(51, 60, at=9 * SECOND), AFTER) == []


def test_a_start_beside_another_crawler_claims_nothing():
    assert after(row(41, 50, at=8 * SECOND), start(51, 60, at=9 * SECOND), AFTER) == []
    assert after(row(41, 55, at=8 * SECOND), start(51, 60, at=9 * SECOND), AFTER) == [], "its server cuts otherwise"


def test_rows_of_another_venue_or_symbol_do_not_count():
    others = [Point("fair_price", START, *key, BEFORE.fields) for key in (("binance-usdm", KEY[1]), (KEY[0], "ETH"))]
    assert after(*others, start(51, 60, at=9 * SECOND), AFTER) == []


async def test_ids_that_began_anew_while_nobody_was_there_are_a_gap_that_runs_backwards():
    bench = Bench(row(901, 910, at=0), start(51, 60, at=9 * SECOND), AFTER)
    for _ in range(3):
        await bench.round()
    assert found(bench) == [(0, 911, 50, "no_state", 1)]
    assert bench.store.writes == 1, "once"


def test_what_another_crawler_has_claimed_is_not_claimed_again():
    told = claim(11, 50, duration_ms=9000.0, open_ids=40)
    assert after(BEFORE, told, start(51, 60, at=9 * SECOND), AFTER) == [(0, 11, 50, "disconnect", 40)]


def test_what_a_wider_claim_tells_that_begins_behind_an_earlier_row_is_not_claimed_again():
    wider = claim(11, 50, duration_ms=9000.0, open_ids=40)
    assert after(BEFORE, wider, row(21, 30, at=4 * SECOND), start(51, 60, at=9 * SECOND), AFTER) == [
        (0, 11, 50, "disconnect", 40)
    ]


def test_a_row_of_a_version_that_kept_no_ids_tells_nothing():
    old = Point("fair_price", START, *KEY, {"price": 1.0})
    assert after(old, start(51, 60, at=9 * SECOND), AFTER) == []


@pytest.mark.parametrize("rows_come_after", [0, 3 * PATIENCE / 1e6])
async def test_nothing_is_claimed_before_the_rows_up_to_the_start_are_stored(rows_come_after):
    """The converter may be behind: the claim would be too wide, or there would be none."""
    bench = Bench(start(51, 60, at=9 * SECOND))
    await bench.round()
    await bench.round(rows_come_after)
    bench.store.put(BEFORE)
    await bench.round()
    assert found(bench) == []
    bench.store.put(AFTER)
    await bench.round()
    assert found(bench) == [(0, 11, 50, "no_state", 40)]


async def test_rows_from_before_the_first_start_may_come_a_while_after_it():
    """Two converters share a queue: one may be behind the other."""
    bench = Bench(start(51, 60, at=9 * SECOND), AFTER)
    await bench.round()
    bench.store.put(BEFORE)
    await bench.round()
    assert found(bench) == [(0, 11, 50, "no_state", 40)]


async def test_a_first_start_is_not_looked_at_for_ever():
    bench = Bench(start(51, 60, at=9 * SECOND), AFTER)
    await bench.round(PATIENCE / 1e6 + 60)
    bench.store.last = None  # nobody asks any more
    await bench.round()
    await bench.round()


async def test_a_start_that_is_delivered_again_or_looked_at_by_another_storer_changes_nothing():
    points = BEFORE, start(51, 60, at=9 * SECOND), AFTER, row(21, 30, at=4 * SECOND)
    bench = Bench(*points)
    await bench.round()
    await bench.round()
    once = dict(bench.store.points)
    assert found(bench) == [(4 * SECOND, 31, 50, "no_state", 20)]
    again = Bench(*once.values(), points[1])
    await again.round()
    assert again.store.points == once


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=3),
)
def test_every_id_is_in_a_row_or_in_a_claim_whatever_is_lost_and_whoever_starts(steps, starts):
    """Crawlers without a past come one after the other; what they do not bring between is claimed."""
    points, last, brought, is_missing = [], 0, set(), True
    for number, (length, is_lost) in enumerate(steps):
        first, last, time = last + 1, last + length, number * SECOND
        if is_lost:
            is_missing = True
            continue
        if is_missing or number in starts:
            points.append(start(first, last, at=time))
        is_missing = False
        points.append(row(first, last, at=time))
        brought |= set(range(first, last + 1))
    claims = [set(range(first, to + 1)) for _, first, to, _, _ in after(*points)]
    first_of_all, end = min(brought, default=1), max(brought, default=0)
    assert set().union(*claims) == set(range(first_of_all, end + 1)) - brought
