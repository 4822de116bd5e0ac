"""`python -m tests.soak`: random faults against two crawlers, a converter and a storer; ends with a verdict.

All of it in one process, over the broker in memory and a SQLite file, against the simulated exchange on real sockets,
which knows the truth. Ends with 0 when nothing is wrong, else with 1.
"""

import argparse
import asyncio
import logging
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

import structlog

import converter.app
import storer.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import Book, Gap, decode
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER, EXCHANGES, PRICES_STORER, Exchange
from simulator import Exchange as Market
from simulator import SimulatorServer
from storer.audit.examine import examine, keys
from storer.settings import StorerSettings
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_reader import open_sqlite_reader
from tests.soak.blows import HALT, KILL, Blow, blows
from tests.soak.verdict import Seen, failures, table
from tests.truth import known

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
CRAWLERS = 2
TRUTH = "soak"
"""The queue from which every book is compared with the truth."""

PAUSE = 0.9
"""Seconds between two blows, in the mean."""

HALTED = 5.0
"""Seconds that a symbol does not trade, and that a crawler that was killed is away."""

LEVELS = 20


def main() -> int:
    """Run and return the exit code."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--for", dest="seconds", type=_seconds, default=180.0, metavar="TIME", help="90s, 3m, 8h")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6), help="repeats the blows of a run")
    parser.add_argument("--verbose", action="store_true", help="show the warnings of what is under test")
    options = parser.parse_args()
    level = logging.WARNING if options.verbose else logging.CRITICAL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    print(f"soak for {options.seconds:.0f} s, seed {options.seed}", flush=True)
    with TemporaryDirectory() as folder:
        seen = asyncio.run(Soak(options.seconds, options.seed, Path(folder)).run())
    for line in table(seen):
        print(line)
    found = failures(seen)
    for line in found:
        print(f"FAILED: {line}")
    return 1 if found else 0


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([1-9][0-9]*)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError("write 90s, 3m or 8h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


class Soak:
    """One run: everything that is under way in it."""

    def __init__(self, seconds: float, seed: int, folder: Path) -> None:
        self.seen = Seen()
        self._seconds = seconds
        self._random = Random(seed)
        self._folder = folder
        self._clock = SystemClock()
        self._market = Market(SYMBOLS, seed, start_us=self._clock.wall())
        self._server = SimulatorServer(self._market, at_present=True)
        queues = (BOOKS_CONVERTER, BOOKS_STORER, TRUTH)
        others = tuple(each for each in EXCHANGES if each.name != BOOKS)
        self._broker = MemoryBroker(exchanges=(Exchange(BOOKS, queues), *others))
        self._crawlers: dict[int, tuple[Crawler, asyncio.Task[None]]] = {}
        self._out_since: dict[tuple[int, str], float] = {}
        self._stop = asyncio.Event()
        self._stop_services = asyncio.Event()

    async def run(self) -> Seen:
        """Run, come to rest, and judge what is stored."""
        store = await open_sqlite(self._folder / "soak.db")
        async with self._server, asyncio.TaskGroup() as self._tasks:
            services = {"clock": self._clock, "random": self._random, "stop": self._stop_services}
            self._tasks.create_task(converter.app.run(ConverterSettings.load({}), self._broker, **services))
            self._tasks.create_task(storer.app.run(StorerSettings.load({}), self._broker, store, **services))
            watching = [self._tasks.create_task(each) for each in (self._compare(), self._watch())]
            for number in range(CRAWLERS):
                self._start(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._strike()
            await self._come_to_rest()
            for watch in watching:
                watch.cancel()
        await store.close()
        await self._judge()
        return self.seen

    def _start(self, number: int) -> None:
        settings = CrawlerSettings.load(
            {},
            symbols=SYMBOLS,
            exchange_rest_url=self._server.rest_url,
            exchange_stream_url=self._server.stream_url,
            address_share=1 / CRAWLERS,
            state_dir=self._folder / "state",
            silence_timeout=2.0,
        )
        crawler = Crawler(settings, self._broker, name=f"crawler-{number}", random=self._random, clock=self._clock)
        self._crawlers[number] = crawler, self._tasks.create_task(crawler.run(self._stop))

    # What goes wrong

    async def _strike(self) -> None:
        for blow in blows(self._random, SYMBOLS, CRAWLERS):
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * PAUSE)
            if blow.kind == HALT:
                self._tasks.create_task(self._halt(blow.symbol))
            elif blow.kind == KILL:
                self._tasks.create_task(self._kill(blow))
            for fault in blow.faults:
                self._server.inject(fault)

    async def _halt(self, symbol: str) -> None:
        self.seen.happened[HALT] += 1
        self._market.set_status(symbol, self._market.dialect.halted)
        await asyncio.sleep(HALTED)
        self._market.set_status(symbol, "TRADING")

    async def _kill(self, blow: Blow) -> None:
        crawler, task = self._crawlers[blow.crawler]
        if task.done():
            return
        self.seen.happened[KILL] += 1
        self._note_resyncs(crawler)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(HALTED)
        self._start(blow.crawler)

    # What is looked at

    async def _compare(self) -> None:
        async with self._broker.subscribe(TRUTH, 1000) as subscription:
            while True:
                for delivery in await subscription.receive(100):
                    for event in decode(delivery.message.body):
                        if isinstance(event, Book):
                            self._compare_book(event)
                        self.seen.gaps += isinstance(event, Gap)
                    await delivery.ack()

    def _compare_book(self, book: Book) -> None:
        self.seen.books += 1
        try:
            truth = self._market.book_at(book.symbol, book.update_id, 2 * LEVELS)
        except LookupError:
            return
        self.seen.compared += 1
        bids, asks = (side[:LEVELS] for side in known(truth, book))
        if (book.bids[: len(bids)], book.asks[: len(asks)]) != (bids, asks):
            self.seen.wrong.append(f"{book.symbol} {book.update_id} of {book.crawler}")

    async def _watch(self) -> None:
        began = self._clock.monotonic()
        while True:
            await asyncio.sleep(0.2)
            now = self._clock.monotonic()
            waiting = {(number, symbol) for number, symbol in self._waiting()}
            for key in waiting:
                self._out_since.setdefault(key, now)
            for key in set(self._out_since) - waiting:
                self.seen.spells.append(now - self._out_since.pop(key))
            self.seen.memory.append((now - began, resident_mb()))

    def _waiting(self) -> Iterator[tuple[int, str]]:
        for number, (crawler, task) in self._crawlers.items():
            yield from ((number, symbol) for symbol in crawler.summary.out_of_sync if not task.done())

    def _note_resyncs(self, crawler: Crawler) -> None:
        counts = (value for name, _, value in crawler.samples() if name == "crawler_resyncs_total")
        self.seen.resyncs += sum(value for value in counts if isinstance(value, int))

    # How it ends

    async def _come_to_rest(self) -> None:
        self._server.source.board.clear()
        await asyncio.sleep(HALTED + 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                while any(self._waiting()) or len(self._running()) < CRAWLERS:  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        self.seen.not_current = sorted({symbol for _, symbol in self._waiting()})
        for crawler, _ in self._crawlers.values():
            self._note_resyncs(crawler)
        self._stop.set()
        await asyncio.wait([task for _, task in self._crawlers.values()])
        for queue in (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER, TRUTH):
            await self._broker.until_empty(queue)
        self._stop_services.set()
        self.seen.happened.update(self._server.source.board.fired)
        self.seen.breaches = dict(self._server.limits.breaches)

    def _running(self) -> list[asyncio.Task[None]]:
        return [task for _, task in self._crawlers.values() if not task.done()]

    async def _judge(self) -> None:
        reader = await open_sqlite_reader(self._folder / "soak.db")
        end = self._clock.wall() + 10**9
        accounts = {}
        for key in await keys(reader, 0, end):
            accounts[key[1]] = await examine(reader, key, 0, end)
        await reader.close()
        self.seen.accounts = accounts


def resident_mb() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    sys.exit(main())
