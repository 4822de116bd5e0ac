"""The queue of snapshots, with a REST side that answers as told and a clock that does not really pass."""

import asyncio

import pytest
import structlog

from crawler.book.depth_sync import SnapshotRequest
from crawler.book.market_data import Snapshot
from crawler.snapshots import WORKERS, SnapshotQueue
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, StartupError

DELAYS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Rest:
    """Raises what it is told to for each symbol, one after another, then gives snapshots with ever higher ids."""

    def __init__(self, **answers):
        self.answers = {symbol: list(each) for symbol, each in answers.items()}
        self.asked = []
        self.open = self.most_open = 0
        self.hold = None

    async def depth(self, symbol, limit):
        self.asked.append((symbol, limit))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            if self.hold:
                await self.hold.wait()
            waiting = self.answers.get(symbol)
            if waiting:
                raise waiting.pop(0)
            return Snapshot(len(self.asked), [], [], bids_complete=True, asks_complete=True)
        finally:
            self.open -= 1


@pytest.fixture
def slept(monkeypatch):
    """Every sleep, which takes no time."""
    sleep, slept = asyncio.sleep, []

    async def note(seconds):
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return slept


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


async def answers(rest, *requests, levels=1000):
    received = []
    queue = SnapshotQueue(rest, levels, lambda *answer: received.append(answer), lambda: iter(DELAYS * 10))
    for request in requests:
        queue.ask(request)
    work = asyncio.create_task(queue.run())
    done = asyncio.create_task(queue.answered())
    await asyncio.wait({work, done}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    done.cancel()
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return queue, received
    raise AssertionError("the work ends only when it is cancelled")


async def test_a_request_is_answered_with_the_levels_asked_for(slept):
    rest = Rest()
    queue, received = await answers(rest, SnapshotRequest("BTCUSDT", 0), levels=500)
    assert rest.asked == [("BTCUSDT", 500)]
    assert received == [("BTCUSDT", Snapshot(1, [], [], bids_complete=True, asks_complete=True))]
    assert (queue.fetched, queue.failed, slept) == (1, 0, [])


@pytest.mark.parametrize("error", [ExchangeUnavailable("answered 500"), InvalidMarketData("no depth snapshot")])
async def test_a_failure_is_repeated_with_growing_delays_until_there_is_a_snapshot(slept, logged, error):
    rest = Rest(BTCUSDT=[error] * 3)
    queue, received = await answers(rest, SnapshotRequest("BTCUSDT", 0))
    assert len(received) == 1
    assert (queue.fetched, queue.failed) == (1, 3)
    assert slept == [0.25, 0.5, 1.0]
    assert [(entry["log_level"], entry["symbol"]) for entry in logged] == [("warning", "BTCUSDT")], "said once"


@pytest.mark.parametrize(("attempt", "delay"), [(1, 0.25), (2, 0.5), (4, 2.0)])
async def test_after_snapshots_that_were_too_old_the_wait_grows_with_their_number(slept, attempt, delay):
    await answers(Rest(), SnapshotRequest("BTCUSDT", attempt))
    assert slept == [delay]


async def test_a_failure_after_such_a_wait_goes_on_with_the_same_series(slept, logged):
    await answers(Rest(BTCUSDT=[ExchangeUnavailable("x")] * 2), SnapshotRequest("BTCUSDT", 2))
    assert slept == [0.5, 1.0, 2.0]
    assert logged


async def test_each_request_has_a_series_of_its_own(slept, logged):
    rest = Rest(BTCUSDT=[ExchangeUnavailable("x")] * 3)
    await answers(rest, SnapshotRequest("BTCUSDT", 0))
    del slept[:]
    rest.answers["BTCUSDT"] = [ExchangeUnavailable("x")]
    await answers(rest, SnapshotRequest("BTCUSDT", 0))
    assert slept == [0.25]
    assert logged


async def test_a_symbol_that_fails_does_not_hold_up_the_others(slept, logged):
    rest = Rest(BADUSDT=[ExchangeUnavailable("x")] * 8)
    _, received = await answers(rest, SnapshotRequest("BADUSDT", 0), SnapshotRequest("BTCUSDT", 0))
    assert [symbol for symbol, _ in received] == ["BTCUSDT", "BADUSDT"]
    assert logged


async def test_many_requests_go_a_few_at_a_time_and_each_once():
    rest = Rest()
    rest.hold = asyncio.Event()
    symbols = [f"S{number}" for number in range(50)]
    asking = asyncio.create_task(answers(rest, *(SnapshotRequest(symbol, 0) for symbol in symbols)))
    await asyncio.sleep(0.02)
    assert rest.open == len(rest.asked) == WORKERS
    rest.hold.set()
    _, received = await asking
    assert sorted(symbol for symbol, _ in received) == sorted(symbols)
    assert [symbol for symbol, _ in rest.asked] == symbols
    assert rest.most_open == WORKERS


async def test_what_an_answer_asks_for_is_fetched_too():
    """An answer may be too old and make another request, which belongs to those that are waited for."""
    rest, received = Rest(), []

    def receive(symbol, snapshot):
        received.append(snapshot.update_id)
        if len(received) < 3:
            queue.ask(SnapshotRequest(symbol, 0))

    queue = SnapshotQueue(rest, 100, receive, lambda: iter(DELAYS))
    queue.ask(SnapshotRequest("BTCUSDT", 0))
    work = asyncio.create_task(queue.run())
    async with asyncio.timeout(5):
        await queue.answered()
    work.cancel()
    assert received == [1, 2, 3]
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_refusal_for_good_ends_the_work(logged):
    rest = Rest(BTCUSDT=[StartupError("answered 451")])
    queue = SnapshotQueue(rest, 100, lambda *_: None, lambda: iter(DELAYS))
    queue.ask(SnapshotRequest("BTCUSDT", 0))
    with pytest.raises(ExceptionGroup) as ended:
        await queue.run()
    assert ended.group_contains(StartupError)
    assert logged == []


async def test_a_wait_can_be_cancelled():
    rest = Rest(BTCUSDT=[ExchangeUnavailable("answered 418")])
    queue = SnapshotQueue(rest, 100, lambda *_: None, lambda: iter((3600.0,)))
    with structlog.testing.capture_logs():
        queue.ask(SnapshotRequest("BTCUSDT", 0))
        work = asyncio.create_task(queue.run())
        await asyncio.sleep(0.02)
        work.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await work
    assert rest.open == 0
