"""The services in this process, over the broker in memory and a SQLite file."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import converter.app
import storer.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER, EXCHANGES, PRICES_STORER, Exchange
from storer.settings import StorerSettings
from storer.stores.port import Reader
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_reader import open_sqlite_reader
from tests.soak.stage import TRUTH, Market, Stage


class Embedded(Stage):
    """Tasks of this event loop; only crawlers can be killed."""

    crawlers = victims = ("crawler-0", "crawler-1")
    can_freeze = False

    def __init__(self, folder: Path, random: Random, tasks: asyncio.TaskGroup) -> None:
        queues = (BOOKS_CONVERTER, BOOKS_STORER, TRUTH)
        others = tuple(each for each in EXCHANGES if each.name != BOOKS)
        self.broker: MemoryBroker = MemoryBroker(exchanges=(Exchange(BOOKS, queues), *others))
        self._database = folder / "soak.db"
        self._state = folder / "state"
        self._random = random
        self._clock = SystemClock()
        self._tasks = tasks
        self._running: dict[str, tuple[Crawler, asyncio.Task[None]]] = {}
        self._stop = asyncio.Event()
        self._stop_services = asyncio.Event()

    async def start(self, market: Market) -> None:
        self._market = market
        self._store = await open_sqlite(self._database)
        services = {"clock": self._clock, "random": self._random, "stop": self._stop_services}
        self._services = [
            self._tasks.create_task(converter.app.run(ConverterSettings.load({}), self.broker, **services)),
            self._tasks.create_task(storer.app.run(StorerSettings.load({}), self.broker, self._store, **services)),
        ]
        for name in self.crawlers:
            await self.restart(name)

    async def restart(self, name: str) -> None:
        settings = CrawlerSettings.load(
            {},
            symbols=self._market.symbols,
            exchange_rest_url=self._market.rest_url,
            exchange_stream_url=self._market.stream_url,
            address_share=1 / len(self.crawlers),
            state_dir=self._state,
            silence_timeout=2.0,
        )
        crawler = Crawler(settings, self.broker, name=name, random=self._random, clock=self._clock)
        self._running[name] = crawler, self._tasks.create_task(crawler.run(self._stop))

    async def kill(self, name: str) -> None:
        _, task = self._running[name]
        task.cancel()
        await asyncio.wait({task})

    async def out_of_sync(self, name: str) -> Collection[str]:
        return self._running[name][0].summary.out_of_sync

    async def resyncs(self, name: str) -> int:
        samples = self._running[name][0].samples()
        return sum(value for metric, _, value in samples if metric == "crawler_resyncs_total")  # type: ignore[misc]

    def megabytes(self) -> Mapping[str, float]:
        return {}

    async def depths(self) -> Mapping[str, int]:
        return self.broker.depths()

    async def finish(self) -> None:
        self._stop.set()
        await asyncio.wait([task for _, task in self._running.values()])
        for queue in (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER, TRUTH):
            await self.broker.until_empty(queue)
        self._stop_services.set()
        await asyncio.wait(self._services)
        await self._store.close()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        reader = await open_sqlite_reader(self._database)
        try:
            yield reader
        finally:
            await reader.close()
