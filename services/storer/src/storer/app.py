"""The storer's life: two queues in, points into the store, at least once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random

import structlog

from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.port import Broker, Delivery, Message, Subscription
from fairprice.broker.retry import BackOff, consume
from fairprice.errors import InvalidLine, StoreUnavailable
from fairprice.messages import MAX_LINES, Book, Gap, Price, decode_line, decode_wanted
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Histogram, Sample
from fairprice.topology import BOOKS_STORER, PRICES_STORER
from storer.measurements import GAP, Point, fair_price_point, gap_point, is_sampled, order_book_point
from storer.settings import StorerSettings
from storer.stores.port import Store

PREFETCH = 300
"""Messages that may wait here while a write runs; a full batch does not wait for more than that."""

AT_ONCE = 4
"""Messages that are translated in one go; a few hundred lines keep the event loop for some milliseconds."""

log = structlog.get_logger(__name__)

Translate = Callable[[bytes], Point | None]
"""Returns the point of a line, None if it is not stored; raises `InvalidLine`, also for what the queue may not hold."""


@dataclass(slots=True)
class Counters:
    """What the storer has done so far; hand one to `run` and its `samples` to the exporter."""

    rows: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    invalid_lines: int = 0
    failures: int = 0
    latency: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    trouble: str | None = None
    """Why the store takes nothing at present, in words for a person; None while it does."""

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for measurement, count in self.rows.items():
            yield "storer_rows_total", (measurement,), count
        for measurement, latency in self.latency.items():
            yield "storer_latency_seconds", (measurement,), latency
        for queue, count in self.batches.items():
            yield "storer_batches_total", (queue,), count
        yield "storer_invalid_lines_total", (), self.invalid_lines
        yield "storer_failures_total", (), self.failures


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
) -> None:
    """Store what `books.storer` and `prices.storer` bring until `stop` is set and what was delivered by then is stored.

    Nothing is acknowledged before the store holds it, so cancelling loses nothing either. A replay is never late.
    """
    storer = partial(_Storer, settings, broker, store, clock, replay, partial(delays, random), counters or Counters())
    async with asyncio.TaskGroup() as consumers:
        consumers.create_task(storer(BOOKS_STORER, partial(_book_or_gap_point, settings)).run(stop))
        consumers.create_task(storer(PRICES_STORER, _price_point).run(stop))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line with the message that held it."""

    line: bytes
    source: Message


@dataclass(slots=True)
class _Batch:
    """What one write takes; `entries` belong to `points`, one each."""

    points: list[Point] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)
    invalid: list[tuple[_Entry, str]] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    since: float = 0.0

    def add(self, deliveries: list[Delivery], translate: Translate, now: float) -> None:
        """Add the points of every line that is stored; `since` is when the first ones came."""
        self.since = self.since or now
        self.deliveries += deliveries
        for delivery in deliveries:
            for line in filter(None, delivery.message.body.split(b"\n")):
                self._add_line(_Entry(line, delivery.message), translate)

    def _add_line(self, entry: _Entry, translate: Translate) -> None:
        try:
            point = translate(entry.line)
        except (InvalidLine, ValueError) as error:
            self.invalid.append((entry, str(error)))
            return
        if point:
            self.points.append(point)
            self.entries.append(entry)


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
    queue: str
    translate: Translate
    collected: _Batch = field(default_factory=_Batch)

    async def run(self, stop: asyncio.Event) -> None:
        """Store what the queue brings."""
        subscribe = partial(self.broker.subscribe, self.queue, PREFETCH)
        await consume(subscribe, self._turn, self.back_off, stop, self.clock)

    async def _turn(self, subscription: Subscription) -> bool:
        """Settle a batch, which begins with what has collected since the last turn; return whether there was one."""
        batch, self.collected = self.collected, _Batch()
        await self._fill(batch, subscription)
        if not batch.deliveries:
            return False
        settling = asyncio.create_task(self._settle(batch))
        try:
            collected = _Batch()
            async with _until_done(settling):
                more = True
                while more and self._has_room(collected):
                    more = await self._receive(collected, subscription)
                    await asyncio.sleep(0)  # let the write go on
            await settling
            self.collected = collected
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
        return True

    async def _fill(self, batch: _Batch, subscription: Subscription) -> None:
        """Wait for a first message, then take what is there or comes in time, until the batch is full."""
        more = bool(batch.deliveries) or await self._receive(batch, subscription)
        while more and self._has_room(batch):
            try:
                async with asyncio.timeout_at(batch.since + self.settings.store_batch_age):
                    more = await self._receive(batch, subscription)
            except TimeoutError:
                break
            await asyncio.sleep(0)  # let the other queue have its turn

    async def _receive(self, batch: _Batch, subscription: Subscription) -> bool:
        """Add what has come, a few messages at most, as far as there is room for full ones; return whether any came."""
        room = (self.settings.store_batch_rows - len(batch.points)) // MAX_LINES
        deliveries = await subscription.receive(min(max(1, room), AT_ONCE))
        batch.add(deliveries, self.translate, asyncio.get_running_loop().time())
        return bool(deliveries)

    def _has_room(self, batch: _Batch) -> bool:
        return len(batch.points) < self.settings.store_batch_rows and len(batch.deliveries) < PREFETCH

    async def _settle(self, batch: _Batch) -> None:
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
                self._note_failure(error)
                await self.clock.sleep(delay + (error.retry_after or 0))
            else:
                self._note_success()
                return {rejection.index: rejection.reason for rejection in rejections}
        raise AssertionError("delays have no end")

    def _note_failure(self, error: StoreUnavailable) -> None:
        self.counters.failures += 1
        if self.counters.trouble != str(error):
            log.error("the store takes nothing; keeping what came and trying again", error=str(error))
        self.counters.trouble = str(error)

    def _note_success(self) -> None:
        if self.counters.trouble:
            self.counters.trouble = None
            log.info("the store works again", failures=self.counters.failures)

    def _count(self, batch: _Batch, rejected: dict[int, str], invalid: int) -> None:
        stored = [point for index, point in enumerate(batch.points) if index not in rejected]
        self.counters.rows.update(point.measurement for point in stored)
        if not self.replay:
            now = self.clock.wall()
            for point in stored:
                if point.measurement != GAP:
                    self.counters.latency[point.measurement].observe(now - point.time)
        self.counters.batches[self.queue] += bool(batch.points)
        self.counters.invalid_lines += invalid


@asynccontextmanager
async def _until_done(task: asyncio.Task[None]) -> AsyncIterator[None]:
    """Leave the block, wherever it waits, when the task has ended."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as patience:

            def end(_: asyncio.Task[None]) -> None:
                with suppress(RuntimeError):  # the block was left in the same turn of the event loop
                    patience.reschedule(0)

            task.add_done_callback(end)
            try:
                yield
            finally:
                task.remove_done_callback(end)


def _book_or_gap_point(settings: StorerSettings, line: bytes) -> Point | None:
    interval = round(settings.store_book_interval * 1_000_000)
    match decode_wanted(line, partial(_is_stored, interval)):
        case Book() as book:
            return order_book_point(book, settings.book_levels)
        case Gap() as gap:
            return gap_point(gap)
        case Price():
            raise InvalidLine(line, "a price event has no place in a queue of books")
    return None


def _is_stored(interval: int, book: Book) -> bool:
    return is_sampled(book.event_time, book.previous_event_time, interval)


def _price_point(line: bytes) -> Point:
    event = decode_line(line)
    if isinstance(event, Price):
        return fair_price_point(event)
    raise InvalidLine(line, "only price events have a place in a queue of prices")
