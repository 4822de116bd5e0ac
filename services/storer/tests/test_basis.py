"""How far the venues of a symbol lie apart is worked out from stored prices, whoever stored them, and when."""

import asyncio
from random import Random

import pytest
from clocks import ManualClock
from exchange_data import START
from hypothesis import given
from hypothesis import strategies as st
from kept_points import Store

from fairprice.errors import StoreUnavailable
from storer.basis import BEFORE, BLOCK, LONGEST, SECOND, BasisRecord, Touched, basis_points, periods
from storer.measurements import Point
from storer.rounds import INTERVAL, Rounds

SPOT, FUTURES, OTHER = "binance", "binance-usdm", "kraken"


def row(venue, second, mid, *, ms=0, status="ok", symbol="BTCUSDT"):
    """A stored price so many seconds and milliseconds after the start."""
    return Point("fair_price", START + second * SECOND + ms * 1000, venue, symbol, {"status": status, "mid": mid})


def basis(second, bps, *, venue=FUTURES, against=SPOT, symbol="BTCUSDT"):
    fields = {"basis_bps": pytest.approx(bps), "against": against}
    return Point("basis", START + second * SECOND, venue, symbol, fields)


class Storer:
    """One of the storers of a store: notes what it stores and works out the basis by rounds."""

    def __init__(self, store):
        self.store = store
        self.touched = Touched()
        self.record = BasisRecord(store, self.touched)

    async def stores(self, *points):
        await self.store.write(points)
        self.touched.note(points)

    async def rounds(self, count=2):
        for _ in range(count):
            await self.record.round()


@pytest.fixture
def storer():
    return Storer(Store(ManualClock()))


def bases(store):
    return [point for key, point in sorted(store.points.items()) if key[0] == "basis"]


async def test_each_second_has_the_basis_of_the_last_mids_in_it(storer):
    await storer.stores(
        row(SPOT, 0, 99.0), row(SPOT, 0, 100.0, ms=900), row(FUTURES, 0, 100.1, ms=100),
        row(SPOT, 1, 200.0), row(FUTURES, 1, 199.0), row(SPOT, 2, 1.0), row(FUTURES, 3, 1.0),
    )  # fmt: skip
    await storer.rounds()
    assert bases(storer.store) == [basis(0, 10.0), basis(1, -50.0)]


async def test_prices_that_are_not_trusted_and_other_symbols_say_nothing(storer):
    await storer.stores(
        row(SPOT, 0, 100.0), row(FUTURES, 0, 101.0, status="locked"),
        row(SPOT, 0, 50.0, ms=1, status="beyond_reach"), row(SPOT, 0, None, ms=2, status="crossed"),
        row(FUTURES, 0, 7.0, symbol="ETHUSDT"),
    )  # fmt: skip
    await storer.rounds()
    assert bases(storer.store) == [basis(0, 100.0)]


async def test_what_one_venue_has_alone_is_not_even_read(storer):
    await storer.stores(row(SPOT, 0, 100.0))
    await storer.rounds()
    assert (storer.store.looks, storer.store.writes) == ([], 1)


async def test_a_second_is_measured_against_the_first_venue_that_has_a_price_in_it(storer):
    await storer.stores(row(FUTURES, 0, 100.0), row(OTHER, 0, 101.0))
    await storer.rounds()
    assert bases(storer.store) == [basis(0, 100.0, venue=OTHER, against=FUTURES)]
    await storer.stores(row(SPOT, 0, 50.0))
    await storer.rounds()
    assert bases(storer.store) == [basis(0, 10_000.0), basis(0, 10_200.0, venue=OTHER)]


async def test_it_waits_until_a_round_brought_nothing_more(storer):
    await storer.stores(row(SPOT, 0, 100.0), row(FUTURES, 0, 101.0))
    await storer.rounds(1)
    await storer.stores(row(SPOT, 0, 100.5, ms=1))
    await storer.rounds(1)
    assert bases(storer.store) == []
    await storer.rounds(1)
    assert bases(storer.store) == [basis(0, (101 / 100.5 - 1) * 1e4)]
    await storer.rounds(5)
    assert storer.store.writes == 3, "once is enough"


async def test_a_price_that_comes_late_is_worked_in(storer):
    await storer.stores(row(SPOT, 0, 100.0), row(FUTURES, 0, 101.0))
    await storer.rounds()
    await storer.stores(row(FUTURES, 0, 102.0, ms=999))
    await storer.rounds()
    assert bases(storer.store) == [basis(0, 200.0)]


async def test_a_new_storer_works_out_what_a_killed_one_had_stored_just_before(storer):
    seconds = BEFORE * BLOCK // SECOND
    await storer.stores(*(row(venue, second, 100.0) for second in (0, 1) for venue in (SPOT, FUTURES)))
    successor = Storer(storer.store)
    await successor.stores(row(SPOT, seconds, 100.0))
    await successor.rounds(3)
    assert bases(storer.store) == [basis(0, 0.0), basis(1, 0.0)]


async def test_what_the_store_could_not_do_is_done_in_the_next_round(storer):
    clock, rounds = ManualClock(), Rounds()
    task = asyncio.create_task(rounds.run(storer.record.round, clock=clock, random=Random(1)))
    await storer.stores(row(SPOT, 0, 100.0), row(FUTURES, 0, 101.0))
    storer.store.broken = StoreUnavailable("away")
    for _ in range(3):
        await clock.advance(INTERVAL * 1.1)
    assert rounds.failures == 2, "of three; in the first there was nothing to do"
    storer.store.broken = None
    await clock.advance(INTERVAL * 1.1)
    task.cancel()
    assert bases(storer.store) == [basis(0, 100.0)]


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([SPOT, FUTURES, OTHER]), st.integers(0, 25), st.integers(1, 9))),
    st.data(),
)
def test_storers_that_share_the_work_write_what_one_that_sees_all_rows_would(rows, data):
    points = [(first, row(venue, second, float(mid), ms=n)) for n, (first, venue, second, mid) in enumerate(rows)]

    async def work():
        store = Store(ManualClock())
        storers = Storer(store), Storer(store)
        for is_first, point in points:
            await storers[is_first].stores(point)
            for each in data.draw(st.lists(st.integers(0, 1), max_size=2)):
                await storers[each].rounds(1)
        for each in storers:
            await each.rounds()
        return bases(store)

    mids = {}
    for _, point in points:
        mids.setdefault(point.venue, {})[point.time // SECOND * SECOND] = point.fields["mid"]
    expected = sorted(basis_points("BTCUSDT", mids), key=lambda point: (point.venue, point.time)) if mids else []
    assert asyncio.run(work()) == expected


def test_neighbouring_blocks_are_read_together_but_no_more_than_an_hour():
    assert list(periods([("B", 7), ("A", 2), ("A", 1), ("A", 4)])) == [
        ("A", BLOCK, 3 * BLOCK), ("A", 4 * BLOCK, 5 * BLOCK), ("B", 7 * BLOCK, 8 * BLOCK),
    ]  # fmt: skip
    assert list(periods(("A", number) for number in range(LONGEST + 1))) == [
        ("A", 0, LONGEST * BLOCK), ("A", LONGEST * BLOCK, (LONGEST + 1) * BLOCK),
    ]  # fmt: skip
    assert list(periods([])) == []
