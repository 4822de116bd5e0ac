"""The whole crawler against the simulated exchange over real sockets, with everything that can go wrong between them.

The exchange lives several times as fast as the wall clock and knows the truth: whatever happens, each published book is
the exchange's at its id, and every id from the first book on is in one book or in one gap.
"""

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import pairwise
from random import Random

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web

from crawler import app, capture, connections, state
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from crawler.venues.binance import rest
from crawler.venues.binance.governor import Governor
from crawler.venues.binance.rest import RestClient
from fairprice import topology
from fairprice.broker.memory import MemoryBroker
from fairprice.broker.outbox import Outbox
from fairprice.errors import StartupError
from fairprice.messages import Book, decode
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.metrics import Histogram
from simulator import Exchange, Fault, Knobs, Playback, SimulatorServer

SCALE = 20.0
QUEUE = "books.test"
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """What takes the crawler seconds on a real exchange takes it tenths here."""
    monkeypatch.setattr(connections, "WATCH_INTERVAL", 0.03)
    monkeypatch.setattr(connections, "OVERLAP", 0.2)
    monkeypatch.setattr(rest, "BAN_WAIT", 0.5)
    monkeypatch.setattr(app, "SAVE_INTERVAL", 0.1)
    monkeypatch.setattr(capture, "SNAPSHOT_PAUSE", 0.02)


@pytest.fixture(autouse=True)
def logged(caplog):
    """The crawler's log; the simulator must have nothing to complain about, and no handler of either may fail."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@asynccontextmanager
async def exchange(*symbols, scale=SCALE, **knobs):
    """An exchange on the network whose clock begins now."""
    source = Exchange(symbols or ("BTCUSDT",), start_us=time.time_ns() // 1000, knobs=Knobs(time_scale=scale, **knobs))
    async with SimulatorServer(source) as server:
        yield server


def clock_of(server):
    """The machine's clock, but the wall clock of the exchange, so that both may be as fast as it."""
    clock = SystemClock()
    clock.wall = server._clock.now_us
    return clock


class Run:
    """One run of a crawler, and everything it publishes."""

    def __init__(self, server, *, capacity=1000, **settings):
        defaults = {"stream_connections": 1, "state_dir": None}
        urls = {"exchange_rest_url": server.rest_url, "exchange_stream_url": server.stream_url}
        symbols = tuple(server.source.update_ids())
        self.settings = CrawlerSettings.load({}, **{"symbols": symbols, **urls, **defaults, **settings})
        self.server = server
        self.broker = MemoryBroker((topology.Exchange(topology.BOOKS, (QUEUE,)),), capacity=capacity)
        self.clock = server._clock.now_us  # as fast as the exchange's
        self.crawler = Crawler(self.settings, self.broker, name="test", random=Random(1), clock=clock_of(server))
        self.events = {symbol: [] for symbol in self.settings.symbols}
        self.taking = asyncio.Event()
        self.taking.set()
        self.stopping = asyncio.Event()
        self.task = None

    def books(self, symbol="BTCUSDT"):
        return [event for event in self.events[symbol] if isinstance(event, Book)]

    def gaps(self, symbol="BTCUSDT"):
        return [event for event in self.events[symbol] if not isinstance(event, Book)]

    def reasons(self):
        return [gap.reason for symbol in self.events for gap in self.gaps(symbol)]

    def resyncs(self):
        return sum(sum(sync.resyncs.values()) for sync in self.crawler.feed._syncs.values())

    def last_ids(self):
        return {symbol: self.books(symbol)[-1].update_id for symbol in self.events if self.books(symbol)}

    async def until(self, condition):
        """Wait until it holds, as long as the crawler runs and patience lasts."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                if self.task and self.task.done():
                    self.task.result()
                    raise AssertionError("the crawler has ended")
                await asyncio.sleep(0.01)

    async def for_books(self, count):
        """Wait until every symbol has so many books more and is in sync."""
        goal = {symbol: len(self.books(symbol)) + count for symbol in self.events}
        await self.until(lambda: all(len(self.books(symbol)) >= least for symbol, least in goal.items()))
        await self.until(lambda: not self.crawler.feed.out_of_sync)

    async def take(self):
        """The consumer behind the broker."""
        async with self.broker.subscribe(QUEUE, prefetch=5) as subscription:
            while True:
                await self.taking.wait()
                deliveries = await subscription.receive(5)
                for delivery in deliveries:
                    for event in decode(delivery.message.body):
                        self.events[event.symbol].append(event)
                await deliveries[-1].ack(multiple=True)

    async def stop(self):
        """Drain, and take what has arrived."""
        self.stopping.set()
        async with asyncio.timeout(PATIENCE):
            await self.task
            while self.broker.depths()[QUEUE]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def crawling(server, *, in_order=True, **options):
    """A crawler at work; when the block ends it is stopped, and all that it published has to be true."""
    run = Run(server, **options)
    consumer = asyncio.create_task(run.take())
    run.task = asyncio.create_task(run.crawler.run(run.stopping))
    try:
        yield run
        await run.until(lambda: not run.crawler.feed.out_of_sync)
        await run.stop()
        assert len(run.crawler._outbox) == 0
        for symbol, events in run.events.items():
            require_true(server.source, symbol, events if in_order else sorted(events, key=range_of))
        assert not server.limits.breaches
    finally:
        consumer.cancel()
        run.task.cancel()
        await asyncio.wait({consumer, run.task})


def require_true(source, symbol, events):
    """Each book is the exchange's at its id, as far as it is known; each id is in one book or one gap, in order."""
    assert any(isinstance(event, Book) for event in events), f"{symbol} never came into sync"
    expected = None
    for event in events:
        first, last = range_of(event)
        assert expected in (None, first), f"{symbol}: after {expected} comes {event}"
        assert first <= last
        expected = last + 1
        if isinstance(event, Book):
            compare(source.book_at(symbol, event.update_id, 20), event)
    times = [event.event_time for event in events if isinstance(event, Book)]
    assert len(set(times)) == len(times), f"{symbol}: two books would share a key in the store"


