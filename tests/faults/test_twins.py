"""Two crawlers with the same symbols, the converter and the storer in one process: the rows are those of one.

Blows fall on one crawler at a time. The simulated exchange knows the truth, the test drives the clock.
"""

import asyncio
import shutil
from collections import defaultdict
from contextlib import asynccontextmanager
from random import Random

import pytest
from waiting import soon

import converter.app
import storer.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.gaps import uncovered
from fairprice.messages import Book, decode
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER
from simulator import Knobs
from storer.audit.account import Kind
from storer.audit.examine import examine
from storer.settings import StorerSettings
from storer.stores.sqlite import open_sqlite
from tests.faults.test_crawler_on_the_wire import TICK, clock, exchange, logged, look_up, truth

__all__ = ["clock", "logged"]

pytestmark = pytest.mark.slow(seconds=3.5)

SYMBOLS = ("BTCUSDT", "ETHUSDT")
SETTLED = 40.0
"""Seconds in which the gaps of the last blow are looked at, and more."""


class Twins:
    """Crawlers `a` and `b` with a folder for the state of each, and what became of their books."""

    def __init__(self, server, clock, store, folder):
        self.server, self.clock, self.store = server, clock, store
        self.symbols = tuple(server.source.update_ids())
        self.broker = MemoryBroker(clock=clock)
        self.priced, self.stored = converter.app.Counters(), storer.app.Counters()
        self.crawlers, self._tasks, self._stops = {}, {}, {}
        self._folder = folder
        self.keys = defaultdict(set)
        """Of each symbol and time the ids of the books that anybody published there."""

    async def live(self, seconds):
        end = self.clock.monotonic() + seconds
        await self.until(lambda: self.clock.monotonic() >= end, 2 * seconds)

    async def until(self, condition, within=60.0):
        await self.clock.until(condition, within, TICK)
        for task in self._tasks.values():
            assert not task.done() or task.cancelled() or task.exception() is None, task.exception()

    def start(self, name):
        urls = {"exchange_rest_url": self.server.rest_url, "exchange_stream_url": self.server.stream_url}
        settings = CrawlerSettings.load(
            {}, symbols=self.symbols, stream_connections=1, state_dir=self._folder / name, **urls
        )
        self.crawlers[name] = Crawler(settings, self.broker, name=name, random=Random(name), clock=self.clock)
        self._stops[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self.crawlers[name].run(self._stops[name]))

    async def kill(self, name):
        """End it with nothing said any more."""
        self._tasks[name].cancel()
        await soon(asyncio.wait({self._tasks[name]}))

    def lose_state(self):
        for name in self.crawlers:
            shutil.rmtree(self._folder / name)

    async def stop(self, name):
        self._stops[name].set()
        await self.until(self._tasks[name].done)

    async def in_sync(self, *names):
        """Wait until each of them has published books and has all symbols in sync."""
        reports = [self.crawlers[name].summary for name in names]
        await self.until(lambda: all(not (each.without_books or each.out_of_sync) for each in reports))

    async def watch(self):
        async with self.broker.tap(BOOKS, 1000) as tap:
            while True:
                for delivery in await tap.receive(100):
                    for event in decode(delivery.message.body):
                        if isinstance(event, Book):
                            self.keys[event.symbol, event.event_time].add(event.update_id)
                            look_up(self.server.source, event)

    async def settle(self):
        """Let everything be stored, and the gaps looked at."""
        queues = (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER)
        await self.live(SETTLED)
        await self.until(lambda: not any(self.broker.depths()[queue] for queue in queues))

    async def rows(self, measurement, symbol, *fields):
        return [row async for row in self.store.rows(measurement, fields, "binance", symbol, 0, 2**62)]

    async def require_true(self):
        """Every row is the exchange's at its id, each id one row's, and no time that of two books or more."""
        for symbol in self.symbols:
            rows = await self.rows("fair_price", symbol, "first_update_id", "update_id", "bid", "ask", "status")
            assert len({update_id for _, _, update_id, *_ in rows}) == len(rows) > 100
            for _, _, update_id, bid, ask, status in rows:
                book = truth(self.server.source, symbol, update_id)
                assert (bid, ask) == (float(book.bids[0][0]), float(book.asks[0][0]))
                assert status == "ok"
        assert all(len(ids) == 1 for ids in self.keys.values()), "two books would share a row"

    def require_one_cut(self):
        """No book was published under two times."""
        published = [(symbol, update_id) for (symbol, _), ids in self.keys.items() for update_id in ids]
        assert len(set(published)) == len(published), "one book would have two rows"

    async def missing(self, symbol):
        """The ids between the first row and the last that no row has, and the gaps: from, to, open ids."""
        rows = await self.rows("fair_price", symbol, "first_update_id", "update_id")
        ranges = [(first, last) for _, first, last in rows]
        gaps = await self.rows("gap", symbol, "from_update_id", "to_update_id", "open_ids")
        return uncovered(ranges[0][0], ranges[-1][1], ranges), [gap[1:] for gap in gaps]


