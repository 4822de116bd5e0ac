"""The crawler's streams against the simulator: another program's reading of the same protocol, over real sockets."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

import aiohttp
import pytest
from clocks import ManualClock

from crawler.book.market_data import Diff, Ticker
from crawler.stream_events import Disconnected, Suspected
from crawler.streams import Streams
from crawler.venues.binance.venue import Binance
from fairprice.runtime.backoff import delays
from simulator.exchange import Exchange
from simulator.faults import Fault
from simulator.knobs import Knobs
from simulator.server import SimulatorServer


class Roomy:
    is_full = False


@pytest.fixture
def clock():
    return ManualClock()


def exchange(clock, *symbols, knobs=None):
    """An exchange on the network that lives on a clock."""
    source = Exchange(symbols or ("BTCUSDT",), start_us=clock.wall(), knobs=knobs)
    return SimulatorServer(source, clock=clock, tick=0.05)


class Sink:
    """Keeps the events."""

    def __init__(self, clock):
        self.clock = clock
        self.events = []

    def push(self, event):
        self.events.append(event)

    def of(self, kind, symbol=None):
        return [event for event in self.events if type(event) is kind and (symbol is None or event.symbol == symbol)]

    async def until(self, condition):
        """Let time pass until it is so."""
        await self.clock.until(condition, within=300)


@asynccontextmanager
async def following(server, clock, symbols, venue=None, **options):
    sink = Sink(clock)
    venue = venue or Binance()
    streams = Streams(
        venue,
        server.stream_url,
        symbols,
        sink=sink.push,
        pause=Roomy(),
        clock=clock,
        back_off=partial(delays, Random(1)),
        overlap=0.5,
        **options,
    )
    run = asyncio.create_task(streams.run())
    try:
        yield streams, sink
    finally:
        run.cancel()
        await asyncio.wait({run})
        if not run.cancelled():
            run.result()


def joins(diffs):
    return all(later.first_update_id == earlier.update_id + 1 for earlier, later in pairwise(diffs))


@pytest.mark.parametrize("kind", ["disconnect", "server_shutdown"])
async def test_what_ends_one_connection_loses_nothing(clock, kind):
    async with (
        exchange(clock, "BTCUSDT", "ETHUSDT") as server,
        following(server, clock, ("BTCUSDT", "ETHUSDT")) as (streams, sink),
    ):
        await sink.until(lambda: streams.open == 2 and len(sink.of(Diff, "BTCUSDT")) > 5)
        server.inject(Fault(kind, scope="one"))
        await sink.until(lambda: server.status()["connections"]["opened"] > 2 and streams.open >= 2)
        seen = len(sink.of(Diff))
        await sink.until(lambda: len(sink.of(Diff)) > seen + 20)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            assert joins(sink.of(Diff, symbol))
            assert sink.of(Ticker, symbol)
        assert not sink.of(Disconnected)
        assert streams.repeats > 20
        assert not server.limits.breaches


async def test_more_streams_than_a_connection_carries_come_by_several(clock):
    symbols = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
    venue = Binance()
    venue.limits = replace(venue.limits, streams=4)
    knobs = Knobs(streams_per_connection=4, too_many_streams="close")
    async with (
        exchange(clock, *symbols, knobs=knobs) as server,
        following(server, clock, symbols, venue) as (streams, sink),
    ):
        await sink.until(lambda: all(len(sink.of(Diff, symbol)) > 3 for symbol in symbols) and streams.open == 6)
        assert streams.uncovered == ()
        assert not sink.of(Disconnected)
        assert not server.limits.breaches


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(wrap_replies=True),
        Knobs(ack_order="before"),
        Knobs(ack_order="after"),
        Knobs(ping_interval_s=0.5, pong_timeout_s=1.0),
    ],
    ids=["wrapped replies", "reply first", "reply later", "many pings"],
)
async def test_what_the_documents_leave_open_is_understood_either_way(clock, knobs):
    async with (
        exchange(clock, knobs=knobs) as server,
        following(server, clock, ("BTCUSDT",), reply_timeout=3.0) as (streams, sink),
    ):
        await sink.until(lambda: streams.open == 2 and len(sink.of(Diff)) > 15)
        assert server.status()["connections"]["opened"] == 2


@pytest.mark.parametrize("shape", ["nested", "bare"])
async def test_a_refused_subscription_is_tried_again_whatever_the_shape_of_the_refusal(clock, shape):
    async with exchange(clock, knobs=Knobs(error_shape=shape)) as server:
        server.inject(Fault("error_ack", variant=shape, count=2))
        async with following(server, clock, ("BTCUSDT",)) as (streams, sink):
            await sink.until(lambda: streams.open == 2 and sink.of(Diff))
            assert server.status()["connections"]["opened"] == 4


@pytest.mark.parametrize("fault", ["no_ack", "wrong_ack_id"])
async def test_a_subscription_that_is_never_answered_is_tried_again(clock, fault):
    async with exchange(clock) as server:
        server.inject(Fault(fault, count=2))
        async with following(server, clock, ("BTCUSDT",), reply_timeout=0.5) as (streams, sink):
            await sink.until(lambda: server.status()["connections"]["opened"] == 4 and streams.open == 2)
            await sink.until(lambda: sink.of(Diff))


async def test_two_stalled_connections_are_found_by_a_question_to_rest(clock):
    async with exchange(clock) as server, aiohttp.ClientSession() as session:
        rest = Binance().rest(session, server.rest_url, clock=clock)
        server.inject(Fault("silence", seconds=30.0))
        options = {"probe": rest.newest_update_id, "silence_timeout": 1.0}
        async with following(server, clock, ("BTCUSDT",), **options) as (_, sink):
            await sink.until(lambda: sink.of(Suspected))
            await sink.until(lambda: server.status()["connections"]["opened"] >= 4)