def range_of(event):
    """The ids that a book or a gap stands for."""
    if isinstance(event, Book):
        return event.first_update_id, event.update_id
    return event.from_update_id, event.to_update_id


def compare(truth, book):
    floor, ceiling = Decimal(book.floor or 0), Decimal(book.ceiling or "Infinity")
    bids = [list(level) for level in truth.bids if Decimal(level[0]) >= floor]
    asks = [list(level) for level in truth.asks if Decimal(level[0]) <= ceiling]
    assert book.bids[: len(bids)] == bids
    assert book.asks[: len(asks)] == asks
    assert len(bids) == len(asks) == 20, "the book was refreshed before it came to the end of what it knows"


async def refusal(server, **options):
    """The error that a crawler gives up with."""
    run = Run(server, **options)
    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.timeout(PATIENCE):
            await run.crawler.run(asyncio.Event())
    fatal, rest = ended.value.split(StartupError)
    assert rest is None
    while isinstance(fatal, ExceptionGroup):
        fatal = fatal.exceptions[0]
    return str(fatal)


# When nothing is wrong


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_a_calm_day(count, logged):
    async with (
        exchange("BTCUSDT", "ETHUSDT", "币安人生USDT") as server,
        crawling(server, stream_connections=count) as run,
    ):
        await run.for_books(50)
        assert server.status()["connections"]["opened"] == count
        assert run.crawler.checks()["stream"]() is run.crawler.checks()["books"]() is None
    assert run.reasons() == []
    assert run.resyncs() == 0
    counted = {(name, labels): value for name, labels, value in run.crawler.samples()}
    for symbol in run.events:
        assert counted["crawler_audits_total", (symbol, "match")] > 20
        assert counted["crawler_audits_total", (symbol, "mismatch")] == 0
    assert {entry["log_level"] for entry in logged} <= {"info"}


async def test_books_say_when_and_by_whom_they_were_seen():
    async with exchange() as server, crawling(server) as run:
        begun = run.clock()
        await run.for_books(20)
        ended = run.clock()
    for before, after in pairwise(run.books()[:20]):
        assert after.previous_event_time == before.event_time
        assert begun <= before.received_time <= after.received_time <= ended
        assert 0 < after.received_time - after.event_time < 0.5 * SCALE * 1e6
        assert after.crawler == "test"
    assert any(book.event_time % 1000 for book in run.books()), "times are asked for in microseconds"


async def test_many_symbols_on_one_connection():
    symbols = tuple(f"COIN{number}USDT" for number in range(30))
    async with exchange(*symbols, scale=2) as server, crawling(server) as run:
        await run.for_books(8)
        assert server.status()["connections"]["opened"] == 1
    assert run.reasons() == []


