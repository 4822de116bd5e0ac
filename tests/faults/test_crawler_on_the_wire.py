"""The whole crawler against the simulated exchange, over real sockets and on one clock that the test drives.

The exchange knows the truth: whatever happens, each published book is the exchange's at its id, and every id from the
first book on is in one book or in one gap. What an exchange does on purpose is in `test_hostile_exchange.py`.
"""

import asyncio
import gzip
import logging
import os
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import pairwise
from random import Random
from weakref import WeakKeyDictionary

import orjson
import pytest
import structlog
from waiting import patience

from crawler.app import Crawler
from crawler.recorder import program
from crawler.settings import CrawlerSettings
from fairprice import topology
from fairprice.broker.memory import MemoryBroker
from fairprice.errors import StartupError
from fairprice.messages import Book, Gap, Start, Status, decode
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.metrics import Histogram
from simulator import Exchange, Fault, Knobs, Playback, SimulatorServer
from tests.clocks import ManualClock

QUEUE = "books.test"
TICK = 0.1
PATIENCE = 20.0
TRUTHS = WeakKeyDictionary()
"""Of each exchange the books that were looked up."""


@pytest.fixture(autouse=True)
def logged(caplog):
    """The crawler's log; the simulator must have nothing to complain about, and no handler of either may fail."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def clock():
    return ManualClock()


def exchange(clock, *symbols, venue="binance", tick=TICK, knobs=None):
    """An exchange on the network that lives on a clock."""
    source = Exchange(symbols or ("BTCUSDT",), venue=venue, start_us=clock.wall(), knobs=knobs)
    return SimulatorServer(source, clock=clock, tick=tick)


class SkewedClock:
    """Another machine's clock, whose wall clock is wrong by so many seconds."""

    def __init__(self, clock, seconds):
        self.monotonic, self.sleep = clock.monotonic, clock.sleep
        self.wall = lambda: clock.wall() + round(seconds * 1_000_000)


class Run:
    """One run of a crawler, and everything it publishes."""

    def __init__(self, server, clock, *, broker_capacity=1000, skew=0.0, options=None, **settings):
        self.server, self.clock = server, clock
        urls = {"exchange_rest_url": server.rest_url, "exchange_stream_url": server.stream_url}
        defaults = {"symbols": tuple(server.source.update_ids()), "stream_connections": 1, "state_dir": None}
        self.settings = CrawlerSettings.load({}, **urls | defaults | settings)
        self.broker = MemoryBroker((topology.Exchange(topology.BOOKS, (QUEUE,)),), capacity=broker_capacity)
        self.crawler = Crawler(
            self.settings,
            self.broker,
            name="test",
            random=Random(1),
            clock=SkewedClock(clock, skew) if skew else clock,
            **options or {},
        )
        self.events = {symbol: [] for symbol in self.settings.symbols}
        self.statuses = {}
        self.starts = {}
        self.taking = asyncio.Event()
        self.taking.set()
        self.stopping = asyncio.Event()
        self.task = None

    def books(self, symbol="BTCUSDT"):
        return [event for event in self.events[symbol] if isinstance(event, Book)]

    def gaps(self, symbol="BTCUSDT"):
        return [event for event in self.events[symbol] if isinstance(event, Gap)]

    def reasons(self):
        return [gap.reason for symbol in self.events for gap in self.gaps(symbol)]

    def last_ids(self):
        return {symbol: books[-1].update_id for symbol in self.events if (books := self.books(symbol))}

    def opened(self):
        return self.server.status()["connections"]["opened"]

    def metrics(self):
        """The values by name and labels but the venue; a histogram's is how much it has observed."""
        return {
            (name.removeprefix("crawler_"), *labels[1:]): sum(value.counts) if isinstance(value, Histogram) else value
            for name, labels, value in self.crawler.samples()
        }

    def resyncs(self):
        return sum(value for (name, *_), value in self.metrics().items() if name == "resyncs_total")

    def problem(self, check):
        return self.crawler.checks()[check]()

    async def until(self, condition, within=60.0):
        """Let time pass until it holds, as long as the crawler runs."""

        def is_so():
            if self.task.done():
                self.task.result()
                raise AssertionError("the crawler has ended")
            return condition()

        await self.clock.until(is_so, within, TICK)

    async def live(self, seconds):
        """Let so much time pass."""
        end = self.clock.monotonic() + seconds
        await self.clock.until(lambda: self.clock.monotonic() >= end, 2 * seconds, TICK)

    async def for_books(self, count, *symbols):
        """Wait until every symbol has so many books more and is in sync."""
        symbols = symbols or tuple(self.events)
        goal = {symbol: len(self.books(symbol)) + count for symbol in symbols}
        await self.until(lambda: all(len(self.books(symbol)) >= goal[symbol] for symbol in symbols))
        await self.until(lambda: not set(self.crawler.summary.out_of_sync) & set(symbols))

    async def take(self):
        """The consumer behind the broker."""
        async with self.broker.subscribe(QUEUE, prefetch=5) as subscription:
            while True:
                await self.taking.wait()
                deliveries = await subscription.receive(5)
                for delivery in deliveries:
                    for event in decode(delivery.message.body):
                        if isinstance(event, Status):
                            self.statuses[event.symbol] = event
                        elif isinstance(event, Start):
                            self.starts[event.symbol] = event
                        elif isinstance(event, Book | Gap):
                            self.events[event.symbol].append(event)
                        if isinstance(event, Book):
                            look_up(self.server.source, event)
                await deliveries[-1].ack(multiple=True)

    async def stop(self):
        """Ask for the end, and wait for it and for all that has been published."""
        self.stopping.set()
        await self.end()

    async def end(self):
        await self.clock.until(self.task.done, PATIENCE)
        self.task.result()
        await self.clock.until(lambda: not self.broker.depths()[QUEUE], PATIENCE)


