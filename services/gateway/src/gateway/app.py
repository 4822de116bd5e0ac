"""The gateway's life: watches the broker's exchanges and serves what it saw."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from random import Random
from types import MappingProxyType

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from fairprice.broker.port import Broker, Message, Subscription
from fairprice.broker.retry import BackOff, consume
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock
from fairprice.runtime.health import Check, health_routes, serve
from fairprice.runtime.metrics import Exporter, Sample
from fairprice.topology import BOOKS, PRICES
from gateway.answers import elsewhere
from gateway.api import Api
from gateway.audience import Audience
from gateway.market import Instrument, Market
from gateway.page import page_routes
from gateway.settings import GatewaySettings
from gateway.stream import Stream

TAP_CAPACITY = 200
"""Messages that may wait in a tap before it forgets the oldest."""

AT_ONCE = 16
"""Messages taken before other work gets its turn: some 10 ms at a hundred events each."""

log = structlog.get_logger(__name__)


async def run(
    settings: GatewaySettings,
    broker: Broker,
    *,
    clock: Clock,
    stop: asyncio.Event,
    registry: CollectorRegistry | None = None,
    checks: Mapping[str, Check] = MappingProxyType({}),
    expected: Iterable[str] = (),
    on_serving: Callable[[str], None] = lambda _url: None,
    back_off: BackOff = lambda: delays(Random()),  # noqa: S311  jitter
) -> None:
    """Serve the page, `/api`, `/ws` and the health routes until `stop` is set; `on_serving` is called with the address.

    `expected` are symbols that are shown as waiting before their first event.
    `registry` and `checks` are what `/metrics` and `/readyz` tell beside the gateway's own.
    Raises `StartupError` when the address cannot be had.
    """
    gateway = Gateway(settings, clock, expected)
    registry = registry or CollectorRegistry()
    registry.register(Exporter(gateway.samples))
    routes = [*health_routes({**checks, "prices": gateway.problem}, registry), *gateway.routes()]
    async with serve(routes, settings.http_host, settings.http_port) as url:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_watch(broker, PRICES, gateway.take_prices, back_off, stop=stop, clock=clock))
                tasks.create_task(_watch(broker, BOOKS, gateway.take_books, back_off, stop=stop, clock=clock))
                beating = tasks.create_task(gateway.stream.beat())
                log.info("gateway serves", url=url)
                on_serving(url)
                await stop.wait()
                beating.cancel()
        finally:
            gateway.audience.close()


class Gateway:
    """Ties what was seen to those who look at it."""

    def __init__(self, settings: GatewaySettings, clock: Clock, expected: Iterable[str]) -> None:
        self._clock = clock
        self._stale_after = settings.stale_after
        self.market = Market(settings.history_minutes, expected)
        self.audience = Audience()
        self.stream = Stream(self.market, self.audience, clock.wall, stale_after=settings.stale_after)
        self._api = Api(
            self.market, clock.wall, stale_after=settings.stale_after, history_minutes=settings.history_minutes
        )

    def routes(self) -> list[web.RouteDef]:
        """Return all routes but those of health."""
        return [*self._api.routes(), *self.stream.routes(), *page_routes(), *elsewhere()]

    def take_prices(self, message: Message) -> None:
        """Take a message of the exchange `prices`."""
        self._tell(self.market.take(message.body, self._clock.wall()))

    def take_books(self, message: Message) -> None:
        """Take a message of the exchange `books`."""
        self._tell(self.market.take_books(message.body, len(message.symbols), self._clock.wall()))

    def problem(self) -> str | None:
        """Return in words which symbols have no fresh price."""
        late = [words for each in self.market if (words := self._lateness(each))]
        if not self.market.names():
            return "no event has arrived from the broker yet"
        return "; ".join(late) or None

    def samples(self) -> Iterator[Sample]:
        """Yield the gateway's metrics."""
        yield "gateway_clients", (), len(self.audience)
        yield "gateway_dropped_messages_total", (), self.audience.dropped
        for instrument in self.market:
            age = instrument.feed(self._clock.wall(), self._stale_after)["age_seconds"]
            if age is not None:
                yield "gateway_price_age_seconds", (instrument.symbol,), age

    def _tell(self, news: list[tuple[str, bytes]]) -> None:
        if self.audience:
            for symbol, line in news:
                self.audience.tell(symbol, line)

    def _lateness(self, instrument: Instrument) -> str | None:
        feed = instrument.feed(self._clock.wall(), self._stale_after)
        match feed["state"]:
            case "waiting":
                return f"{instrument.symbol}: waiting for the first price"
            case "stale":
                return f"{instrument.symbol}: no price for {feed['age_seconds']:.1f} s, limit {self._stale_after:g} s"
        return None


async def _watch(
    broker: Broker,
    exchange: str,
    take: Callable[[Message], None],
    back_off: BackOff,
    *,
    stop: asyncio.Event,
    clock: Clock,
) -> None:
    """Hand each message of an exchange to `take`; a tap that breaks is made again."""

    async def work(tap: Subscription) -> bool:
        deliveries = await tap.receive(AT_ONCE)
        for delivery in deliveries:
            take(delivery.message)
        await asyncio.sleep(0)
        return bool(deliveries)

    await consume(partial(broker.tap, exchange, TAP_CAPACITY), work, back_off, stop, clock)