async def test_symbols_that_do_not_trade_disturb_nobody():
    async with exchange("BTCUSDT", "HALTUSDT") as server:
        run = Run(server)
        consumer, run.task = asyncio.create_task(run.take()), asyncio.create_task(run.crawler.run(run.stopping))
        await run.until(lambda: len(run.books()) > 30)
        assert run.crawler.checks()["books"]() == "not in sync: HALTUSDT"
        await run.stop()
        consumer.cancel()
        require_true(server.source, "BTCUSDT", run.events["BTCUSDT"])
        assert server.status()["connections"]["opened"] == 1


# Connections


@pytest.mark.parametrize(
    "fault", [Fault("disconnect", code=1001), Fault("disconnect", code=1008), Fault("disconnect", variant="abort")]
)
async def test_a_lost_connection_costs_each_symbol_one_gap(fault):
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server) as run:
        await run.for_books(10)
        server.inject(fault)
        await run.until(lambda: run.resyncs() == 2)
        await run.for_books(10)
    assert [[gap.reason for gap in run.gaps(symbol)] for symbol in run.events] == [["disconnect"], ["disconnect"]]
    for symbol, events in run.events.items():
        [gap] = run.gaps(symbol)
        before, after = events[events.index(gap) - 1], events[events.index(gap) + 1]
        assert (gap.from_time, gap.to_time) == (before.event_time, after.event_time)
        assert gap.from_time < gap.to_time


async def test_losing_one_of_two_connections_loses_nothing(logged):
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server, stream_connections=2) as run:
        await run.for_books(10)
        for _ in range(2):
            opened = server.status()["connections"]["opened"]
            server.inject(Fault("disconnect", variant="abort", scope="one"))
            await run.until(lambda opened=opened: server.status()["connections"]["opened"] > opened)
            await run.for_books(15)
        assert server.source.board.fired["disconnect"] == 2
    assert run.reasons() == []
    assert run.resyncs() == 0
    assert "stream lost, reconnecting" in [entry["event"] for entry in logged]


async def test_an_exchange_that_refuses_is_asked_again_until_it_lets_the_crawler_in(logged):
    async with exchange() as server:
        server.inject(Fault("refuse", code=503, seconds=0.5 * SCALE))
        async with crawling(server) as run:
            await run.until(lambda: server.status()["connections"]["refused"] >= 3)
            assert "not connected" in run.crawler.checks()["stream"]()
            await run.for_books(5)
    assert run.reasons() == []
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == [
        "no stream, trying until there is one"
    ], "said once, not at every attempt"


async def test_attempts_grow_rarer_while_the_exchange_refuses():
    async with exchange() as server:
        server.inject(Fault("refuse", count=10**6))
        run = Run(server, stream_connections=4)
        run.task = asyncio.create_task(run.crawler.run(run.stopping))
        await asyncio.sleep(1.0)
        run.stopping.set()
        await run.task
        assert 12 <= server.status()["connections"]["refused"] <= 4 * 6
        assert not server.limits.breaches


async def test_an_exchange_that_hangs_up_on_every_subscription_is_not_pestered(logged):
    """The connection is gone before all of a long subscription has been sent."""
    attempts = 0

    async def hang_up(request):
        nonlocal attempts
        attempts += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        request.transport.abort()
        return socket

    async def list_symbols(_):
        return web.json_response({"symbols": [{"symbol": symbol} for symbol in symbols]})

    symbols = tuple(f"COIN{number}USDT" for number in range(250))
    application = web.Application()
    application.router.add_get("/stream", hang_up)
    application.router.add_get("/api/v3/exchangeInfo", list_symbols)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    settings = CrawlerSettings.load(
        {},
        symbols=symbols,
        exchange_rest_url=f"http://{host}:{port}",
        exchange_stream_url=f"ws://{host}:{port}",
        state_dir=None,
        stream_connections=1,
    )
    stop = asyncio.Event()
    crawler = Crawler(settings, MemoryBroker(), name="test", random=Random(1), clock=SystemClock())
    task = asyncio.create_task(crawler.run(stop))
    await asyncio.sleep(1.0)
    stop.set()
    await task
    await runner.cleanup()
    assert 3 <= attempts <= 6
    assert logged


async def test_a_restricted_place_is_told_on_the_handshake():
    async with exchange() as server:
        server.inject(Fault("refuse", code=451, count=100))
        said = await refusal(server, stream_connections=2)
        assert server.status()["connections"]["refused"] <= 2
    assert "451" in said
    assert "FAIRPRICE_EXCHANGE_REST_URL" in said
    assert "FAIRPRICE_EXCHANGE_STREAM_URL" in said