@asynccontextmanager
async def running(server, clock, **options):
    """A crawler at work."""
    run = Run(server, clock, **options)
    consumer = asyncio.create_task(run.take())
    run.task = asyncio.create_task(run.crawler.run(run.stopping))
    try:
        yield run
    finally:
        consumer.cancel()
        run.task.cancel()
        await asyncio.wait({consumer, run.task})


@asynccontextmanager
async def crawling(server, clock, *, in_order=True, **options):
    """A crawler that, when the block ends, comes into sync and is stopped; all that it published has to be true."""
    async with running(server, clock, **options) as run:
        yield run
        await run.until(lambda: not run.crawler.summary.out_of_sync)
        await run.stop()
        for symbol, events in run.events.items():
            require_true(server.source, symbol, events if in_order else sorted(events, key=range_of))
        assert not server.limits.breaches


def require_true(source, symbol, events):
    """Each book is the exchange's at its id, as far as it is known; each id is in one book or one gap, in order."""
    assert any(isinstance(event, Book) for event in events), f"{symbol} never came into sync"
    expected = None
    for event in events:
        first, last = range_of(event)
        assert expected in (None, first), f"{symbol}: after {expected} comes {event}"
        expected = last + 1
        if isinstance(event, Book):
            assert first <= last
            compare(truth(source, symbol, event.update_id), event)
    times = [event.event_time for event in events if isinstance(event, Book)]
    assert len(set(times)) == len(times), f"{symbol}: two books would share a key in the store"


def range_of(event):
    """The ids that a book or a gap stands for."""
    if isinstance(event, Book):
        return event.first_update_id, event.update_id
    return event.from_update_id, event.to_update_id


def truth(source, symbol, update_id):
    """The best levels of the exchange at this id, looked up once: to go back costs it as much as has changed since."""
    books = TRUTHS.setdefault(source, {})
    if (symbol, update_id) not in books:
        books[symbol, update_id] = source.book_at(symbol, update_id, 20)
    return books[symbol, update_id]


def look_up(source, book):
    """Look up the truth of a book while it is new, if there is one: a recording has none."""
    with suppress(LookupError):
        truth(source, book.symbol, book.update_id)


