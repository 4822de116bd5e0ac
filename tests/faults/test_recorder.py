"""`crawler record` against the simulated exchange over real sockets: what is recorded gives its books again."""

import asyncio
import io
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import aiohttp
import orjson
import pytest
from waiting import patience

from crawler.capture import Capture
from crawler.settings import CrawlerSettings
from fairprice.errors import StartupError
from fairprice.runtime.clock import SystemClock
from simulator import Exchange, Fault, Knobs, SimulatorServer

SCALE = 20.0
PATIENCE = 20.0


@asynccontextmanager
async def exchange(*symbols):
    source = Exchange(symbols, start_us=time.time_ns() // 1000, knobs=Knobs(time_scale=SCALE))
    async with SimulatorServer(source) as server:
        yield server


class Recording:
    """A recorder at work, and what it has written."""

    def __init__(self, server, symbols, **settings):
        urls = {"exchange_rest_url": server.rest_url, "exchange_stream_url": server.stream_url}
        self.file = io.BytesIO()
        self.capture = Capture(
            CrawlerSettings.load({}, symbols=symbols, state_dir=None, **urls, **settings),
            self.file,
            clock=SystemClock(),
            random=Random(1),
        )
        self.stop = asyncio.Event()

    async def __aenter__(self):
        self.session = aiohttp.ClientSession()
        self.task = asyncio.create_task(self.capture.run(self.session, self.stop))
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        try:
            async with patience():
                await self.task
        finally:
            await self.session.close()

    async def until(self, condition):
        async with patience():
            while not condition(self):
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)

    @property
    def lines(self):
        return self.file.getvalue().splitlines()

    def frames(self):
        """What was written by symbol and kind of stream, in its order; a bare snapshot belongs to the only symbol."""
        frames = defaultdict(list)
        for line in self.lines:
            received, _, text = line.partition(b" ")
            assert abs(int(received) - time.time_ns()) < 60_000_000_000
            frame = orjson.loads(text)
            stream, data = (frame["stream"], frame["data"]) if "stream" in frame else ("btcusdt@snapshot", frame)
            name, kind = stream.split("@")[:2]
            frames[name.upper(), kind].append(data)
        return frames


def count(recording, kind, symbol="BTCUSDT"):
    return len(recording.frames()[symbol, kind])


def rebuilt(snapshot, diffs):
    """The book after the last diff: a naive one, as far as the snapshot reached."""
    sides = [dict(snapshot["bids"]), dict(snapshot["asks"])]
    for diff in diffs:
        for side, key in zip(sides, "ba", strict=True):
            side.update(dict(diff[key]))
    bids, asks = ([level for level in side.items() if float(level[1])] for side in sides)
    return sorted(bids, key=lambda level: -float(level[0])), sorted(asks, key=lambda level: float(level[0]))


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
@pytest.mark.parametrize("connections", [1, 2])
async def test_what_is_recorded_gives_the_exchanges_books_again(symbols, connections):
    async with exchange(*symbols) as server:
        async with Recording(server, symbols, stream_connections=connections) as recording:
            for symbol in symbols:
                await recording.until(lambda recording: count(recording, "depth", symbol) > 60)  # noqa: B023
                await recording.until(lambda recording: count(recording, "snapshot", symbol) == 1)  # noqa: B023
        assert recording.capture.lines == len(recording.lines)
        assert recording.capture.unreadable == 0
        frames = recording.frames()
        for symbol in symbols:
            (snapshot,) = frames[symbol, "snapshot"]
            diffs = frames[symbol, "depth"]
            assert all(later["U"] <= earlier["u"] + 1 for earlier, later in pairwise(diffs))
            assert diffs[0]["U"] <= snapshot["lastUpdateId"] + 1
            following = [diff for diff in diffs if diff["u"] > snapshot["lastUpdateId"]]
            truth = server.source.book_at(symbol, diffs[-1]["u"])
            bids, asks = rebuilt(snapshot, following)
            assert bids[:20] == [tuple(level) for level in truth.bids[:20]]
            assert asks[:20] == [tuple(level) for level in truth.asks[:20]]
            assert frames[symbol, "bookTicker"]
        assert not server.limits.breaches


async def test_a_lost_connection_is_opened_again_and_followed_by_another_snapshot():
    async with exchange("BTCUSDT") as server, Recording(server, ("BTCUSDT",), stream_connections=1) as recording:
        await recording.until(lambda recording: count(recording, "snapshot") == 1)
        server.inject(Fault("disconnect"))
        await recording.until(lambda recording: count(recording, "snapshot") == 2)
        diffs = count(recording, "depth")
        await recording.until(lambda recording: count(recording, "depth") > diffs + 10)


async def test_a_snapshot_that_fails_is_asked_for_again():
    async with exchange("BTCUSDT") as server:
        server.inject(Fault("fail_snapshot", count=2))
        async with Recording(server, ("BTCUSDT",)) as recording:
            await recording.until(lambda recording: count(recording, "snapshot") == 1)


async def test_a_frame_that_cannot_be_read_is_counted_and_not_written():
    async with exchange("BTCUSDT") as server, Recording(server, ("BTCUSDT",), stream_connections=1) as recording:
        await recording.until(lambda recording: count(recording, "depth") > 5)
        server.inject(Fault("malformed", variant="bad_json"))
        await recording.until(lambda recording: recording.capture.unreadable)
        diffs = count(recording, "depth")
        await recording.until(lambda recording: count(recording, "depth") > diffs)


async def test_an_unknown_symbol_is_named_and_nothing_is_written():
    async with exchange("BTCUSDT") as server:
        recording = Recording(server, ("BTCUSDT", "GONEUSDT"))
        with pytest.raises(StartupError, match="does not list GONEUSDT"):
            async with recording:
                await recording.until(lambda recording: recording.lines)
        assert recording.lines == []
