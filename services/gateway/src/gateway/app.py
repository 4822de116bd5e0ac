"""The gateway's life: watches the broker's exchanges and serves what it saw."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import partial

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from fairprice.broker.port import Broker, Message, Subscription
from fairprice.broker.retry import BackOff, consume
from fairprice.messages import BOOKS_TYPE, LIVE_TYPE, PRICES_TYPE
from fairprice.runtime.clock import Clock
from fairprice.runtime.health import NOTHING, Check, health_routes, serve
from fairprice.runtime.metrics import Exporter, Sample
from fairprice.topology import BOOKS, LIVE, PRICES
from gateway.answers import fallback_routes
from gateway.api import Api
from gateway.audience import MAX_LISTENERS, Audience
from gateway.earlier import Earlier
from gateway.history_api import HistoryApi
from gateway.instrument import FORGOTTEN_AFTER, Limits, moment
from gateway.key import Key
from gateway.market import Market, News
from gateway.overview import Overview
from gateway.own_names import OwnNames
from gateway.page import page_routes
from gateway.past import Past
from gateway.run import NEW_RUN_AFTER
from gateway.settings import GatewaySettings
from gateway.stored.opening import open_history
from gateway.stored.port import History
from gateway.stream import BEAT, HEARTBEAT, LIVE_FRAMES, Stream

TAP_CAPACITY = 200
"""Messages that may wait in a tap before it forgets the oldest."""

AT_ONCE = 16
"""Messages taken before other work gets its turn: some 10 ms at a hundred events each."""

MAX_UNKNOWN_TYPES = 100
"""Of more types of messages than that the log is not told."""

log = structlog.get_logger(__name__)


async def run(
    settings: GatewaySettings,
    broker: Broker,
    *,
    clock: Clock,
    back_off: BackOff,
    stop: asyncio.Event,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    notes: Mapping[str, Check] = NOTHING,
    expected: Iterable[tuple[str, str]] = (),
    on_serving: Callable[[str], None] = lambda _url: None,
    tap_capacity: int = TAP_CAPACITY,
    max_listeners: int = MAX_LISTENERS,
    forgotten_after: float = FORGOTTEN_AFTER,
    new_run_after: float = NEW_RUN_AFTER,
    history: History | None = None,
    beat: float = BEAT,
    heartbeat: float = HEARTBEAT,
) -> None:
    """Serve the page, `/api`, `/ws` and the health routes until `stop` is set; `on_serving` is called with the address.

    `expected` are venue and name of symbols that are shown as waiting before their first event; others are forgotten
    after `forgotten_after` seconds of silence. A feed that brings only older events for `new_run_after` seconds has
    started over. Books and moments are sent each `beat` seconds; a listener that
    has been silent for `heartbeat` seconds is pinged, and let go when it does not answer.
    `history` is where the past is read, None for where the settings say; it is closed in the end.
    `registry`, `checks` and `notes` are what `/metrics` and `/readyz` tell beside the gateway's own; the page shows
    what `checks` find, too. Raises `StartupError` when the address cannot be had.
    """
    limits = Limits(
        settings.history_minutes,
        settings.stale_after,
        max_symbols=settings.max_symbols,
        forgotten_after=forgotten_after,
        new_run_after=new_run_after,
        basis_bound=settings.basis_bound,
    )
    market = Market(limits, [Key(*each) for each in expected])
    past = Past(history or open_history(settings.store_url, settings.store_token), clock)
    gateway = Gateway(
        settings, market, Audience(max_listeners), checks, clock, past=past, beat=beat, heartbeat=heartbeat
    )
    registry.register(Exporter(gateway.samples))
    routes = [
        *health_routes({**checks, "prices": gateway.problem}, registry, {**notes, "page": market.note}),
        *gateway.routes(),
    ]
    watch = partial(_watch, broker, capacity=tap_capacity, back_off=back_off, stop=stop, clock=clock)
    async with aclosing(past), aclosing(gateway.earlier), serve(routes, settings.http_host, settings.http_port) as url:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch(PRICES, gateway.take_prices))
                tasks.create_task(watch(BOOKS, gateway.take_books))
                tasks.create_task(watch(LIVE, gateway.take_live))
                beating = tasks.create_task(gateway.stream.beat())
                log.info("gateway serves", url=url)
                on_serving(url)
                await stop.wait()
                beating.cancel()
        finally:
            gateway.audience.close()


class Gateway:
    """Ties what was seen to those who look at it."""

    def __init__(
        self,
        settings: GatewaySettings,
        market: Market,
        audience: Audience,
        checks: Mapping[str, Check],
        clock: Clock,
        *,
        past: Past,
        beat: float,
        heartbeat: float,
    ) -> None:
        self.market = market
        self.audience = audience
        self._names = OwnNames(settings.http_host, settings.http_names, clock)
        self.stream = Stream(
            market,
            audience,
            partial(_problems, checks),
            clock,
            is_foreign=self._names.is_foreign,
            beat=beat,
            heartbeat=heartbeat,
        )
        self._api = Api(market, clock, history_minutes=settings.history_minutes)
        self._history_api = HistoryApi(market, past)
        self.earlier = Earlier(past, clock)
        self._overview = Overview(market, self.earlier, clock)
        self._clock = clock
        self._unknown_types: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return all routes but those of health, which answer to every name."""
        routes = [
            *self._api.routes(),
            *self._history_api.routes(),
            *self._overview.routes(),
            *self.stream.routes(),
            *page_routes(),
            *fallback_routes(),
        ]
        return [self._names.guard(route) for route in routes]

    def take_prices(self, message: Message) -> None:
        """Take a message of the exchange `prices`."""
        if self._is_known(message, PRICES_TYPE):
            self._send(self.market.take(message.body, moment(self._clock)))

    def take_books(self, message: Message) -> None:
        """Take a message of the exchange `books`."""
        if self._is_known(message, BOOKS_TYPE):
            self._send(self.market.take_books(message.body, len(message.symbols), moment(self._clock)))

    def take_live(self, message: Message) -> None:
        """Take a message of the exchange `live`."""
        if self._is_known(message, LIVE_TYPE):
            self._send(self.market.take_live(message.body, moment(self._clock)), extra=LIVE_FRAMES)

    def problem(self) -> str | None:
        """Return in words which symbols have no fresh price."""
        return self.market.problem(self._clock.monotonic())

    def samples(self) -> Iterator[Sample]:
        """Yield the gateway's metrics."""
        yield "gateway_clients", (), len(self.audience)
        yield "gateway_dropped_messages_total", (), self.audience.dropped
        now = self._clock.monotonic()
        for instrument in self.market:
            age = instrument.age(now)
            if age is not None:
                yield "gateway_price_age_seconds", instrument.key, age
            if instrument.live.line:
                yield "gateway_disputed", instrument.key, instrument.is_disputed(now)
            basis = self.market.basis(instrument, now)
            if basis["basis_bps"] is not None:
                yield "gateway_basis_beyond", instrument.key, basis["basis_beyond"]

    def _send(self, news: list[News], *, extra: str = "") -> None:
        if self.audience:
            for key, line in news:
                self.audience.send(key, line, extra=extra)

    def _is_known(self, message: Message, known: str) -> bool:
        """Return whether the message can be read; of each type that cannot, the log is told once."""
        if message.type in {"", known}:
            return True
        if message.type not in self._unknown_types and len(self._unknown_types) < MAX_UNKNOWN_TYPES:
            self._unknown_types.add(message.type)
            log.warning("messages of an unknown type are not shown", type=message.type, known=known)
        return False


def _problems(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := check())}


async def _watch(
    broker: Broker,
    exchange: str,
    take: Callable[[Message], None],
    *,
    capacity: int,
    back_off: BackOff,
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

    await consume(partial(broker.tap, exchange, capacity), work, back_off, stop, clock, queue=f"tap of {exchange}")