def compare(truth, book):
    floor, ceiling = Decimal(book.floor or 0), Decimal(book.ceiling or "Infinity")
    bids = [list(level) for level in truth.bids if Decimal(level[0]) >= floor]
    asks = [list(level) for level in truth.asks if Decimal(level[0]) <= ceiling]
    assert book.bids[: len(bids)] == bids
    assert book.asks[: len(asks)] == asks
    assert len(bids) == len(asks) == 20, "the book was refreshed before it came to the end of what it knows"


async def refusal(server, clock, **options):
    """The error that a crawler gives up with."""
    run = Run(server, clock, **options)
    task = asyncio.create_task(run.crawler.run(asyncio.Event()))
    await clock.until(task.done)
    with pytest.raises(ExceptionGroup) as ended:
        task.result()
    fatal, rest = ended.value.split(StartupError)
    assert rest is None
    while isinstance(fatal, ExceptionGroup):
        fatal = fatal.exceptions[0]
    return str(fatal)


# When nothing is wrong


@pytest.mark.parametrize(("venue", "count"), [("binance", 1), ("binance", 4), ("binance-usdm", 2)])
async def test_a_calm_day(clock, venue, count, logged):
    symbols = "BTCUSDT", "ETHUSDT", "币安人生USDT"
    async with (
        exchange(clock, *symbols, venue=venue) as server,
        crawling(server, clock, venue=venue, stream_connections=count) as run,
    ):
        await run.for_books(50)
        assert run.opened() == count
        assert run.problem("stream") is run.problem("books") is None
        assert {status.problem for status in run.statuses.values()} == {None}
    assert run.reasons() == []
    assert run.resyncs() == 0
    for symbol in symbols:
        assert run.metrics()["audits_total", symbol, "match"] > 20
        assert run.metrics()["audits_total", symbol, "mismatch"] == 0
        for before, after in pairwise(run.books(symbol)):
            assert after.previous_event_time == before.event_time
            assert 0 <= after.received_time - after.event_time < 1_000_000
            assert (after.venue, after.crawler) == (venue, "test")
    assert {entry["log_level"] for entry in logged} <= {"info"}


# Connections


@pytest.mark.parametrize("variant", ["close", "abort"])
async def test_a_lost_connection_costs_each_symbol_one_gap(clock, variant):
    async with exchange(clock, "BTCUSDT", "ETHUSDT") as server, crawling(server, clock) as run:
        await run.for_books(10)
        server.inject(Fault("disconnect", variant=variant))
        await run.until(run.gaps)
        await run.for_books(10)
    assert run.reasons() == ["disconnect", "disconnect"]
    for symbol, events in run.events.items():
        [gap] = run.gaps(symbol)
        before, after = events[events.index(gap) - 1], events[events.index(gap) + 1]
        assert (gap.from_time, gap.to_time) == (before.event_time, after.event_time)
        assert gap.from_time < gap.to_time


async def test_an_exchange_that_refuses_is_asked_again_until_it_lets_the_crawler_in(clock, logged):
    async with exchange(clock) as server:
        server.inject(Fault("refuse", code=503, seconds=5))
        async with crawling(server, clock) as run:
            await run.until(lambda: server.status()["connections"]["refused"] >= 3)
            assert "not connected" in run.problem("stream")
            assert run.metrics()["connections",] == 0
            await run.for_books(5)
    assert run.reasons() == []
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == [
        "no stream, trying until there is one"
    ], "said once, not at every attempt"


@pytest.mark.parametrize("fault", [Fault("refuse", code=451), Fault("fail_snapshot", variant="451")])
async def test_a_restricted_place_is_told(clock, fault):
    async with exchange(clock) as server:
        server.inject(fault)
        said = await refusal(server, clock)
        assert server.source.board.fired == {fault.kind: 1}
    assert "451" in said
    assert "FAIRPRICE_EXCHANGE_REST_URL" in said
    assert "FAIRPRICE_EXCHANGE_STREAM_URL" in said


