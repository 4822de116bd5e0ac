"""Prices quotes for the live view: as soon as it can, and none that came too late; what is lost is lost.

It takes one message at a time and lets other work go first, so that the books of the record lose no time by it.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import structlog

from converter.pricing import Pricer
from fairprice.broker.port import Broker, Message, Subscription
from fairprice.broker.retry import BackOff, consume
from fairprice.errors import InvalidError, InvalidLine, UnknownLine
from fairprice.messages import (
    LIVE_TYPE,
    QUOTES_TYPE,
    Quote,
    check_type,
    decode_but_levels,
    encode,
    join,
    lines,
)
from fairprice.messages import Live as LivePrice
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Histogram, Sample
from fairprice.runtime.occasional import Occasional
from fairprice.topology import LIVE, QUOTES_CONVERTER

SYMBOLS = 5000
"""Of so many the newest quote is remembered, of those heard last."""

PREFETCH = 4
"""Messages at hand: what is not, the broker may forget when it is a second old."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """What became of the quotes."""

    prices: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By venue and status."""
    copies: int = 0
    invalid: int = 0
    latency: Histogram = field(default_factory=Histogram)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for labels, count in self.prices.items():
            yield "converter_live_prices_total", labels, count
        yield "converter_quote_copies_total", (), self.copies
        yield "converter_invalid_quotes_total", (), self.invalid
        yield "converter_live_latency_seconds", (), self.latency


class Live:
    """Takes quotes from their queue and casts their prices."""

    def __init__(
        self, pricer: Pricer, broker: Broker, counts: Counts, app_id: str, *, clock: Clock, back_off: BackOff
    ) -> None:
        self._pricer = pricer
        self._broker = broker
        self._counts = counts
        self._app_id = app_id
        self._clock = clock
        self._back_off = back_off
        self._occasional = Occasional(clock)
        self._newest: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, or cancelled."""
        subscribe = partial(self._broker.subscribe, QUOTES_CONVERTER, PREFETCH)
        await consume(subscribe, self._work, self._back_off, stop, self._clock, queue=QUOTES_CONVERTER)

    async def _work(self, subscription: Subscription) -> bool:
        """Price one message, which is settled at once, whatever becomes of it. Return whether one came."""
        deliveries = await subscription.receive(1)
        for delivery in deliveries:
            await delivery.ack()
            self._take(delivery.message)
        await asyncio.sleep(0)
        return bool(deliveries)

    def _take(self, message: Message) -> None:
        prices = list(self._prices(message))
        if prices:
            body = join(map(encode, prices))
            name = message.message_id.replace(QUOTES_TYPE, LIVE_TYPE, 1)
            priced = Message(
                body, LIVE_TYPE, name, self._app_id, self._clock.wall(), message.routing_key, message.symbols
            )
            self._broker.cast(LIVE, priced)

    def _prices(self, message: Message) -> Iterator[LivePrice]:
        try:
            check_type(message.type, QUOTES_TYPE)
        except InvalidError as refusal:
            self._pass_over(refusal)
            return
        for line in lines(message.body):
            try:
                yield from self._price(line)
            except UnknownLine:
                continue  # of a later version
            except InvalidError as error:
                self._pass_over(error)

    def _price(self, line: bytes) -> Iterator[LivePrice]:
        quote = decode_but_levels(line)
        if not isinstance(quote, Quote):
            raise InvalidLine(line, "no quote")
        key = quote.venue, quote.symbol
        if not _is_newer(quote, self._newest.get(key, (-1, -1))):
            self._counts.copies += 1
            self._newest.move_to_end(key)
            return
        now = self._clock.wall()
        live = live_price(self._pricer, quote, now)
        self._newest[key] = quote.ticker_id, quote.event_time
        self._newest.move_to_end(key)
        if len(self._newest) > SYMBOLS:
            self._newest.popitem(last=False)
        self._counts.prices[quote.venue, live.status] += 1
        self._counts.latency.observe(now - quote.received_time)
        yield live

    def _pass_over(self, error: InvalidError) -> None:
        self._counts.invalid += 1
        if (before := self._occasional.due("invalid")) is not None:
            log.warning("quotes cannot be priced, the live view lacks them", problem=str(error), before=before)


def _is_newer(quote: Quote, than: tuple[int, int]) -> bool:
    """Return whether it tells more than one of this ticker and time: two crawlers bring most of them twice.

    Ids that begin anew belong to later books.
    """
    ticker_id, event_time = than
    return quote.ticker_id > ticker_id or quote.event_time > event_time


def live_price(pricer: Pricer, quote: Quote, priced_time: int) -> LivePrice:
    """Return the price that a book of these levels would have; raises `InvalidMarketData`."""
    status, values = pricer.evaluate(quote)
    return LivePrice(
        quote.venue,
        quote.symbol,
        quote.first_update_id,
        quote.update_id,
        quote.event_time,
        quote.ticker_id,
        quote.received_time,
        priced_time,
        pricer.estimator,
        status,
        values[pricer.estimator],
        quote.bids,
        quote.asks,
        values,
    )