@asynccontextmanager
async def twins(clock, folder, *symbols, knobs=None):
    """Two crawlers in sync, and the services behind them."""
    store = await open_sqlite(folder / "twins.db")
    stop = asyncio.Event()
    async with exchange(clock, *(symbols or SYMBOLS), knobs=knobs) as server:
        both = Twins(server, clock, store, folder)
        common = {"clock": clock, "random": Random(1), "stop": stop}
        services = [
            asyncio.create_task(each)
            for each in (
                converter.app.run(ConverterSettings(), both.broker, counters=both.priced, **common),
                storer.app.run(StorerSettings(), both.broker, store, counters=both.stored, **common),
                both.watch(),
            )
        ]
        try:
            both.start("a")
            await both.live(1.3)  # the other one joins late
            both.start("b")
            await both.in_sync("a", "b")
            yield both
        finally:
            tasks = [*services, *both._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await store.close()


@pytest.mark.parametrize("blows", [6, pytest.param(30, marks=pytest.mark.rounds)])
async def test_whatever_befalls_one_of_two_crawlers_the_rows_are_whole_and_true(clock, tmp_path, blows):
    """Each blow when both are in sync again: a kill, a stop, and a long absence, on each in turn."""
    random = Random(5)
    async with twins(clock, tmp_path) as both:
        for number in range(blows):
            name = "ab"[number % 2]
            await both.live(random.uniform(0.3, 1.2))
            await (both.stop if number % 3 == 1 else both.kill)(name)
            await both.live(random.uniform(0.1, 6.0 if number % 3 == 2 else 1.0))
            both.start(name)
            await both.in_sync("a", "b")
        await both.settle()
        await both.require_true()
        both.require_one_cut()
        for symbol in SYMBOLS:
            missing, gaps = await both.missing(symbol)
            assert len(gaps) >= blows * 0.6, "each restart has claimed what it missed"
            assert (missing, [gap for gap in gaps if gap[2]]) == (0, [])
        assert both.priced.copies > 100
        assert not both.server.limits.breaches


async def test_twins_on_stream_servers_that_cut_diffs_at_other_ids_miss_nothing_and_repeat_nothing(clock, tmp_path):
    """A thin symbol does not move between the cuts of the one and of the other: both end at one id, at two times."""
    async with twins(clock, tmp_path, "BTCUSDT", "币安人生USDT", knobs=Knobs(stream_servers_ms=(0, 50))) as both:
        await both.live(3.0)
        for name in "ab":
            await both.kill(name)
            await both.live(0.7)
            both.start(name)
            await both.in_sync("a", "b")
            await both.live(2.0)
        await both.settle()
        await both.require_true()
        repeated = 0
        for symbol in both.symbols:
            account = await examine(both.store, ("binance", symbol), 0, 2**62)
            assert (account.counts, account.open_gaps) == ({}, 0)
            assert account.overlapping > account.rows / 2
            missing, gaps = await both.missing(symbol)
            assert (missing, len(gaps) > 0) == (0, True)
            books = [update_id for (name, _), ids in both.keys.items() for update_id in ids if name == symbol]
            repeated += len(books) - len(set(books))
        assert repeated > 5, "the servers have ended diffs at one id, and there is one row for both"


async def test_a_hole_that_both_had_stays_open_with_exactly_its_ids(clock, tmp_path):
    async with twins(clock, tmp_path) as both:
        await both.live(5.0)
        await both.kill("a")
        await both.live(2.0)
        await both.kill("b")
        await both.live(1.0)
        both.start("a")
        await both.in_sync("a")
        await both.live(2.0)
        both.start("b")
        await both.in_sync("a", "b")
        await both.live(5.0)
        await both.settle()
        await both.require_true()
        both.require_one_cut()
        for symbol in SYMBOLS:
            missing, gaps = await both.missing(symbol)
            assert missing > 0
            open_gaps = [gap for gap in gaps if gap[2]]
            assert {open_ids for *_, open_ids in open_gaps} == {missing}
            assert both.stored.settled.open_gaps["binance", symbol] == len(open_gaps)


async def test_a_hole_behind_which_nobody_knows_where_the_rows_end_is_recorded_with_exactly_its_ids(clock, tmp_path):
    """The folders of state are gone, as with containers that have no volume."""
    async with twins(clock, tmp_path, "BTCUSDT") as both:
        await both.live(6.0)
        await both.kill("a")
        await both.kill("b")
        both.lose_state()
        await both.live(2.0)
        both.start("a")
        await both.in_sync("a")
        both.start("b")
        await both.in_sync("a", "b")
        await both.live(6.0)
        await both.settle()
        await both.require_true()
        missing, gaps = await both.missing("BTCUSDT")
        assert [last - first + 1 for first, last, _ in gaps] == [missing] == [gaps[0][2]]
        account = await examine(both.store, ("binance", "BTCUSDT"), 0, 2**62)
        assert account.counts == {Kind.RECORDED_HOLE: 1}