async def test_a_pause_of_one_symbol_costs_its_neighbours_nothing(clock):
    """A pause after a busy time is a stall for its symbol; that is no reason to cut the others off."""
    async with exchange(clock, "BTCUSDT", "ETHUSDT") as server, crawling(server, clock, silence_timeout=2.0) as run:
        await run.for_books(20)
        server.inject(Fault("silence", symbol="ETHUSDT", seconds=5))
        await run.until(lambda: run.gaps("ETHUSDT"))
        await run.for_books(20)
    assert run.gaps("BTCUSDT") == []
    assert [gap.reason for gap in run.gaps("ETHUSDT")] == ["silence"]


# Symbols


async def test_an_unknown_symbol_is_told_and_the_others_are_followed(clock):
    async with exchange(clock) as server, running(server, clock, symbols=("BTCUSDT", "NOPEUSDT")) as run:
        await run.until(lambda: run.books() and "NOPEUSDT" in run.statuses)
        assert run.crawler.notes()["symbols"]() == "NOPEUSDT: UNLISTED"
        assert run.problem("books") is None
        assert (run.statuses["NOPEUSDT"].exchange_status, run.statuses["NOPEUSDT"].is_halted) == ("UNLISTED", True)
        await run.stop()
        require_true(server.source, "BTCUSDT", run.events["BTCUSDT"])


async def test_only_unknown_symbols_are_told_before_anything_is_opened(clock):
    async with exchange(clock) as server:
        said = await refusal(server, clock, symbols=("NOPEUSDT", "ALSONOTUSDT"))
        assert server.status()["connections"]["opened"] == 0
    assert "NOPEUSDT, ALSONOTUSDT" in said
    assert "FAIRPRICE_SYMBOLS" in said


async def test_a_halt_is_shown_and_does_not_make_the_crawler_unready(clock):
    async with (
        exchange(clock, "BTCUSDT", "HALTUSDT") as server,
        crawling(server, clock, options={"list_interval": 5.0}) as run,
    ):
        await run.for_books(20, "BTCUSDT")
        assert run.books("HALTUSDT") == []
        assert run.problem("books") is run.problem("stream") is None
        assert run.crawler.notes()["symbols"]() == "HALTUSDT: BREAK"
        status = run.statuses["HALTUSDT"]
        assert (status.exchange_status, status.is_halted, status.problem) == ("BREAK", True, None)
        assert run.metrics()["trading", "HALTUSDT"] == 0
        server.source.set_status("HALTUSDT", "TRADING")
        await run.for_books(10)
        await run.until(lambda: run.crawler.notes()["symbols"]() is None)
        server.source.set_status("BTCUSDT", "BREAK")
        await run.until(lambda: run.statuses["BTCUSDT"].is_halted)
        assert run.problem("books") is None
        assert run.opened() == 1, "nobody misses what does not trade"
    assert run.reasons() == []


# Snapshots


WAITS = {
    Fault("slow_snapshot", seconds=5): 5,
    Fault("fail_snapshot", code=500, count=3): 0,
    Fault("fail_snapshot", variant="html", count=2): 0,
    Fault("fail_snapshot", variant="truncated", count=2): 0,
    Fault("fail_snapshot", variant="reset", count=2): 0,
    Fault("fail_snapshot", variant="timeout"): 0,
    Fault("stale_snapshot", count=2): 0,
    Fault("sparse_snapshot", variant="empty", count=2): 0,
    Fault("sparse_snapshot", variant="no_bids"): 0,
    Fault("rate_limit", variant="429", seconds=20): 20,
    Fault("rate_limit", variant="418_text_only", seconds=20): 20,
}
"""Seconds for which nothing may be asked after each."""


@pytest.mark.parametrize("fault", WAITS, ids=lambda fault: f"{fault.kind}-{fault.variant}")
async def test_a_snapshot_that_does_not_come_is_asked_for_until_it_does(clock, fault):
    async with exchange(clock) as server:
        server.inject(fault)
        async with crawling(server, clock) as run:
            await run.until(run.books, within=WAITS[fault] + 60)
            assert clock.monotonic() >= WAITS[fault]
            await run.for_books(3)
        assert server.source.board.fired[fault.kind] == fault.count
        assert server.status()["requests"]["/api/v3/depth"] == fault.count + (fault.kind != "slow_snapshot")
    assert run.reasons() == []


