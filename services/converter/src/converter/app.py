"""The converter's life: books in, prices out, at least once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from converter.copies import Copies
from converter.live import Counts, Live
from converter.pricing import Pricer
from converter.settings import ConverterSettings
from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.outbox import Outbox, Sent
from fairprice.broker.port import Broker, Delivery, Message, Subscription
from fairprice.broker.retry import consume
from fairprice.errors import InvalidError, InvalidLine, InvalidMessage, UnknownLine
from fairprice.messages import BOOKS_TYPE, PRICES_TYPE, Book, Price, check_type, decode_but_levels, lines
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Histogram, Sample
from fairprice.topology import BOOKS_CONVERTER, PRICES

APP_ID = "converter"
BATCH = 8
"""Messages worked on at a time: up to 800 books, a few hundredths of a second during which nothing else runs."""

PREFETCH = 3 * BATCH


@dataclass(slots=True)
class Counters:
    """What the converter has done so far; hand one to `run` and its `samples` to the exporter."""

    prices: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By venue and status."""
    copies: int = 0
    invalid_lines: int = 0
    unknown_lines: int = 0
    latency: Histogram = field(default_factory=Histogram)
    live: Counts = field(default_factory=Counts)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for labels, count in self.prices.items():
            yield "converter_prices_total", labels, count
        yield "converter_copies_total", (), self.copies
        yield "converter_invalid_lines_total", (), self.invalid_lines
        yield "converter_unknown_lines_total", (), self.unknown_lines
        yield "converter_latency_seconds", (), self.latency
        yield from self.live.samples()


async def run(
    settings: ConverterSettings,
    broker: Broker,
    *,
    clock: Clock,
    replay: bool = False,
    random: Random,
    stop: asyncio.Event,
    counters: Counters | None = None,
) -> None:
    """Price every book of `books.converter` until `stop` is set and what was delivered by then is done.

    Beside them quotes are priced for the live view, as many as there is time for. Cancelling loses nothing either,
    since what is not done is not acknowledged. The prices of a replay carry no time of their own.
    """
    counters = counters or Counters()
    pricer = _pricer(settings)
    converter = _Converter(pricer, broker, clock, random, counters, replay=replay)
    live = Live(pricer, broker, counters.live, APP_ID, clock=clock, back_off=converter.back_off)
    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(converter.outbox.run())
        quoting = tasks.create_task(live.run(stop))
        subscribe = partial(broker.subscribe, BOOKS_CONVERTER, PREFETCH)
        await consume(subscribe, converter.work, converter.back_off, stop, clock, queue=BOOKS_CONVERTER)
        quoting.cancel()
        publishing.cancel()


def _pricer(settings: ConverterSettings) -> Pricer:
    return Pricer(
        settings.estimator,
        settings.depth_bps,
        settings.impact_notionals,
        settings.curve_bps,
        settings.forecast_horizon,
    )


@dataclass(frozen=True, slots=True)
class _Invalid:
    """A line that will never become a price, and the message that held it."""

    line: bytes
    reason: str
    source: Message


class _Converter:
    def __init__(
        self,
        pricer: Pricer,
        broker: Broker,
        clock: Clock,
        random: Random,
        counters: Counters,
        *,
        replay: bool,
    ) -> None:
        self.back_off = partial(delays, random)
        self.outbox = Outbox(
            broker, PRICES, PRICES_TYPE, APP_ID, confirmed=_ignore, clock=clock, back_off=self.back_off
        )
        self._pricer = pricer
        self._copies = Copies()
        self._broker = broker
        self._clock = clock
        self._replay = replay
        self._counters = counters

    async def work(self, subscription: Subscription) -> bool:
        """Turn what has come into prices; acknowledge it once the broker holds them. Return whether anything came.

        Copies of what was priced are acknowledged with the rest.
        """
        deliveries = await subscription.receive(BATCH)
        if not deliveries:
            return False
        prices, invalid = self._price(deliveries)
        for price in prices:
            self.outbox.put(price)
        await self._confirmed()
        for each in invalid:
            await dead_letter(
                self._broker,
                each.line,
                reason=each.reason,
                queue=BOOKS_CONVERTER,
                source=each.source,
                back_off=self.back_off,
                clock=self._clock,
            )
        await deliveries[-1].ack(multiple=True)
        self._counters.prices.update((price.venue, price.status) for price in prices)
        for price in prices:
            if price.priced_time is not None:
                self._counters.latency.observe(price.priced_time - price.event_time)
        self._counters.invalid_lines += len(invalid)
        return True

    async def _confirmed(self) -> None:
        """Return when the broker holds all prices; until then nothing counts as priced."""
        try:
            await self.outbox.drain()
        except BaseException:
            self._copies.forget()
            raise

    def _price(self, deliveries: list[Delivery]) -> tuple[list[Price], list[_Invalid]]:
        prices: list[Price] = []
        invalid: list[_Invalid] = []
        for message in (delivery.message for delivery in deliveries):
            try:
                check_type(message.type, BOOKS_TYPE)
            except InvalidMessage as refusal:
                invalid.append(_Invalid(message.body, str(refusal), message))
                continue
            for line in lines(message.body):
                try:
                    prices.extend(self._price_line(line))
                except UnknownLine:
                    self._counters.unknown_lines += 1
                except InvalidError as error:
                    invalid.append(_Invalid(line, str(error), message))
        return prices, invalid

    def _price_line(self, line: bytes) -> list[Price]:
        event = decode_but_levels(line)
        if isinstance(event, Book):
            return self._price_book(event)
        if isinstance(event, Price):
            raise InvalidLine(line, "a price event has no place in a queue of books")
        return []  # the business of others

    def _price_book(self, book: Book) -> list[Price]:
        if self._copies.is_copy(book):
            self._counters.copies += 1
            return []
        price = self._pricer.price(book, None if self._replay else self._clock.wall())
        first_update_id = self._copies.add(book)
        return [replace(price, first_update_id=first_update_id) if first_update_id < book.first_update_id else price]


def _ignore(_prices: list[Sent]) -> None:
    """Single confirmations are of no interest: a batch of books is acknowledged when all its prices are confirmed."""
