"""The composition of the embedded mode: all services over one broker in memory."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog

import converter.app
import gateway.app
import storer.app
from crawler.app import Crawler
from crawler.book.publication import Confirmed
from crawler.proxy import ProxyFor
from fairprice.broker.memory import MemoryBroker
from fairprice.runtime import lifecycle
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock
from fairprice.runtime.health import process_registry
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER, DEAD_LETTERS, PRICES_STORER, UNROUTED
from standalone.settings import Settings
from storer.stores.port import Store

NAME = "standalone"
PIPELINE = (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER)
"""The queues in the order in which events pass them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has done."""

    books: int
    prices: int
    gaps: int
    dead_letters: int
    without_books: tuple[str, ...]
    out_of_sync: tuple[str, ...]
    seconds: float
    not_stored: str | None
    """A description of what was not stored at the stop, and why; it is lost with the broker in memory."""


class Pipeline:
    """Crawler, converter, storer and gateway in this process.

    `confirmed` is where the rows of an earlier run end. A `replay` ends when the exchange has closed the stream; its
    prices carry no time of their own.
    `on_serving` is called with the page's address.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        random: Random,
        clock: Clock,
        replay: bool,
        confirmed: Mapping[str, Confirmed],
        proxy: ProxyFor,
        on_serving: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._random = random
        self._clock = clock
        self._replay = replay
        self._on_serving = on_serving
        self._broker = MemoryBroker(clock=clock)
        self._stored = storer.app.Counters()
        self._priced = converter.app.Counters()
        self._dead: Counter[str] = Counter()
        self._crawler = Crawler(
            settings.crawler,
            self._broker,
            name=NAME,
            random=random,
            clock=clock,
            replay=replay,
            confirmed=confirmed,
            proxy=proxy,
        )
        self._registry = process_registry(NAME, self._samples)

    async def run(self, stop: asyncio.Event) -> Summary:
        """Run until `stop` is set or a replay has ended, store what is under way, and sum up."""
        began = self._clock.monotonic()
        is_done = await lifecycle.drain(self._work(stop), stop)
        return self._summary(self._clock.monotonic() - began, is_done=is_done)

    async def _work(self, stop: asyncio.Event) -> None:
        """Crawl until `stop` is set or a replay has ended, then let every queue run empty and end the rest."""
        stop_services = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._convert(stop_services))
            tasks.create_task(self._keep(stop_services))
            tasks.create_task(self._serve(stop_services))
            watching = [tasks.create_task(self._watch_dead_letters(queue)) for queue in (DEAD_LETTERS, UNROUTED)]
            await self._crawler.run(stop)
            for queue in PIPELINE:
                await self._broker.until_empty(queue)
            stop_services.set()
            for watch in watching:
                watch.cancel()

    async def _convert(self, stop: asyncio.Event) -> None:
        await converter.app.run(
            self._settings.converter,
            self._broker,
            clock=self._clock,
            replay=self._replay,
            random=self._random,
            stop=stop,
            counters=self._priced,
        )

    async def _keep(self, stop: asyncio.Event) -> None:
        await storer.app.run(
            self._settings.storer,
            self._broker,
            self._store,
            clock=self._clock,
            replay=self._replay,
            random=self._random,
            stop=stop,
            counters=self._stored,
        )

    async def _serve(self, stop: asyncio.Event) -> None:
        await gateway.app.run(
            self._settings.gateway,
            self._broker,
            clock=self._clock,
            back_off=partial(delays, self._random),
            stop=stop,
            registry=self._registry,
            checks={**self._crawler.checks(), **self._stored.checks()},
            notes=self._crawler.notes(),
            expected=[(self._settings.crawler.venue, symbol) for symbol in self._settings.crawler.symbols],
            on_serving=self._on_serving,
        )

    async def _watch_dead_letters(self, queue: str) -> None:
        """Without a broker that keeps them, dead letters go to the log, whole."""
        async with self._broker.subscribe(queue, prefetch=10) as subscription:
            while True:
                for delivery in await subscription.receive(10):
                    message = delivery.message
                    self._dead[queue] += 1
                    log.error("dead letter", queue=queue, **message.headers, body=message.body.decode(errors="replace"))
                    await delivery.ack()

    def _samples(self) -> Iterator[Sample]:
        yield from self._crawler.samples()
        yield from self._priced.samples()
        yield from self._stored.samples()
        for queue, depth in self._broker.depths().items():
            yield "broker_queue_messages", (queue,), depth
        for exchange, count in self._broker.forgotten.items():
            yield "broker_forgotten_messages_total", (exchange,), count

    def _summary(self, seconds: float, *, is_done: bool) -> Summary:
        rows = self._stored.rows
        return Summary(
            books=self._crawler.summary.books,
            prices=rows["fair_price"],
            gaps=rows["gap"],
            dead_letters=self._dead.total(),
            without_books=self._crawler.summary.without_books,
            out_of_sync=self._crawler.summary.out_of_sync,
            seconds=round(seconds, 3),
            not_stored=None if is_done else self._not_stored(),
        )

    def _not_stored(self) -> str:
        prices = self._crawler.summary.books - self._stored.rows["fair_price"]
        troubles = {trouble for check in self._stored.checks().values() if (trouble := check())}
        why = "; ".join(sorted(troubles)) or "the store did not answer in time"
        return f"the prices of the last {prices} books, and what belongs to them: {why}"