async def test_books_go_on_while_the_address_is_banned(clock):
    """A ban forbids to ask, not to listen: what is in sync stays so, what is not waits."""
    async with exchange(clock, "BTCUSDT", "ETHUSDT") as server, crawling(server, clock) as run:
        await run.for_books(5)
        server.inject(Fault("rate_limit", variant="418", seconds=10))
        server.inject(Fault("drop", symbol="BTCUSDT"))
        await run.until(lambda: server.source.board.fired.get("rate_limit"))
        await run.for_books(50, "ETHUSDT")
        assert run.problem("books") == "not in sync: BTCUSDT"
        assert run.metrics()["in_sync", "BTCUSDT"] == 0
        assert run.metrics()["snapshots_total", "failed"] == 1
        assert run.statuses["BTCUSDT"].problem == "the order book is not in sync"
        await run.for_books(5)
    assert run.gaps("ETHUSDT") == []
    assert [gap.reason for gap in run.gaps("BTCUSDT")] == ["missed_updates"]


# Frames


@pytest.mark.parametrize("variant", ["binary", "fragmented", "unknown_key", "unknown_event"])
async def test_an_unusual_frame_is_taken(clock, variant):
    async with exchange(clock) as server, crawling(server, clock) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant=variant, count=3))
        await run.for_books(20)
        assert server.source.board.fired == {"malformed": 3}
    assert run.reasons() == []


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("bad_json", "unreadable_frame"),
        ("truncated", "unreadable_frame"),
        ("missing_first_id", "unreadable_frame"),
        ("exponent_quantity", "unreadable_frame"),
        ("invalid_utf8", "missed_updates"),  # here it is the stream's name that cannot be read
    ],
)
async def test_a_malformed_frame_costs_its_symbol_a_gap_and_the_connection_stays(clock, variant, reason, logged):
    async with exchange(clock, "BTCUSDT", "ETHUSDT") as server, crawling(server, clock) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", symbol="BTCUSDT", variant=variant))
        await run.until(run.gaps)
        await run.for_books(5)
        assert run.opened() == 1
    assert [gap.reason for gap in run.gaps("BTCUSDT")] == [reason]
    assert run.gaps("ETHUSDT") == []
    assert "unreadable frames dropped" in [entry["event"] for entry in logged]


async def test_malformed_frames_on_one_of_two_connections_cost_nothing(clock):
    async with exchange(clock) as server, crawling(server, clock, stream_connections=2) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant="bad_json", scope="one", count=3))
        await run.until(lambda: server.source.board.fired.get("malformed") == 3)
        await run.for_books(5)
    assert run.reasons() == []
    assert run.resyncs() == 0


@pytest.mark.parametrize(("count", "reasons"), [(1, ["disconnect"]), (2, [])])
async def test_a_frame_of_ten_megabytes_ends_its_connection_only(clock, count, reasons):
    async with exchange(clock) as server, crawling(server, clock, stream_connections=count) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant="huge", scope="one"))
        await run.until(lambda: run.opened() == count + 1)
        await run.for_books(10)
    assert run.reasons() == reasons


@pytest.mark.parametrize("count", [1, 2])
async def test_ids_that_restart_cost_one_gap(clock, count):
    async with exchange(clock) as server, running(server, clock, stream_connections=count) as run:
        await run.for_books(20)
        server.inject(Fault("id_reset"))
        await run.until(run.gaps)
        await run.for_books(20)
        await run.stop()
        [gap] = run.gaps()
        position = run.events["BTCUSDT"].index(gap)
        before, after = run.events["BTCUSDT"][:position], run.events["BTCUSDT"][position + 1 :]
        require_true(server.source, "BTCUSDT", before)
        require_true(server.source, "BTCUSDT", after)
        assert before[-1].update_id + 1 == gap.from_update_id
        assert after[0].first_update_id - 1 == gap.to_update_id
        assert gap.to_update_id < gap.from_update_id, "the ids do not say how many are missing; the times do"
        assert (gap.from_time, gap.to_time) == (before[-1].event_time, after[0].event_time)
        assert run.opened() == count


