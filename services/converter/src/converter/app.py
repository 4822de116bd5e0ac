"""The converter's life: books in, prices out, at least once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NoReturn

import structlog

from converter.pricing import Pricer
from converter.settings import ConverterSettings
from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.outbox import MAX_BYTES, MAX_LINES
from fairprice.broker.port import Broker, Delivery, Message, Subscription
from fairprice.errors import InvalidError, InvalidLine, TransientError
from fairprice.messages import PRICES_TYPE, Book, Gap, Price, decode_line, encode, join
from fairprice.runtime.backoff import delays
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS_CONVERTER, PRICES

APP_ID = "converter"
BATCH = 8
"""Messages worked on at a time: up to 800 books, a few hundredths of a second during which nothing else runs."""

PREFETCH = 3 * BATCH

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counters:
    """What the converter has done so far; hand one to `run` and its `samples` to the exporter."""

    prices: Counter[str] = field(default_factory=Counter)
    invalid_lines: int = 0

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for status, count in self.prices.items():
            yield "converter_prices_total", (status,), count
        yield "converter_invalid_lines_total", (), self.invalid_lines


async def run(
    settings: ConverterSettings,
    broker: Broker,
    *,
    clock: Callable[[], int] | None,
    random: Random,
    counters: Counters | None = None,
) -> NoReturn:
    """Price every book of `books.converter` until cancelled; cancelling loses nothing, since nothing is acknowledged.

    `clock` returns microseconds since the epoch; None in a replay, whose prices then carry no time of their own.
    """
    converter = _Converter(settings, broker, clock, random, counters or Counters())
    back_off = delays(random)
    while True:
        try:
            async with broker.subscribe(BOOKS_CONVERTER, PREFETCH) as subscription:
                while True:
                    await converter.work(subscription)
                    back_off = delays(random)
        except TransientError as error:
            log.warning("subscription lost, subscribing again", queue=BOOKS_CONVERTER, error=str(error))
            await asyncio.sleep(next(back_off))


@dataclass(frozen=True, slots=True)
class _Invalid:
    """A line that will never become a price, and the message that held it."""

    line: bytes
    reason: str
    source: Message


class _Converter:
    def __init__(
        self,
        settings: ConverterSettings,
        broker: Broker,
        clock: Callable[[], int] | None,
        random: Random,
        counters: Counters,
    ) -> None:
        self._pricer = Pricer(settings.estimator, settings.depth_bps, settings.impact_notionals, settings.book_levels)
        self._broker = broker
        self._clock = clock
        self._back_off = partial(delays, random)
        self._counters = counters

    async def work(self, subscription: Subscription) -> None:
        """Turn what has come into prices; acknowledge it once the broker holds them."""
        deliveries = await subscription.receive(BATCH)
        prices, invalid = self._price(deliveries)
        for message in _messages(prices):
            await self._publish(message)
        for each in invalid:
            await dead_letter(
                self._broker,
                each.line,
                reason=each.reason,
                queue=BOOKS_CONVERTER,
                source=each.source,
                back_off=self._back_off,
            )
        await deliveries[-1].ack(multiple=True)
        self._counters.prices.update(price.status for price in prices)
        self._counters.invalid_lines += len(invalid)

    def _price(self, deliveries: list[Delivery]) -> tuple[list[Price], list[_Invalid]]:
        prices: list[Price] = []
        invalid: list[_Invalid] = []
        for delivery in deliveries:
            for line in filter(None, delivery.message.body.split(b"\n")):
                try:
                    prices.extend(self._price_line(line))
                except InvalidError as error:
                    invalid.append(_Invalid(line, str(error), delivery.message))
        return prices, invalid

    def _price_line(self, line: bytes) -> list[Price]:
        event = decode_line(line)
        if isinstance(event, Book):
            return [self._pricer.price(event, self._clock() if self._clock else None)]
        if isinstance(event, Gap):
            return []  # the storer's business
        raise InvalidLine(line, "a price event has no place in a queue of books")

    async def _publish(self, message: Message) -> None:
        for failures, delay in enumerate(self._back_off()):
            try:
                await self._broker.publish(PRICES, message)
            except TransientError as error:
                if failures == 0:
                    log.warning("prices unconfirmed, repeating them", message_id=message.message_id, error=str(error))
                await asyncio.sleep(delay)
            else:
                if failures:
                    log.info("prices confirmed again", message_id=message.message_id, failures=failures)
                return


def _messages(prices: list[Price]) -> Iterator[Message]:
    first, lines, size = 0, list(map(encode, prices)), 0
    for position, line in enumerate(lines):
        size += len(line) + 1
        if position > first and (position - first == MAX_LINES or size > MAX_BYTES):
            yield _message(prices[first:position], lines[first:position])
            first, size = position, len(line) + 1
    if lines:
        yield _message(prices[first:], lines[first:])


def _message(prices: list[Price], lines: list[bytes]) -> Message:
    symbols = tuple(dict.fromkeys(f"{price.venue}.{price.symbol}" for price in prices))
    return Message(
        body=join(lines),
        type=PRICES_TYPE,
        message_id=f"{PRICES_TYPE}/{_identity(prices[0])}/{_identity(prices[-1])}/{len(prices)}",
        app_id=APP_ID,
        timestamp=prices[-1].priced_time or prices[-1].event_time,
        routing_key=symbols[0] if len(symbols) == 1 else "batch",
        symbols=symbols,
    )


def _identity(price: Price) -> str:
    return f"{price.venue}.{price.symbol}.{price.update_id}"
