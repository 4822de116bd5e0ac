"""The queue of snapshots, with a REST side that answers as it is told and a clock driven by hand."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import pytest
import structlog
from clocks import ManualClock, settle

from crawler.book.market_data import Snapshot
from crawler.book.steps import SnapshotRequest
from crawler.snapshots import SHOWN_FAILURES, NoneLeft, SnapshotQueue
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, NoSnapshotLeft, StartupError

AWAY = ExchangeUnavailable("answered 500")


class Rest:
    """Raises what is scripted for each symbol, one after another, then gives snapshots with ever higher ids.

    Each answer takes `seconds`, and no two come at once where `in_turn`, as under a limit of weight.
    """

    def __init__(self, clock, *, seconds=0.0, in_turn=False, **answers):
        self.clock = clock
        self.seconds = seconds
        self.turn = asyncio.Semaphore(1 if in_turn else 1000)
        self.answers = {symbol: list(each) for symbol, each in answers.items()}
        self.asked = []
        self.open = self.most_open = 0

    async def snapshot(self, symbol, levels):
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            async with self.turn:
                self.asked.append((self.clock.monotonic(), symbol, levels))
                await self.clock.sleep(self.seconds)
            if waiting := self.answers.get(symbol):
                raise waiting.pop(0)
            return Snapshot(symbol, len(self.asked), [], [], bids_complete=True, asks_complete=True)
        finally:
            self.open -= 1

    def times(self, symbol):
        return [time for time, asked, _ in self.asked if asked == symbol]


class Upper(Random):
    """Takes every delay at its longest."""

    def uniform(self, _low, high):
        return high


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


@asynccontextmanager
async def working(rest, *requests, levels=1000, sink=None, **options):
    """A queue at work on these requests, and the list of what it has answered."""
    received = []
    queue = SnapshotQueue(rest, levels, sink or received.append, clock=rest.clock, random=Upper(), **options)
    for request in requests:
        queue.ask(request)
    work = asyncio.create_task(queue.run())
    await settle()
    try:
        yield queue, received
    finally:
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert rest.open == 0


def first_of(*symbols):
    return [SnapshotRequest(symbol, 0) for symbol in symbols]


async def test_a_request_is_answered_with_the_levels_asked_for(clock):
    rest = Rest(clock)
    async with working(rest, *first_of("BTCUSDT"), levels=500) as (queue, received):
        await queue.idle()
    assert rest.asked == [(0.0, "BTCUSDT", 500)]
    assert received == [Snapshot("BTCUSDT", 1, [], [], bids_complete=True, asks_complete=True)]
    assert (queue.fetched, queue.failed) == (1, 0)


async def test_a_queue_that_nobody_has_asked_is_idle_and_one_that_waits_for_its_time_is_not(clock):
    async with working(Rest(clock)) as (queue, received):
        await queue.idle()
        queue.ask(SnapshotRequest("BTCUSDT", 3))
        idle = asyncio.create_task(queue.idle())
        await clock.advance(1.9)
        assert not idle.done()
        await clock.advance(0.2)
        await idle
        assert len(received) == 1


@pytest.mark.parametrize("error", [AWAY, InvalidMarketData("no depth snapshot")])
async def test_a_failure_is_repeated_with_growing_delays_until_there_is_a_snapshot(clock, logged, error):
    rest = Rest(clock, BTCUSDT=[error] * 9)
    async with working(rest, *first_of("BTCUSDT")) as (queue, received):
        await clock.advance(400.0)
    assert len(received) == 1
    assert (queue.fetched, queue.failed) == (1, 9)
    times = rest.times("BTCUSDT")
    pauses = [later - time for time, later in pairwise(times)]
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    assert [(entry["log_level"], entry["symbol"]) for entry in logged] == [("warning", "BTCUSDT")], "said once"


@pytest.mark.parametrize(("attempt", "delay"), [(0, 0.0), (1, 0.5), (2, 1.0), (4, 4.0), (1000, 60.0)])
async def test_after_snapshots_that_led_to_no_sound_book_the_wait_grows_with_their_number(clock, attempt, delay):
    rest = Rest(clock)
    async with working(rest, SnapshotRequest("BTCUSDT", attempt)) as (queue, _):
        await clock.advance(61.0)
        await queue.idle()
    assert rest.times("BTCUSDT") == [delay]


async def test_failures_and_snapshots_of_no_use_grow_one_series(clock):
    rest = Rest(clock, BTCUSDT=[AWAY] * 2)
    async with working(rest, SnapshotRequest("BTCUSDT", 2)):
        await clock.advance(60.0)
    assert rest.times("BTCUSDT") == [1.0, 3.0, 7.0]


async def test_each_request_has_a_series_of_its_own(clock):
    rest = Rest(clock, BTCUSDT=[AWAY] * 3)
    async with working(rest, *first_of("BTCUSDT")) as (queue, _):
        await clock.advance(10.0)
        rest.answers["BTCUSDT"] = [AWAY]
        queue.ask(SnapshotRequest("BTCUSDT", 0))
        await clock.advance(10.0)
    assert rest.times("BTCUSDT") == [0.0, 0.5, 1.5, 3.5, 10.0, 10.5]


async def test_jitter_keeps_each_delay_between_half_and_whole(clock):
    queue = SnapshotQueue(Rest(clock), 100, print, clock=clock, random=Random(1))
    delays = [queue._delay(3) for _ in range(200)]
    assert 1.0 <= min(delays) < 1.1
    assert 1.9 < max(delays) <= 2.0


async def test_a_symbol_that_fails_does_not_hold_up_the_others(clock):
    rest = Rest(clock, BADUSDT=[AWAY] * 8)
    async with working(rest, *first_of("BADUSDT", "BTCUSDT"), at_once=1) as (_, received):
        await clock.advance(0.0)
        assert [snapshot.symbol for snapshot in received] == ["BTCUSDT"]
        await clock.advance(200.0)
        assert [snapshot.symbol for snapshot in received] == ["BTCUSDT", "BADUSDT"]


async def test_four_hundred_symbols_that_fail_of_five_hundred_cost_the_others_their_turn_only(clock):
    """One answer a second, as the weight allows: the failing ones alone would keep it busy for ever."""
    failing = [f"BAD{number}" for number in range(400)]
    good = [f"S{number}" for number in range(100)]
    rest = Rest(clock, seconds=1.0, in_turn=True, **{symbol: [AWAY] * 1000 for symbol in failing})
    async with working(rest, *first_of(*failing, *good)) as (queue, received):
        await clock.advance(501.0)
        assert {snapshot.symbol for snapshot in received} == set(good)
        await clock.advance(600.0)
        del received[:]
        for number in range(20):
            asked = clock.monotonic()
            queue.ask(SnapshotRequest(f"S{number}", 0))
            await clock.until(lambda: received, step=0.5)
            assert clock.monotonic() - asked <= 6.0, "what was under way, four at once, and its own second"
            del received[:]
        repeated = [len(rest.times(symbol)) for symbol in failing]
        assert max(repeated) - min(repeated) <= 2, "nor does one that fails starve another"


async def test_books_that_are_refreshed_again_and_again_do_not_keep_a_lost_one_from_coming_back(clock):
    """A crash of the market: more refreshes than the weight allows, each of them a first attempt."""
    rest = Rest(clock, seconds=1.0, in_turn=True, LOSTUSDT=[AWAY] * 2)

    def refresh_again(snapshot):
        queue.ask(SnapshotRequest(snapshot.symbol, 0))

    async with working(rest, sink=refresh_again) as (queue, _):
        for request in first_of("LOSTUSDT", *(f"S{number}" for number in range(100))):
            queue.ask(request)
        await clock.advance(600.0)
    assert len(rest.times("LOSTUSDT")) >= 3


async def test_many_requests_go_a_few_at_a_time_each_once_and_in_order(clock):
    rest = Rest(clock, seconds=1.0)
    symbols = [f"S{number}" for number in range(50)]
    async with working(rest, *first_of(*symbols), at_once=3) as (queue, received):
        await clock.advance(0.5)
        assert rest.open == len(rest.asked) == 3
        await clock.advance(17.0)
        await queue.idle()
    assert [snapshot.symbol for snapshot in received] == symbols
    assert [symbol for _, symbol, _ in rest.asked] == symbols
    assert rest.most_open == 3


def in_the_background(*symbols):
    return [SnapshotRequest(symbol, 0, background=True) for symbol in symbols]


async def test_what_a_book_waits_for_goes_before_what_is_asked_for_in_the_background(clock):
    rest = Rest(clock, seconds=1.0)
    symbols = [f"S{number}" for number in range(20)]
    rank = {symbol: place for place, symbol in enumerate([*symbols, "LOSTUSDT"])}
    async with working(rest, *in_the_background(*symbols), at_once=1, rank=rank) as (queue, _):
        queue.ask(SnapshotRequest("LOSTUSDT", 0))
        await clock.advance(2.5)
    assert "LOSTUSDT" in [symbol for _, symbol, _ in rest.asked[:3]]


async def test_a_request_takes_the_place_of_one_of_its_symbol_that_waits(clock):
    """Its book was lost meanwhile: a shallow snapshot will do, and now."""
    rest = Rest(clock, seconds=1.0)
    symbols = [f"S{number}" for number in range(20)]
    async with working(rest, *in_the_background(*symbols), at_once=1) as (queue, received):
        queue.ask(SnapshotRequest("S19", 0, shallow=True))
        await clock.advance(30.0)
        await queue.idle()
    assert [(symbol, levels) for _, symbol, levels in rest.asked][:2] == [("S0", 1000), ("S19", 100)]
    assert [snapshot.symbol for snapshot in received].count("S19") == 1


@pytest.mark.parametrize(("failures", "levels"), [([], [1000]), ([AWAY], [1000, 100])])
async def test_a_request_while_one_of_its_symbol_is_under_way_is_answered_by_that_or_takes_its_place(
    clock, failures, levels
):
    rest = Rest(clock, seconds=1.0, BTCUSDT=failures)
    async with working(rest, *in_the_background("BTCUSDT")) as (queue, received):
        queue.ask(SnapshotRequest("BTCUSDT", 0, shallow=True))
        await clock.advance(10.0)
        await queue.idle()
    assert [levels for _, _, levels in rest.asked] == levels
    assert len(received) == 1


async def test_a_request_that_comes_while_another_waits_for_its_time_goes_at_once(clock):
    rest = Rest(clock)
    async with working(rest, SnapshotRequest("BADUSDT", 5)) as (queue, received):
        await clock.advance(1.0)
        queue.ask(SnapshotRequest("BTCUSDT", 0))
        await clock.advance(0.0)
        assert [snapshot.symbol for snapshot in received] == ["BTCUSDT"]
        queue.ask(SnapshotRequest("ETHUSDT", 1))
        await clock.advance(0.6)
        assert [snapshot.symbol for snapshot in received] == ["BTCUSDT", "ETHUSDT"]


async def test_what_an_answer_asks_for_is_waited_for_too(clock):
    """An answer may be of no use and make another request."""
    rest, received = Rest(clock), []

    def sink(snapshot):
        received.append(snapshot.update_id)
        if len(received) < 3:
            queue.ask(SnapshotRequest(snapshot.symbol, len(received)))

    async with working(rest, sink=sink) as (queue, _):
        queue.ask(SnapshotRequest("BTCUSDT", 0))
        idle = asyncio.create_task(queue.idle())
        await clock.advance(0.4)
        assert not idle.done()
        await clock.advance(2.0)
        await idle
    assert received == [1, 2, 3]


async def test_that_no_snapshot_is_left_is_an_answer_and_no_failure(clock, logged):
    rest = Rest(clock, BTCUSDT=[NoSnapshotLeft("no snapshot of BTCUSDT is left")])
    async with working(rest, *first_of("BTCUSDT", "ETHUSDT")) as (queue, received):
        await queue.idle()
    assert received[0] == NoneLeft("BTCUSDT")
    assert received[1].symbol == "ETHUSDT"
    assert (queue.fetched, queue.failed, logged) == (1, 0, [])


async def test_the_log_names_a_few_of_many_failures_and_again_what_fails_after_it_was_well(clock, logged):
    symbols = [f"S{number}" for number in range(50)]
    rest = Rest(clock, **{symbol: [AWAY] * 3 for symbol in symbols})
    async with working(rest, *first_of(*symbols)) as (queue, _):
        await clock.advance(10.0)
        await queue.idle()
        assert len(logged) == SHOWN_FAILURES
        rest.answers["S49"] = [AWAY]
        queue.ask(SnapshotRequest("S49", 0))
        await clock.advance(1.0)
    assert [entry["symbol"] for entry in logged[SHOWN_FAILURES:]] == ["S49"]


async def test_a_refusal_for_good_ends_the_work(clock, logged):
    rest = Rest(clock, BTCUSDT=[StartupError("answered 451")])
    queue = SnapshotQueue(rest, 100, print, clock=clock, random=Upper())
    queue.ask(SnapshotRequest("BTCUSDT", 0))
    with pytest.raises(ExceptionGroup) as ended:
        await queue.run()
    assert ended.group_contains(StartupError)
    assert logged == []


async def test_the_work_can_be_cancelled_while_it_waits_and_while_it_fetches(clock):
    rest = Rest(clock, seconds=5.0, BTCUSDT=[AWAY])
    async with working(rest, *first_of("BTCUSDT", "ETHUSDT")):
        await clock.advance(5.1)
    assert rest.open == 0
    assert clock.sleepers == 0