async def test_a_slow_snapshot_of_ids_that_have_begun_anew_meanwhile_is_not_waited_for(clock):
    async with exchange(clock) as server:
        server.inject(Fault("slow_snapshot", seconds=5.0))
        async with crawling(server, clock) as run:
            await run.until(lambda: server.source.board.fired.get("slow_snapshot"))
            server.inject(Fault("id_reset"))
            await run.for_books(20)
        assert run.reasons() == [], "nothing was published before"


async def test_a_clock_that_may_differ_from_the_exchange_s_is_told(clock, logged):
    async with exchange(clock, tick=1.0) as server, crawling(server, clock, skew=10.0) as run:
        await run.until(lambda: "BTCUSDT" in run.statuses)
        await run.until(lambda: "clock" in (run.statuses["BTCUSDT"].problem or ""), within=130)
        assert abs(run.metrics()["clock_skew_seconds",] + 10) < 0.2
        assert run.problem("books") is None
    assert run.reasons() == []
    assert len([entry for entry in logged if "clock is ahead of the exchange's" in entry["event"]]) == 1


async def test_two_connections_to_stream_servers_that_cut_diffs_at_other_ids_make_one_chain(clock):
    knobs = Knobs(stream_servers_ms=(0, 50))
    async with exchange(clock, knobs=knobs) as server, crawling(server, clock, stream_connections=2) as run:
        await run.for_books(60)
    assert run.reasons() == []
    assert run.resyncs() == run.metrics()["audits_total", "BTCUSDT", "mismatch"] == 0
    times = [book.event_time % 100_000 for book in run.books()]
    assert min(map(times.count, set(times))) > 10, "books of each of the servers"


# The broker


async def test_a_broker_that_takes_nothing_for_a_while_loses_nothing(clock):
    """The stream waits in front of a full crawler, longer than a silence would be suffered.

    A broker that is full may let messages pass each other; each of them is complete in itself.
    """
    settings = {"stream_connections": 2, "silence_timeout": 3.0, "options": {"capacity_bytes": 40_000}}
    async with (
        exchange(clock, "BTCUSDT", "ETHUSDT") as server,
        crawling(server, clock, broker_capacity=2, in_order=False, **settings) as run,
    ):
        await run.for_books(20)
        run.taking.clear()
        await run.until(lambda: run.crawler._outbox.is_full)
        await run.live(2)
        books = run.crawler.summary.books
        await run.live(10)
        assert run.crawler.summary.books == books, "reading goes on although nobody takes anything"
        assert run.broker.depths()[QUEUE] <= 2
        behind = server.source.update_ids()
        run.taking.set()
        await run.until(lambda: all(run.last_ids()[symbol] > behind[symbol] for symbol in behind))
        assert run.opened() == 2
    assert run.reasons() == []
    assert run.resyncs() == 0


# Stopping and starting


def saved(folder):
    """What the state's file holds: the last confirmed id of each symbol."""
    entries = orjson.loads((folder / "binance.0.json").read_bytes())
    return {symbol: entry["update_id"] for symbol, entry in entries.items()}


async def test_a_stop_drains_and_the_next_run_records_what_it_missed(clock, tmp_path):
    async with exchange(clock, "BTCUSDT", "ETHUSDT") as server:
        async with running(server, clock, broker_capacity=1, state_dir=tmp_path) as first:
            await first.for_books(10)
            first.taking.clear()
            await first.until(lambda: first.metrics()["unconfirmed_events",] > 20)
            first.stopping.set()
            await first.live(5)
            assert not first.task.done(), "it waits for the broker"
            first.taking.set()
            await first.end()
        assert saved(tmp_path) == {symbol: max(map(range_of, first.books(symbol)))[1] for symbol in first.events}
        async with crawling(server, clock, state_dir=tmp_path) as second:
            await second.for_books(10)
        for symbol, events in first.events.items():
            require_true(server.source, symbol, sorted(events, key=range_of) + second.events[symbol])
    assert second.reasons() == ["restart", "restart"]