async def test_a_restricted_place_is_told_on_a_snapshot():
    async with exchange() as server:
        server.inject(Fault("fail_snapshot", variant="451", count=100))
        said = await refusal(server)
        assert server.source.board.fired["fail_snapshot"] == 1
    assert "451" in said
    assert "FAIRPRICE_EXCHANGE_REST_URL" in said
    assert "FAIRPRICE_EXCHANGE_STREAM_URL" in said


async def test_an_unknown_symbol_is_told_before_anything_is_opened():
    async with exchange() as server:
        said = await refusal(server, symbols=("BTCUSDT", "NOPEUSDT", "ALSONOTUSDT"))
        assert server.status()["connections"]["opened"] == 0
    assert "NOPEUSDT, ALSONOTUSDT" in said
    assert "FAIRPRICE_SYMBOLS" in said


@pytest.mark.parametrize(("count", "scope"), [(1, "all"), (2, "one"), (2, "all")])
async def test_an_announced_shutdown_loses_nothing_when_the_lead_allows(count, scope):
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server, stream_connections=count) as run:
        await run.for_books(10)
        server.inject(Fault("server_shutdown", seconds=0.4 * SCALE, scope=scope))
        goal = count + (1 if scope == "one" else count)
        await run.until(lambda: server.status()["connections"]["opened"] == goal)
        await run.until(lambda: server.status()["connections"]["open"] == count)
        await run.for_books(30)
        assert server.status()["connections"]["opened"] == goal, "nothing is opened twice"
    assert run.reasons() == []
    assert run.resyncs() == 0


async def test_an_announcement_that_is_repeated_does_not_close_the_old_connection_before_the_new_one_is_open(
    monkeypatch,
):
    monkeypatch.setattr(connections, "OVERLAP", 0.5)
    async with exchange() as server, crawling(server) as run:
        await run.for_books(10)
        server.inject(Fault("server_shutdown", seconds=10 * SCALE, count=60))
        server.inject(Fault("refuse", seconds=0.2 * SCALE))
        await run.until(lambda: server.status()["connections"]["opened"] == 2)
        await run.until(lambda: server.status()["connections"]["open"] == 1)
        await run.for_books(10)
    assert run.reasons() == []


async def test_a_shutdown_without_notice_costs_one_gap():
    async with exchange() as server, crawling(server) as run:
        await run.for_books(10)
        server.inject(Fault("server_shutdown", seconds=0))
        await run.until(lambda: run.resyncs() == 1)
        await run.for_books(10)
    assert run.reasons() == ["disconnect"]


@pytest.mark.parametrize("count", [1, 2])
async def test_connections_are_replaced_before_the_exchange_cuts_them(monkeypatch, count):
    monkeypatch.setattr(connections, "MAX_AGE", 0.4)
    async with exchange(lifetime_s=0.8 * SCALE) as server, crawling(server, stream_connections=count) as run:
        await run.until(lambda: server.status()["connections"]["opened"] >= 3 * count)
        await run.for_books(10)
    assert run.reasons() == []
    assert run.resyncs() == 0


async def test_a_stalled_stream_of_one_symbol_gets_only_its_own_connection_replaced(logged):
    async with (
        exchange("BTCUSDT", "ETHUSDT") as server,
        crawling(server, stream_connections=2, silence_timeout=0.3) as run,
    ):
        await run.for_books(40)
        server.inject(Fault("silence", symbol="BTCUSDT", scope="one", seconds=3600))
        await run.until(lambda: server.status()["connections"]["opened"] == 3)
        await run.until(lambda: server.status()["connections"]["open"] == 2)
        await run.for_books(40)
        assert server.status()["connections"]["opened"] == 3
    assert run.reasons() == []
    assert run.resyncs() == 0
    assert [entry["symbols"] for entry in logged if "silent" in entry["event"]] == [["BTCUSDT"]]


async def test_a_stall_of_everything_is_noticed_and_its_gap_recorded():
    async with exchange() as server, crawling(server, silence_timeout=0.2) as run:
        await run.for_books(30)
        server.inject(Fault("silence", seconds=0.4 * SCALE))
        await run.until(lambda: run.resyncs() == 1)
        await run.for_books(10)
    assert run.reasons() == ["silence"]


async def test_a_pause_of_one_symbol_costs_its_neighbours_nothing():
    """A pause after a busy time looks like a stall, and finding out is no reason to cut the others off."""
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server, silence_timeout=0.2) as run:
        await run.for_books(20)
        server.inject(Fault("silence", symbol="ETHUSDT", seconds=0.7 * SCALE))
        await run.until(lambda: server.status()["connections"]["opened"] == 2)
        await run.until(lambda: server.status()["connections"]["open"] == 1)
        await run.for_books(20)
        assert server.status()["connections"]["opened"] == 2
    assert run.gaps("BTCUSDT") == []
    assert [gap.reason for gap in run.gaps("ETHUSDT")] == ["silence"]


