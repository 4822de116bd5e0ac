"""A week of six markets through the whole crawler, over real sockets and on one clock that the test drives.

The markets move in the first seconds of each hour, `AWAKE`, as many books as a week is to have; between them nobody
trades, and whoever waits for a moment there waits for some seconds. All else is a week's: seven times a connection
comes of age, each hour each book is compared with a fresh snapshot, level by level, and streams that bring nothing are
asked for by REST. By hand, `make test-week`: minutes of CPU.
"""

import asyncio
from collections import Counter

import pytest

from fairprice.messages import Book, Gap, decode
from simulator import Exchange, Knobs, SimulatorServer
from tests.clocks import ManualClock
from tests.faults.test_crawler_on_the_wire import QUEUE, TICK, Run, compare, logged, range_of

__all__ = ["logged"]

pytestmark = [pytest.mark.week, pytest.mark.timeout(3600)]

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY
AWAKE = 13
"""Seconds of each hour in which the markets move."""

DOZE = 30.0
"""Seconds that a wait lasts at least while they do not."""

THIN, HALTED = "DUSTUSDT", "SUIUSDT"
SYMBOLS = ("FTMUSDT", "ETCUSDT", "FILUSDT", "OPUSDT", HALTED, THIN)
HALT = range(2 * DAY, 4 * DAY)
"""Seconds in which one of them is halted."""

BOOKS = 100_000


class WeekClock(ManualClock):
    """Whose sleepers sleep on while no market moves."""

    async def sleep(self, seconds):
        await super().sleep(max(seconds, min(DOZE, self.until_awake())))

    def until_awake(self):
        """Seconds until the markets move, 0 while they do."""
        second = self.monotonic() % HOUR
        return 0.0 if second < AWAKE else HOUR - second


class Dozing(Exchange):
    """Markets that stand still as long as nobody asks for it, at no cost."""

    is_awake = True

    def frames(self, now_us, wanted=None):
        if not self.is_awake:
            for feed in self._feeds.values():
                feed.market.now_us = now_us
        return super().frames(now_us, wanted)


class Week(Run):
    """Compares each book with the truth at once, and keeps of each symbol only how far its ids have come."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.compared, self.recorded = Counter(), Counter()
        self.reached = {}

    async def take(self):
        async with self.broker.subscribe(QUEUE, prefetch=5) as subscription:
            while True:
                deliveries = await subscription.receive(5)
                for delivery in deliveries:
                    for event in decode(delivery.message.body):
                        if isinstance(event, Book | Gap):
                            self.follow(event)
                await deliveries[-1].ack(multiple=True)

    def follow(self, event):
        first, last = range_of(event)
        assert self.reached.get(event.symbol, first - 1) == first - 1, "a hole that nobody has recorded"
        self.reached[event.symbol] = last
        if isinstance(event, Gap):
            self.recorded[event.symbol] += 1
            return
        compare(self.server.source.book_at(event.symbol, event.update_id, 20), event)
        self.compared[event.symbol] += 1


async def pass_hour(source, clock):
    """Let the markets move for some seconds, and time go by for the rest of an hour."""
    source.is_awake = True
    await clock.until(clock.until_awake, 2 * AWAKE, TICK)
    source.is_awake = False
    while wait := clock.until_awake():
        await clock.advance(min(DOZE, wait))
        await asyncio.sleep(0.001)  # room for the sockets


async def test_a_week_without_a_wrong_book_a_hole_or_a_breach_of_limits():
    clock = WeekClock()
    source = Dozing(SYMBOLS, start_us=clock.wall(), knobs=Knobs(time_scale=HOUR))
    async with SimulatorServer(source, clock=clock, tick=TICK) as server:
        week = Week(server, clock, stream_connections=1)
        tasks = [asyncio.create_task(week.take()), asyncio.create_task(week.crawler.run(week.stopping))]
        try:
            for second in range(0, WEEK, HOUR):
                source.set_status(HALTED, "BREAK" if second in HALT else "TRADING")
                await pass_hour(source, clock)
                for task in tasks:
                    assert not task.done() or task.result()
                assert set(week.crawler.summary.out_of_sync) <= {THIN}, "which need not have moved in the first hour"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert week.compared.total() >= BOOKS
        assert min(week.compared.values()) == week.compared[THIN] > 0
        assert week.recorded == {}
        assert not server.limits.breaches
        assert week.opened() > 7
        assert week.crawler.summary.out_of_sync == ()