async def test_who_ends_out_of_sync_records_the_gap_up_to_the_last_id_seen(clock, tmp_path):
    async with exchange(clock) as server:
        async with running(server, clock, state_dir=tmp_path) as first:
            await first.for_books(10)
            server.inject(Fault("fail_snapshot", count=10**6))
            server.inject(Fault("drop"))
            await first.until(lambda: first.problem("books"))
            await first.live(5)
            seen = server.source.board.last_sent["BTCUSDT"][1]
            await first.stop()
        [gap] = first.gaps()
        assert (gap.from_update_id, gap.reason) == (first.books()[-1].update_id + 1, "missed_updates")
        assert gap.to_update_id == saved(tmp_path)["BTCUSDT"] == seen
        server.source.board.clear()
        async with crawling(server, clock, state_dir=tmp_path) as second:
            await second.for_books(5)
        require_true(server.source, "BTCUSDT", first.events["BTCUSDT"] + second.events["BTCUSDT"])


async def test_a_stop_does_not_wait_for_ever_and_what_was_not_confirmed_becomes_a_gap(clock, tmp_path, logged):
    async with exchange(clock) as server:
        first = Run(server, clock, broker_capacity=1, state_dir=tmp_path)
        consumer = asyncio.create_task(first.take())
        first.task = asyncio.create_task(
            lifecycle.drain(first.crawler.run(first.stopping), first.stopping, seconds=0.1)
        )
        await first.until(lambda: len(first.books()) > 10)
        first.taking.clear()
        await first.until(lambda: first.metrics()["unconfirmed_events",] > 20)
        first.stopping.set()
        assert await first.task is False
        assert any("not everything was done in time" in entry["event"] for entry in logged)
        first.taking.set()
        await first.end()
        consumer.cancel()
        before = [book for book in first.books() if book.update_id <= saved(tmp_path)["BTCUSDT"]]
        assert before[-1].update_id == saved(tmp_path)["BTCUSDT"]
        async with crawling(server, clock, state_dir=tmp_path) as second:
            await second.for_books(5)
        require_true(server.source, "BTCUSDT", before + second.events["BTCUSDT"])
    assert second.reasons() == ["restart"]


async def test_a_kill_leaves_no_hole_either(clock, tmp_path):
    """Without a drain the file lags behind: the gap may repeat what was published, it never begins too late."""
    async with exchange(clock) as server:
        async with running(server, clock, state_dir=tmp_path) as first:
            await first.for_books(60)
        async with crawling(server, clock, state_dir=tmp_path) as second:
            await second.for_books(5)
        gap = second.events["BTCUSDT"][0]
        before = [book for book in first.books() if book.update_id < gap.from_update_id]
        require_true(server.source, "BTCUSDT", before + second.events["BTCUSDT"])
    assert gap.reason == "restart"


async def test_a_stop_while_nothing_works_ends_soon(clock):
    async with exchange(clock) as server:
        server.inject(Fault("refuse", count=10**6))
        async with running(server, clock) as run:
            await run.until(lambda: server.status()["connections"]["refused"] > 3)
            began = clock.monotonic()
            await run.stop()
    assert clock.monotonic() - began < 1


async def test_a_state_that_cannot_be_saved_is_said_once_and_stops_nothing(clock, tmp_path, logged):
    obstacle = tmp_path / "binance.0.new"
    obstacle.mkdir()
    async with exchange(clock) as server, crawling(server, clock, state_dir=tmp_path) as run:
        await run.for_books(50)
        troubles = [entry for entry in logged if "cannot save" in entry["event"]]
        obstacle.rmdir()
        await run.until((tmp_path / "binance.0.json").exists)
    assert [entry["log_level"] for entry in troubles] == ["warning"]
    assert saved(tmp_path) == run.last_ids()


def is_linked(path, target):
    """Make a link, unless something is there just now."""
    with suppress(FileExistsError):
        path.hardlink_to(target)
        return True
    return False