# Snapshots


@pytest.mark.parametrize(
    "fault",
    [
        Fault("slow_snapshot", seconds=0.4 * SCALE),
        Fault("fail_snapshot", code=500, count=3),
        Fault("fail_snapshot", variant="html", count=2),
        Fault("fail_snapshot", variant="truncated", count=2),
        Fault("fail_snapshot", variant="reset", count=2),
        Fault("fail_snapshot", variant="timeout"),
        Fault("fail_snapshot", variant="403"),
        Fault("stale_snapshot", count=2),
        Fault("rate_limit", variant="429", seconds=1),
        Fault("rate_limit", variant="429_without_retry_after"),
        Fault("rate_limit", variant="418", seconds=1),
        Fault("rate_limit", variant="418_text_only", seconds=1),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.variant}",
)
async def test_a_snapshot_that_does_not_come_is_asked_for_until_it_does(fault):
    async with exchange() as server:
        server.inject(fault)
        begun = time.monotonic()
        async with crawling(server) as run:
            await run.for_books(3)
        assert server.source.board.fired[fault.kind] == fault.count
        requests = server.status()["requests"]["/api/v3/depth"]
    assert run.reasons() == []
    assert requests >= fault.count + (fault.kind != "slow_snapshot")
    if fault.kind == "rate_limit" or fault.variant == "403":
        assert requests == 2
        wait = {"418_text_only": 0.0, "429": 1.0, "418": 1.0}.get(
            fault.variant, 0.5
        )  # a text tells the exchange's time
        assert time.monotonic() - begun >= wait, "nothing may be asked before the wait is over"


async def test_many_symbols_that_lose_sync_at_once_stay_within_the_weight_limit(monkeypatch):
    """Snapshots of the deepest kind, of which the limit allows a few a minute only: they wait for their turn."""
    symbols = tuple(f"COIN{number}USDT" for number in range(20))
    monkeypatch.setattr(app, "Governor", partial(Governor, 600))
    async with exchange(*symbols, scale=1, weight_per_minute=600, snapshot_lags_ms=(0.0,)) as server:
        run = Run(server, snapshot_levels=5000)
        run.task = asyncio.create_task(run.crawler.run(run.stopping))
        await run.until(lambda: len(run.crawler.feed.out_of_sync) == 19)
        await asyncio.sleep(0.3)
        assert len(run.crawler.feed.out_of_sync) == 19
        assert server.status()["weight"] == {"127.0.0.1": 270}
        assert run.crawler.checks()["books"]().startswith("not in sync: ")
        run.stopping.set()
        async with asyncio.timeout(2):
            await run.task
        assert not server.limits.breaches


async def test_books_go_on_while_the_address_is_banned():
    """A ban forbids to ask, not to listen: what is in sync stays so, what is not waits."""
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server) as run:
        await run.for_books(5)
        server.inject(Fault("rate_limit", variant="418", seconds=1))
        server.inject(Fault("drop", symbol="BTCUSDT"))
        await run.until(lambda: server.source.board.fired.get("rate_limit"))
        before = len(run.books("ETHUSDT"))
        await asyncio.sleep(0.3)
        assert run.crawler.feed.out_of_sync == ("BTCUSDT",)
        assert len(run.books("ETHUSDT")) > before + 20
        await run.for_books(5)
    assert run.gaps("ETHUSDT") == []
    assert [gap.reason for gap in run.gaps("BTCUSDT")] == ["missed_updates"]


# Frames


@pytest.mark.parametrize("variant", ["binary", "fragmented", "unknown_key", "unknown_event"])
async def test_an_unusual_frame_is_taken(variant):
    async with exchange() as server, crawling(server) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant=variant, count=3))
        await run.for_books(20)
        assert server.source.board.fired == {"malformed": 3}
    assert run.reasons() == []
    assert run.resyncs() == 0


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
async def test_a_malformed_frame_costs_its_symbol_a_gap_and_the_connection_stays(variant, reason, logged):
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", symbol="BTCUSDT", variant=variant))
        await run.until(run.resyncs)
        await run.for_books(5)
        assert server.status()["connections"]["opened"] == 1
    assert [gap.reason for gap in run.gaps("BTCUSDT")] == [reason]
    assert run.gaps("ETHUSDT") == []
    assert "unreadable frame dropped" in [entry["event"] for entry in logged]


