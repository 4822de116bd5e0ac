"""The storer's life: two queues in, points into the store, at least once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random

from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.port import Broker, Subscription
from fairprice.broker.retry import BackOff, consume
from fairprice.errors import StoreUnavailable
from fairprice.messages import BOOKS_TYPE, MAX_LINES, PRICES_TYPE
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock, timeout
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Histogram, Sample
from fairprice.topology import BOOKS_STORER, PRICES_STORER
from storer.basis import BasisRecord, Touched
from storer.batch import Batch, Translate
from storer.measurements import AUDIT, GAP, START, Point, book_queue_points, price_points
from storer.rounds import Rounds
from storer.settings import StorerSettings
from storer.settlement import Settled, Settlement
from storer.starts import Starts
from storer.stores.port import Store
from storer.troubles import Troubles

PREFETCH = 300
"""Messages that may wait here while a write runs; a full batch does not wait for more than that."""

AT_ONCE = 4
"""Messages that are translated in one go; a few hundred lines keep the event loop for some milliseconds."""


@dataclass(slots=True)
class Counters:
    """What the storer has done so far; hand one to `run` and its `samples` to the exporter."""

    rows: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    invalid_lines: int = 0
    unknown_lines: int = 0
    failures: int = 0
    settled: Settled = field(default_factory=Settled)
    touched: Touched = field(default_factory=Touched)
    rounds: Rounds = field(default_factory=Rounds)
    latency: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    troubles: Troubles = field(default_factory=partial(Troubles, BOOKS_STORER, PRICES_STORER))

    def problem(self) -> str | None:
        """Describe what the store does not take at present, and why; None while it takes all."""
        return self.troubles.problem()

    def checks(self) -> Mapping[str, Check]:
        """Return what `/readyz` asks about the store."""
        return {"store": self.problem}

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for measurement, count in self.rows.items():
            yield "storer_rows_total", (measurement,), count
        for measurement, latency in self.latency.items():
            yield "storer_latency_seconds", (measurement,), latency
        for queue, count in self.batches.items():
            yield "storer_batches_total", (queue,), count
        yield "storer_invalid_lines_total", (), self.invalid_lines
        yield "storer_unknown_lines_total", (), self.unknown_lines
        yield "storer_failures_total", (), self.failures
        yield from self.settled.samples()
        yield from self.rounds.samples()
        for queue, is_in_trouble in self.troubles.by_queue():
            yield "storer_trouble", (queue,), is_in_trouble


async def run(
    settings: StorerSettings,
    broker: Broker,
    store: Store,
    *,
    clock: Clock,
    replay: bool = False,
    random: Random,
    stop: asyncio.Event,
    counters: Counters | None = None,
    prefetch: int = PREFETCH,
) -> None:
    """Store what `books.storer` and `prices.storer` bring until `stop` is set and what was delivered by then is stored.

    Nothing is acknowledged before the store holds it, so cancelling loses nothing either. Meanwhile gaps are claimed
    and settled, and the basis between venues is worked out. A replay has one venue, is never late, and nobody fills its
    gaps.
    """
    counters = counters or Counters()
    storer = partial(_Storer, settings, broker, store, clock, replay, partial(delays, random), counters, prefetch)
    interval = round(settings.store_book_interval * 1_000_000)
    books = partial(book_queue_points, levels=settings.book_levels, interval=interval)
    async with asyncio.TaskGroup() as background:
        settlement = Settlement(store, counters.settled, clock=clock)
        starts = Starts(store, counters.settled, clock=clock)
        basis = BasisRecord(store, counters.touched)
        works = starts.round, settlement.round, basis.round
        settling = None if replay else background.create_task(counters.rounds.run(*works, clock=clock, random=random))
        async with asyncio.TaskGroup() as consumers:
            consumers.create_task(storer(BOOKS_STORER, BOOKS_TYPE, books).run(stop))
            consumers.create_task(storer(PRICES_STORER, PRICES_TYPE, price_points).run(stop))
        if settling:
            settling.cancel()


@dataclass(slots=True)
class _Storer:
    """Brings one queue into the store: while one batch is being written, the next one collects."""

    settings: StorerSettings
    broker: Broker
    store: Store
    clock: Clock
    replay: bool
    back_off: BackOff
    counters: Counters
    prefetch: int
    queue: str
    message_type: str
    translate: Translate
    collected: Batch = field(default_factory=Batch)

    async def run(self, stop: asyncio.Event) -> None:
        """Store what the queue brings."""
        subscribe = partial(self.broker.subscribe, self.queue, self.prefetch)
        await consume(subscribe, self._turn, self.back_off, stop, self.clock, queue=self.queue)

    async def _turn(self, subscription: Subscription) -> bool:
        """Settle a batch, which begins with what has collected since the last turn; return whether there was one."""
        batch, self.collected = self.collected, Batch()
        await self._fill(batch, subscription)
        if not batch.deliveries:
            return False
        following = Batch()
        settling = asyncio.create_task(self._settle(batch))
        collecting = asyncio.create_task(self._collect(following, subscription))
        try:
            await asyncio.wait({settling, collecting}, return_when=asyncio.FIRST_COMPLETED)
            if not settling.done():
                collecting.result()  # ends early when it is full, and when the subscription is lost
            await settling
        finally:
            settling.cancel()
            collecting.cancel()  # loses nothing that was delivered
            await asyncio.gather(settling, collecting, return_exceptions=True)
        self.collected = following
        return True

    async def _collect(self, batch: Batch, subscription: Subscription) -> None:
        """Take what comes until the batch is full or the subscription finished."""
        more = True
        while more and self._has_room(batch):
            more = await self._receive(batch, subscription)
            await asyncio.sleep(0)  # let the write go on

    async def _fill(self, batch: Batch, subscription: Subscription) -> None:
        """Wait for a first message, then take what is there or comes in time, until the batch is full."""
        more = bool(batch.deliveries) or await self._receive(batch, subscription)
        while more and self._has_room(batch):
            try:
                age = self.clock.monotonic() - batch.since
                async with timeout(self.clock, self.settings.store_batch_age - age):
                    more = await self._receive(batch, subscription)
            except TimeoutError:
                break
            await asyncio.sleep(0)  # let the other queue have its turn

    async def _receive(self, batch: Batch, subscription: Subscription) -> bool:
        """Add what has come, a few messages at most, as far as there is room for full ones; return whether any came."""
        room = (self.settings.store_batch_rows - len(batch.points)) // MAX_LINES
        deliveries = await subscription.receive(min(max(1, room), AT_ONCE))
        batch.add(deliveries, self.message_type, self.translate, self.clock.monotonic())
        return bool(deliveries)

    def _has_room(self, batch: Batch) -> bool:
        return len(batch.points) < self.settings.store_batch_rows and len(batch.deliveries) < self.prefetch

    async def _settle(self, batch: Batch) -> None:
        """Bring every line of the batch to its place, then acknowledge their messages."""
        rejected = await self._write(batch.points) if batch.points else {}
        invalid = batch.invalid + [(batch.entries[index], reason) for index, reason in rejected.items()]
        for entry, reason in invalid:
            await dead_letter(
                self.broker,
                entry.line,
                reason=reason,
                queue=self.queue,
                source=entry.source,
                back_off=self.back_off,
                clock=self.clock,
            )
        await batch.deliveries[-1].ack(multiple=True)
        self._count(batch, rejected, len(invalid))

    async def _write(self, points: list[Point]) -> dict[int, str]:
        """Write until the store takes it; return the reasons of rejected points by position."""
        for delay in self.back_off():
            try:
                rejections = await self.store.write(points)
            except StoreUnavailable as error:
                self.counters.failures += 1
                self.counters.troubles.note_failure(self.queue, error)
                await self.clock.sleep(delay + (error.retry_after or 0))
            else:
                self.counters.troubles.note_success(self.queue)
                return {rejection.index: rejection.reason for rejection in rejections}
        raise AssertionError("delays have no end")

    def _count(self, batch: Batch, rejected: dict[int, str], invalid: int) -> None:
        stored = [point for index, point in enumerate(batch.points) if index not in rejected]
        self.counters.rows.update(point.measurement for point in stored)
        self.counters.settled.note(stored)
        if not self.replay:
            self.counters.touched.note(stored)
        if not self.replay:
            now = self.clock.wall()
            for point in stored:
                if point.measurement not in {GAP, START, AUDIT}:
                    self.counters.latency[point.measurement].observe(now - point.time)
        self.counters.batches[self.queue] += bool(batch.points)
        self.counters.invalid_lines += invalid
        self.counters.unknown_lines += batch.unknown_lines
