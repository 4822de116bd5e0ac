"""The storer's life: two queues in, points into the store, at least once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, NoReturn

import structlog

from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.outbox import MAX_LINES
from fairprice.broker.port import Broker, Delivery, Message, Subscription
from fairprice.broker.retry import consume
from fairprice.errors import InvalidLine, StoreUnavailable
from fairprice.messages import Book, Gap, Price, decode_line, decode_wanted
from fairprice.runtime.backoff import delays
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS_STORER, PRICES_STORER
from storer.measurements import Point, fair_price_point, gap_point, is_sampled, order_book_point
from storer.settings import StorerSettings
from storer.stores.port import Store

PREFETCH = 300
"""Messages that may wait here while a write runs; a full batch does not wait for more than that."""

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

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for measurement, count in self.rows.items():
            yield "storer_rows_total", (measurement,), count
        for queue, count in self.batches.items():
            yield "storer_batches_total", (queue,), count
        yield "storer_invalid_lines_total", (), self.invalid_lines
        yield "storer_failures_total", (), self.failures


async def run(
    settings: StorerSettings, broker: Broker, store: Store, *, random: Random, counters: Counters | None = None
) -> NoReturn:
    """Store what `books.storer` and `prices.storer` bring until cancelled.

    Nothing is acknowledged before the store holds it, so cancelling loses nothing.
    """
    storer = _Storer(settings, broker, store, random, counters or Counters())
    async with asyncio.TaskGroup() as consumers:
        consumers.create_task(storer.consume(BOOKS_STORER, storer.book_or_gap_point))
        consumers.create_task(storer.consume(PRICES_STORER, _price_point))
    raise AssertionError("consumers end only by an exception")


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

    def add(self, deliveries: list[Delivery], translate: Translate) -> None:
        """Add the points of every line that is stored."""
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


class _Storer:
    def __init__(
        self, settings: StorerSettings, broker: Broker, store: Store, random: Random, counters: Counters
    ) -> None:
        self._settings = settings
        self._interval = round(settings.store_book_interval * 1_000_000)
        self._broker = broker
        self._store = store
        self._back_off = partial(delays, random)
        self._counters = counters
        self._store_is_down = False

    async def consume(self, queue: str, translate: Translate) -> NoReturn:
        """Store what the queue brings."""

        async def work(subscription: Subscription) -> None:
            await self._settle(queue, await self._collect(subscription, translate))

        await consume(partial(self._broker.subscribe, queue, PREFETCH), work, self._back_off)

    def book_or_gap_point(self, line: bytes) -> Point | None:
        """Translate what the exchange `books` carries."""
        match decode_wanted(line, self._is_stored):
            case Book() as book:
                return order_book_point(book, self._settings.book_levels)
            case Gap() as gap:
                return gap_point(gap)
            case Price():
                raise InvalidLine(line, "a price event has no place in a queue of books")
        return None

    def _is_stored(self, fields: Mapping[str, Any]) -> bool:
        if fields["type"] != "book":
            return True
        return is_sampled(fields["event_time"], fields.get("previous_event_time"), self._interval)

    async def _collect(self, subscription: Subscription, translate: Translate) -> _Batch:
        """Wait for a first message, then take what is there or comes in time, until the batch is full."""
        batch = _Batch()
        batch.add(await subscription.receive(self._room(batch)), translate)
        deadline = asyncio.get_running_loop().time() + self._settings.store_batch_age
        while len(batch.points) < self._settings.store_batch_rows and len(batch.deliveries) < PREFETCH:
            try:
                async with asyncio.timeout_at(deadline):
                    batch.add(await subscription.receive(self._room(batch)), translate)
            except TimeoutError:
                break
        return batch

    def _room(self, batch: _Batch) -> int:
        """Return how many full messages the batch still has room for, at least one."""
        return max(1, (self._settings.store_batch_rows - len(batch.points)) // MAX_LINES)

    async def _settle(self, queue: str, batch: _Batch) -> None:
        """Bring every line of the batch to its place, then acknowledge their messages."""
        rejected = await self._write(batch.points) if batch.points else {}
        invalid = batch.invalid + [(batch.entries[index], reason) for index, reason in rejected.items()]
        for entry, reason in invalid:
            await dead_letter(
                self._broker, entry.line, reason=reason, queue=queue, source=entry.source, back_off=self._back_off
            )
        await batch.deliveries[-1].ack(multiple=True)
        self._count(queue, batch, rejected, len(invalid))

    async def _write(self, points: list[Point]) -> dict[int, str]:
        """Write until the store takes it; return the reasons of rejected points by position."""
        for delay in self._back_off():
            try:
                rejections = await self._store.write(points)
            except StoreUnavailable as error:
                self._note_failure(error)
                await asyncio.sleep(delay)
            else:
                self._note_success()
                return {rejection.index: rejection.reason for rejection in rejections}
        raise AssertionError("delays have no end")

    def _note_failure(self, error: StoreUnavailable) -> None:
        self._counters.failures += 1
        if not self._store_is_down:
            self._store_is_down = True
            log.error("the store takes nothing; keeping what came and trying again", error=str(error))

    def _note_success(self) -> None:
        if self._store_is_down:
            self._store_is_down = False
            log.info("the store works again", failures=self._counters.failures)

    def _count(self, queue: str, batch: _Batch, rejected: dict[int, str], invalid: int) -> None:
        stored = (point.measurement for index, point in enumerate(batch.points) if index not in rejected)
        self._counters.rows.update(stored)
        self._counters.batches[queue] += bool(batch.points)
        self._counters.invalid_lines += invalid


def _price_point(line: bytes) -> Point:
    event = decode_line(line)
    if isinstance(event, Price):
        return fair_price_point(event)
    raise InvalidLine(line, "only price events have a place in a queue of prices")