async def test_a_malformed_frame_on_one_of_two_connections_costs_nothing():
    """The other one brings it before the next: at a pace near the real one, with a window of 50 ms."""
    async with exchange(scale=2) as server, crawling(server, stream_connections=2) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant="bad_json", scope="one", count=3))
        await run.until(lambda: server.source.board.fired.get("malformed") == 3)
        await run.for_books(3)
    assert run.reasons() == []
    assert run.resyncs() == 0


@pytest.mark.parametrize(("count", "reasons"), [(1, ["disconnect"]), (2, [])])
async def test_a_frame_of_ten_megabytes_ends_its_connection_only(count, reasons):
    async with exchange() as server, crawling(server, stream_connections=count) as run:
        await run.for_books(5)
        server.inject(Fault("malformed", variant="huge", scope="one"))
        await run.until(lambda: server.status()["connections"]["opened"] == count + 1)
        await run.for_books(10)
    assert run.reasons() == reasons


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error_ack"),
        Fault("error_ack", variant="bare"),
        Fault("no_ack"),
        Fault("wrong_ack_id"),
        Fault("double_ack"),
        Fault("late_ack", seconds=0.5 * SCALE),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.variant}",
)
@pytest.mark.parametrize("order", ["before", "after"])
async def test_whatever_the_answer_to_a_subscription_books_come(fault, order):
    async with exchange(ack_order=order) as server:
        server.inject(fault)
        async with crawling(server) as run:
            await run.for_books(20)
        assert server.source.board.fired == {fault.kind: 1}
    assert run.reasons() == []


async def test_replies_may_come_wrapped_and_errors_bare():
    async with exchange(wrap_replies=True, error_shape="bare") as server, crawling(server) as run:
        await run.for_books(5)
    assert run.reasons() == []


async def test_a_subscription_that_is_refused_is_asked_for_again_on_a_new_connection(logged, monkeypatch):
    """Here the exchange means it: nothing is sent on the connection whose subscription it has refused."""
    monkeypatch.setattr(connections, "FIRST_FRAME_TIMEOUT", 0.3)
    async with exchange() as server:
        server.inject(Fault("error_ack"))
        server.inject(Fault("silence", scope="one", seconds=10**6))
        async with crawling(server) as run:
            await run.for_books(10)
        assert server.status()["connections"]["opened"] == 2
    assert run.reasons() == []
    assert "the exchange refused a request on the stream" in [entry["event"] for entry in logged]


# The broker


async def test_a_broker_that_takes_nothing_for_a_while_loses_nothing(monkeypatch):
    """The stream waits in front of a full crawler, longer than a silence would be suffered.

    A broker that is full may let messages pass each other; each of them is complete in itself.
    """
    monkeypatch.setattr(app, "Outbox", partial(Outbox, capacity_bytes=40_000))
    settings = {"capacity": 2, "in_order": False, "stream_connections": 2, "silence_timeout": 0.3}
    async with exchange("BTCUSDT", "ETHUSDT") as server, crawling(server, **settings) as run:
        await run.for_books(20)
        run.taking.clear()
        await run.until(lambda: run.crawler._outbox.is_full)
        await asyncio.sleep(0.1)
        books = run.crawler.feed.books
        await asyncio.sleep(0.6)
        assert run.crawler.feed.books == books, "reading goes on although nobody takes anything"
        assert len(run.crawler._outbox) <= 40 + 4 * 100 + 2
        assert run.broker.depths()[QUEUE] <= 2
        behind = server.source.update_ids()
        run.taking.set()
        await run.until(lambda: all(run.last_ids()[symbol] > behind[symbol] for symbol in behind))
        assert server.status()["connections"]["opened"] == 2
    assert run.reasons() == []
    assert run.resyncs() == 0


# Stopping and starting


async def test_a_stop_drains_and_the_next_run_records_what_it_missed(tmp_path):
    async with exchange("BTCUSDT", "ETHUSDT") as server:
        async with crawling(server, state_dir=tmp_path) as first:
            await first.for_books(10)
        saved = state.load(tmp_path / "confirmed.json")
        assert {symbol: last.update_id for symbol, last in saved.items()} == first.last_ids()
        await asyncio.sleep(0.2)
        async with crawling(server, state_dir=tmp_path) as second:
            await second.for_books(10)
        for symbol in first.events:
            gap, after = second.events[symbol][:2]
            before = first.books(symbol)[-1]
            assert (gap.from_update_id, gap.to_update_id) == (before.update_id + 1, after.first_update_id - 1)
            assert (gap.from_time, gap.to_time) == (before.event_time, after.event_time)
            assert gap.reason == "restart"
            require_true(server.source, symbol, first.events[symbol] + second.events[symbol])
    assert second.reasons() == ["restart", "restart"]


