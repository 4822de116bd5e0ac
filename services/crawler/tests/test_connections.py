"""How often the exchange is asked for a connection, over many minutes that take no time."""

import asyncio
import heapq
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from random import Random

import pytest
import structlog

from crawler import connections
from crawler.connections import Connections
from crawler.venues.binance.wire import Reply
from fairprice.errors import ExchangeUnavailable
from fairprice.runtime.backoff import delays

FIVE_MINUTES = 300.0
ALLOWED = 300
"""Attempts in five minutes and from one address, after which the exchange refuses them all."""


class Clock:
    """Sleeps in virtual time: the earliest sleeper wakes as soon as nobody else can run."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.sleepers = []
        self.order = count()
        self.sleep = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self.wait)

    async def wait(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleepers, (self.now + seconds, next(self.order), woken))
        await woken

    async def run_until(self, end):
        while True:
            for _ in range(20):
                await self.sleep(0)
            if not self.sleepers or self.sleepers[0][0] > end:
                return
            self.now, _, woken = heapq.heappop(self.sleepers)
            if not woken.done():
                woken.set_result(None)


class ClosedSoon:
    """A connection that says a few things and is then closed by the exchange."""

    ending = "close code 1008"

    def __init__(self, frames):
        self._frames = frames

    async def subscribe(self, names):
        assert names == ["btcusdt@depth@100ms", "btcusdt@bookTicker"]

    async def frames(self):
        for frame in self._frames:
            yield frame

    async def close(self):
        pass


class NeverFull:
    is_full = False


def connect_to(clock, attempts, exchange):
    @asynccontextmanager
    async def connect(_session, _url):
        attempts.append(clock.now)
        yield exchange()

    return connect


def refuses():
    raise ExchangeUnavailable("answered 503")


EXCHANGES = {
    "refuses": refuses,
    "hangs up at once": lambda: ClosedSoon([]),
    "says yes and hangs up": lambda: ClosedSoon([b"ack"]),
    "refuses the subscription and hangs up": lambda: ClosedSoon([b"error"]),
}


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES.keys())
@pytest.mark.parametrize("number", [1, 2, 4])
async def test_the_exchange_is_never_asked_for_more_connections_than_it_allows(exchange, number, monkeypatch):
    clock, attempts, lost = Clock(monkeypatch), [], []
    monkeypatch.setattr(connections, "connect", connect_to(clock, attempts, exchange))
    keeper = Connections(
        "wss://exchange",
        ("BTCUSDT",),
        count=number,
        silence_timeout=10.0,
        handle=lambda frame: Reply(1, "Too many requests" if frame == b"error" else None),
        outbox=NeverFull(),
        lost=lost.append,
        back_off=partial(delays, Random(1)),
        monotonic=lambda: clock.now,
        reconnect=True,
    )
    with structlog.testing.capture_logs():
        run = asyncio.create_task(keeper.run(None))
        await clock.run_until(900.0)
        run.cancel()
        await asyncio.wait({run})
    assert run.cancelled()
    assert keeper.open == 0
    assert len(attempts) > 100, "it does not give up either"
    for start, begin in enumerate(attempts):
        within = sum(1 for moment in attempts[start:] if moment < begin + FIVE_MINUTES)
        assert within <= ALLOWED
    assert set(lost) <= {"disconnect"}