async def test_the_last_save_waits_for_the_one_that_a_slow_disk_holds_up(clock, tmp_path):
    """The disk is a pipe that nobody reads: whoever opens it waits."""
    disk, end = tmp_path / "state" / "binance.0.new", tmp_path / "end"
    async with exchange(clock) as server, running(server, clock, state_dir=disk.parent) as run:
        await run.for_books(20)
        os.mkfifo(end)
        await run.until(lambda: is_linked(disk, end))
        try:
            await run.live(2)
            disk.unlink()
            run.stopping.set()
            await run.live(5)
            assert not run.task.done(), "two threads would write into one file"
        finally:
            os.close(os.open(end, os.O_RDONLY | os.O_NONBLOCK))  # whoever waits goes on, into an error
        await run.end()
        assert saved(disk.parent) == run.last_ids()


# Recording


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
async def test_a_recording_can_be_played_and_gives_the_books_of_the_exchange(clock, tmp_path, symbols):
    stop = asyncio.Event()
    async with exchange(clock, *symbols) as server:
        settings = Run(server, clock).settings
        files = {"seconds": 10.0, "size": 1e9}
        recording = asyncio.create_task(
            program.record(settings, tmp_path, **files, stop=stop, clock=clock, random=Random(1))
        )
        await clock.until(lambda: len(list(tmp_path.glob("*.gz"))) >= 3, 60.0)
        stop.set()
        await clock.until(recording.done, 60.0)
        assert await recording == 0
    lines = [line for path in sorted(tmp_path.glob("*.gz")) for line in gzip.decompress(path.read_bytes()).splitlines()]
    frames = [orjson.loads(line.partition(b" ")[2]) for line in lines]
    async with SimulatorServer(Playback([tmp_path]), close_when_played=True) as playback:
        run = Run(playback, SystemClock(), symbols=symbols, options={"replay": True})
        consumer = asyncio.create_task(run.take())
        async with patience():
            await run.crawler.run(asyncio.Event())
            await run.broker.until_empty(QUEUE)
        consumer.cancel()
    for symbol in symbols:
        recorded = [frame["data"]["u"] for frame in frames if frame.get("stream") == f"{symbol.lower()}@depth@100ms"]
        assert run.gaps(symbol) == []
        assert len(run.books(symbol)) > 30
        assert run.last_ids()[symbol] == recorded[-1]
        require_true(server.source, symbol, run.events[symbol])


# Metrics


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (None, [("frames_total", "ticker"), ("frames_total", "diff"), ("books_total", "BTCUSDT"), ("latency_seconds",),
                ("audits_total", "BTCUSDT", "match")]),
        (Fault("malformed", variant="bad_json"), [("frames_total", "invalid")]),
        (Fault("drop"), [("gaps_total", "BTCUSDT", "missed_updates"), ("missing_updates_total", "BTCUSDT"),
                         ("resyncs_total", "BTCUSDT", "missed_updates"), ("diffs_total", "BTCUSDT", "waited"),
                         ("snapshots_total", "fetched")]),
        (Fault("swap"), [("out_of_order_total", "BTCUSDT")]),
        (Fault("disconnect"), [("reconnects_total",)]),
        (Fault("ticker_mismatch", count=20), [("audits_total", "BTCUSDT", "mismatch")]),
    ],
    ids=["nothing", "malformed", "drop", "swap", "disconnect", "mismatch"],
)  # fmt: skip
async def test_a_metric_moves_when_it_should(clock, fault, wanted):
    def moved():
        return {key for key, value in run.metrics().items() if value > before.get(key, 0)}

    async with exchange(clock) as server, crawling(server, clock) as run:
        await run.for_books(10)
        before = run.metrics()
        assert before["connections",] == before["in_sync", "BTCUSDT"] == before["trading", "BTCUSDT"] == 1
        assert before["request_weight",] > 0
        if fault:
            server.inject(fault)
        await run.until(lambda: moved() >= set(wanted))
        if not fault:
            troubles = {"gaps_total", "missing_updates_total", "resyncs_total", "reconnects_total", "unaudited"}
            assert not {name for name, *_ in moved()} & troubles
            assert ("frames_total", "invalid") not in moved()