async def test_a_stop_waits_until_a_slow_broker_has_everything(tmp_path):
    async with (
        exchange() as server,
        crawling(server, capacity=1, in_order=False, state_dir=tmp_path) as run,
    ):
        await run.for_books(5)
        run.taking.clear()
        await run.until(lambda: len(run.crawler._outbox) > 20)
        run.stopping.set()
        await asyncio.sleep(0.2)
        assert not run.task.done()
        assert len(run.crawler._outbox) > 20
        made = run.crawler.feed.books
        run.taking.set()
        await run.task
        assert len(run.crawler._outbox) == 0
    assert len(run.books()) == made
    last = max(book.update_id for book in run.books())
    assert state.load(tmp_path / "confirmed.json")["BTCUSDT"].update_id == last


async def test_a_stop_does_not_wait_for_ever_and_what_was_not_confirmed_becomes_a_gap(tmp_path, monkeypatch, logged):
    monkeypatch.setattr(app, "DRAIN_TIMEOUT", 0.2)
    async with exchange() as server:
        first = Run(server, capacity=1, state_dir=tmp_path)
        consumer, first.task = asyncio.create_task(first.take()), asyncio.create_task(first.crawler.run(first.stopping))
        await first.until(lambda: len(first.books()) > 10)
        first.taking.clear()
        await first.until(lambda: len(first.crawler._outbox) > 20)
        first.stopping.set()
        async with asyncio.timeout(1):
            await first.task
        first.taking.set()
        await first.stop()
        consumer.cancel()
        assert any("not all events were confirmed" in entry["event"] for entry in logged)
        confirmed = state.load(tmp_path / "confirmed.json")["BTCUSDT"]
        async with crawling(server, state_dir=tmp_path) as second:
            await second.for_books(5)
        taken = sorted(first.books(), key=range_of)
        before = [book for book in taken if book.update_id <= confirmed.update_id]
        require_true(server.source, "BTCUSDT", before)
        assert before[-1].update_id == confirmed.update_id
    gap = second.events["BTCUSDT"][0]
    assert (gap.from_update_id, gap.from_time) == (confirmed.update_id + 1, confirmed.event_time)


async def test_a_kill_leaves_no_hole_either(tmp_path):
    """Without a drain the file lags behind: the gap may repeat what was published, it never begins too late."""
    async with exchange() as server:
        first = Run(server, state_dir=tmp_path)
        consumer, task = asyncio.create_task(first.take()), asyncio.create_task(first.crawler.run(first.stopping))
        await first.until(lambda: len(first.books()) > 60)
        task.cancel()
        await asyncio.wait({task})
        consumer.cancel()
        async with crawling(server, state_dir=tmp_path) as second:
            await second.for_books(5)
        gap = second.events["BTCUSDT"][0]
        ids = [book.update_id for book in first.books()]
        assert gap.reason == "restart"
        assert gap.from_update_id - 1 in ids
        assert gap.from_update_id <= ids[-1] + 1


async def test_a_state_that_cannot_be_saved_is_said_and_stops_nothing(tmp_path, monkeypatch, logged):
    def full(*_):
        raise OSError(28, "No space left on device")

    async with exchange() as server:
        monkeypatch.setattr(state, "save", full)
        async with crawling(server, state_dir=tmp_path) as run:
            await run.for_books(50)
    assert run.reasons() == []
    assert any("No space left" in entry.get("error", "") for entry in logged)


async def test_a_stop_while_nothing_works_ends_soon():
    async with exchange() as server:
        server.inject(Fault("refuse", count=10**6))
        run = Run(server)
        task = asyncio.create_task(run.crawler.run(run.stopping))
        await asyncio.sleep(0.3)
        run.stopping.set()
        async with asyncio.timeout(2):
            await task


# Recording


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
async def test_a_recording_can_be_played_and_gives_the_books_of_the_exchange(tmp_path, symbols):
    path = tmp_path / "recording.ndjson"
    async with exchange(*symbols) as server:
        settings = Run(server).settings
        stop = asyncio.Event()
        with path.open("wb") as file:
            recorder = capture.Capture(settings, file, lambda: server._clock.now_us() * 1000)
            async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
                governor = Governor()
                client = RestClient(
                    session, server.rest_url, governor, monotonic=time.monotonic, wall_clock=server._clock.now_us
                )
                recording = asyncio.create_task(recorder.run(session, client, stop))
                while recorder.lines < 600 * len(symbols):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                stop.set()
                await recording
        assert not server.limits.breaches
    lines = path.read_bytes().splitlines()
    assert len(lines) == recorder.lines
    async with SimulatorServer(Playback([path]), close_when_played=True) as playback:
        run = Run(playback, symbols=symbols)
        run.crawler = Crawler(
            run.settings, run.broker, name="test", random=Random(1), clock=clock_of(playback), replay=True
        )
        consumer = asyncio.create_task(run.take())
        async with asyncio.timeout(PATIENCE):
            await run.crawler.run(asyncio.Event())
            while run.broker.depths()[QUEUE]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        consumer.cancel()
    frames = [orjson.loads(line.partition(b" ")[2]) for line in lines]
    for symbol in symbols:
        recorded = [frame["data"]["u"] for frame in frames if frame.get("stream") == f"{symbol.lower()}@depth@100ms"]
        assert run.gaps(symbol) == []
        assert len(run.books(symbol)) > 30
        assert run.last_ids()[symbol] == recorded[-1]
        require_true(server.source, symbol, run.events[symbol])


# Metrics


def metrics_of(run):
    """Return the values by name and labels; a histogram's is how much it has observed."""
    return {
        (name, *labels): sum(value.counts) if isinstance(value, Histogram) else value
        for name, labels, value in run.crawler.samples()
    }


def moved(before, after):
    """Return the metrics that grew."""
    return {key for key, value in after.items() if value > before.get(key, 0)}


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (None, [("crawler_frames_total", "ticker"), ("crawler_books_total", "BTCUSDT"), ("crawler_latency_seconds",),
                ("crawler_audits_total", "BTCUSDT", "match")]),
        (Fault("malformed", variant="bad_json"), [("crawler_frames_total", "invalid")]),
        (Fault("drop"), [("crawler_gaps_total", "BTCUSDT", "missed_updates"),
                         ("crawler_missing_updates_total", "BTCUSDT"),
                         ("crawler_resyncs_total", "BTCUSDT", "missed_updates"),
                         ("crawler_diffs_total", "BTCUSDT", "buffered"), ("crawler_snapshots_total", "fetched")]),
        (Fault("disconnect"), [("crawler_reconnects_total",)]),
        (Fault("ticker_mismatch", count=20), [("crawler_audits_total", "BTCUSDT", "mismatch")]),
    ],
    ids=["nothing", "malformed", "drop", "disconnect", "mismatch"],
)  # fmt: skip
async def test_a_metric_moves_when_it_should(fault, wanted):
    async with exchange() as server, crawling(server) as run:
        await run.for_books(10)
        before = metrics_of(run)
        assert before["crawler_connections",] == before["crawler_in_sync", "BTCUSDT"] == 1
        assert before["crawler_request_weight",] > 0
        if fault:
            server.inject(fault)
        await run.until(lambda: moved(before, metrics_of(run)) >= set(wanted))
        if not fault:
            troubles = {"gaps", "missing_updates", "resyncs", "reconnects"}
            grown = moved(before, metrics_of(run))
            assert not {key[0] for key in grown} & {f"crawler_{trouble}_total" for trouble in troubles}
            assert ("crawler_frames_total", "invalid") not in grown


async def test_failed_snapshots_a_lost_sync_and_waiting_events_are_seen_in_the_metrics():
    async with exchange() as server, crawling(server) as run:
        await run.for_books(10)
        server.inject(Fault("fail_snapshot", count=3))
        server.inject(Fault("drop"))
        await run.until(lambda: metrics_of(run)["crawler_in_sync", "BTCUSDT"] == 0)
        await run.until(lambda: metrics_of(run)["crawler_snapshots_total", "failed"] == 3)
        await run.until(lambda: metrics_of(run)["crawler_in_sync", "BTCUSDT"] == 1)
        server.inject(Fault("refuse", count=3))
        server.inject(Fault("disconnect"))
        await run.until(lambda: metrics_of(run)["crawler_connections",] == 0)
        await run.until(lambda: metrics_of(run)["crawler_connections",] == 1)


async def test_events_that_wait_for_the_broker_are_counted():
    async with exchange() as server, crawling(server, capacity=5) as run:
        await run.for_books(5)
        run.taking.clear()
        await run.until(lambda: metrics_of(run)["crawler_unconfirmed_events",] > 20)
        run.taking.set()
        await run.until(lambda: metrics_of(run)["crawler_unconfirmed_events",] < 5)
