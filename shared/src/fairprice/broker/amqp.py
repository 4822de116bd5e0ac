"""RabbitMQ as the broker, by aio-pika.

A publish is persistent, mandatory and confirmed. The promises of `fairprice.broker.port` outlast restarts, kills and
freezes of the broker, alarms, deleted queues, changed passwords and missing rights: calls fail with `BrokerUnavailable`
until the cause is gone, and work again afterwards.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from aio_pika.exceptions import ChannelClosed, DeliveryError, PublishError

from fairprice.broker.aiormq_channel import Channel, bounded
from fairprice.broker.amqp_casting import Caster
from fairprice.broker.amqp_connections import CLOSE_TIMEOUT, REPLY_TIMEOUT, Connections, Session
from fairprice.broker.amqp_delivery import AmqpSubscription, AmqpTap
from fairprice.broker.amqp_look import Look, bind, bind_new, close, take, unbind
from fairprice.broker.amqp_message import to_amqp
from fairprice.broker.majority import Request
from fairprice.broker.port import Message
from fairprice.broker.retry import BackOff
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import Clock
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Sample
from fairprice.topology import EXCHANGES, Exchange, Use

SILENCE = 10.0
"""Seconds without a delivery after which a subscription is looked at: is there nothing, or does nothing come?"""


class AmqpBroker:
    """RabbitMQ; `run` has to be running for anything to be connected.

    `url`, like `amqp://user:password@host:5672/`, or several such separated by commas, is asked before each attempt to
    connect: a new password is found without a restart, and the nodes of a cluster have their turns. `name` is what
    RabbitMQ lists the connections under. `back_off` makes the pauses between attempts to connect, and between those to
    publish while a queue is full. A publish waits `publish_timeout` seconds in all, for a connection, for room and for
    its confirmation; opening a subscription or a tap takes `reply_timeout` seconds at most. After `silence` seconds
    without a delivery the broker is asked whether there is nothing. A node that leaves open what only most of the nodes
    can answer (`fairprice.broker.majority`) is given up for the next one. Of the `exchanges` and
    their queues only those in `use` are looked after, all where there is none.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        name: str,
        clock: Clock,
        back_off: BackOff,
        publish_timeout: float = 30.0,
        reply_timeout: float = REPLY_TIMEOUT,
        silence: float = SILENCE,
        exchanges: Iterable[Exchange] = EXCHANGES,
        use: Use | None = None,
    ) -> None:
        exchanges = tuple(exchanges)
        self._connections = Connections(url, name=name, clock=clock, back_off=back_off, exchanges=exchanges, use=use)
        self._caster = Caster(
            lambda: self._connections.open_another("casts"), self._is_there, clock=clock, back_off=back_off
        )
        self._live = {name for exchange in exchanges if exchange.live for name in (exchange.name, *exchange.queues)}
        self._clock = clock
        self._back_off = back_off
        self._publish_timeout = publish_timeout
        self._reply_timeout = reply_timeout
        self._silence = silence
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._problems: dict[str, str] = {}
        self._attempts: dict[_Attempt, None] = {}
        self._published: Counter[tuple[str, str]] = Counter()
        self._delivered: Counter[tuple[str, str]] = Counter()
        self._subscribed: dict[str, int] = {}
        self._left: dict[str, str] = {}

    async def run(self) -> NoReturn:
        """Keep the connections until cancelled, then close them."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._caster.run())
            await self._connections.run()

    async def publish(self, exchange: str, message: Message) -> None:
        """See `Broker.publish`."""
        attempt = _Attempt(exchange, self._clock.monotonic())
        self._attempts[attempt] = None
        try:
            async with self._bounded(f"publishing to {exchange!r}", attempt.request, self._publish_timeout):
                await self._until_accepted(attempt, message)
        except BrokerUnavailable:
            self._published[exchange, "unknown"] += 1
            raise
        finally:
            del self._attempts[attempt]
        self._published[exchange, "confirmed"] += 1

    def cast(self, exchange: str, message: Message) -> bool:
        """See `Broker.cast`: transient, not mandatory, unconfirmed, on a connection that nothing else uses."""
        return self._caster.cast(exchange, message)

    @asynccontextmanager
    async def subscribe(self, queue: str, prefetch: int) -> AsyncIterator[AmqpSubscription]:
        """See `Broker.subscribe`."""
        doing, is_live = f"consuming {queue!r}", queue in self._live
        self._subscribed.setdefault(queue, 0)
        async with self._consuming(doing, is_live=is_live) as (session, channel):
            subscription = AmqpSubscription(channel, queue, self._delivered)
            async with self._bounded(doing, self._asked(session), is_live=is_live):
                await channel.limit(prefetch)
                await subscription.begin(queue)
            self._subscribed[queue] += 1
            try:
                async with self._looked_at(subscription, session, partial(take, queue), is_live=is_live):
                    yield subscription
            finally:
                self._subscribed[queue] -= 1
                subscription.end("left")

    @asynccontextmanager
    async def tap(self, exchange: str, capacity: int) -> AsyncIterator[AmqpTap]:
        """See `Broker.tap`; the queue is named by the broker (`amq.gen-...`) and ends with its consumer."""
        doing, is_live = f"tapping {exchange!r}", exchange in self._live
        async with self._consuming(doing, is_live=is_live) as (session, channel):
            tap = AmqpTap(channel, f"tap of {exchange}", self._delivered, capacity)
            async with self._bounded(doing, self._asked(session), is_live=is_live):
                await self._unbind_left(session)
                queue = await channel.declare_tap(capacity)
                try:
                    await bind_new(channel, queue, exchange, session)
                    await tap.begin(queue)
                except BaseException:
                    self._left[queue] = exchange  # it may be bound, and its node going
                    raise
            try:
                async with self._looked_at(tap, session, partial(bind, queue, exchange), is_live=is_live):
                    yield tap
            finally:
                tap.end("left")
                self._left[queue] = exchange
                with suppress(BrokerUnavailable):
                    async with bounded("deleting the queue of a tap", CLOSE_TIMEOUT):
                        await channel.delete(queue)
                        self._left.pop(queue, None)  # another tap may have unbound it meanwhile

    async def _unbind_left(self, session: Session) -> None:
        """Unbind the queues of taps that were lost: one whose node is down would hold up all who publish."""
        for queue, exchange in list(self._left.items()):
            await unbind(queue, exchange, session)
            self._left.pop(queue, None)

    def problem(self) -> str | None:
        """Describe what keeps messages from passing; None while nothing does."""
        problems = list(self._reasons())
        if self._connections.is_connected:
            problems += self._problems.values()
        return "; ".join(problems) or None

    def checks(self) -> Mapping[str, Check]:
        """Return what `/readyz` asks."""
        return {"broker": self.problem}

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        yield "broker_connected", (), int(self._connections.is_connected)
        yield "broker_blocked", (), int(self._connections.is_blocked)
        yield "broker_missing_objects", (), len(self._connections.missing)
        yield "broker_unsafe_queues", (), len(self._connections.unsafe)
        yield "broker_lost_connections_total", (), self._connections.losses
        for labels, count in self._published.items():
            yield "broker_publishes_total", labels, count
        for labels, count in self._caster.counts.items():
            yield "broker_casts_total", labels, count
        for labels, count in self._delivered.items():
            yield "broker_deliveries_total", labels, count
        for queue, count in self._subscribed.items():
            if queue in self._live and not count:
                continue  # an old broker has none, which is no alarm
            yield "broker_subscriptions", (queue,), count
        yield "broker_unconfirmed_messages", (), len(self._attempts)
        now = self._clock.monotonic()
        yield "broker_unconfirmed_seconds", (), now - min((attempt.began for attempt in self._attempts), default=now)

    async def _until_accepted(self, attempt: "_Attempt", message: Message) -> None:
        """Publish until every queue has taken it; a full one refuses, and the broker does not say when it has room."""
        properties = to_amqp(message)
        for pause in self._back_off():
            session, channel = await self._publishing()
            attempt.request.ask(session, self._clock.monotonic())
            try:
                await channel.publish(attempt.exchange, message.routing_key, message.body, properties)
            except PublishError:  # a DeliveryError as well: nothing is bound
                self._connections.check_soon()
                raise
            except DeliveryError:
                attempt.is_refused = True
                attempt.request.answer()
                self._published[attempt.exchange, "rejected"] += 1
                await self._clock.sleep(pause)
            else:
                return

    async def _publishing(self) -> tuple[Session, Channel]:
        """Return the one channel to publish on, opened again when it or its connection was lost; wait while blocked."""
        session = await self._connections.session()
        await session.unblocked()
        async with self._opening:
            if not self._channel or not self._channel.serves(session.publishing):
                self._channel = await Channel.open(session.publishing, confirms=True)
        return session, self._channel

    @asynccontextmanager
    async def _consuming(self, doing: str, *, is_live: bool) -> AsyncIterator[tuple[Session, Channel]]:
        """Open a channel to consume on; closing it returns to the broker what is unsettled."""
        async with self._bounded(doing, is_live=is_live):
            session = await self._connections.session()
            channel = await Channel.open(session.consuming, confirms=False)
        try:
            yield session, channel
        finally:
            await close(channel)

    @asynccontextmanager
    async def _looked_at(
        self, subscription: AmqpSubscription, session: Session, look: Look, *, is_live: bool
    ) -> AsyncIterator[None]:
        """Look at a subscription whenever it is silent, and end it when it is not as it should be."""
        looking = asyncio.create_task(self._look_at(subscription, session, look, is_live=is_live))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    async def _look_at(self, subscription: AmqpSubscription, session: Session, look: Look, *, is_live: bool) -> None:
        try:
            while True:
                await subscription.silence(self._clock, self._silence)
                request = self._asked(session)
                giving_up = self._given_up_for(request, self._reply_timeout, is_live=is_live)
                async with giving_up, bounded(f"looking at {subscription.name!r}", self._reply_timeout):
                    await look(session)
        except BrokerUnavailable as error:
            subscription.end(str(error))

    def _asked(self, session: Session) -> Request[Session]:
        return Request(session, self._clock.monotonic())

    @asynccontextmanager
    async def _given_up_for(self, request: Request[Session], patience: float, *, is_live: bool) -> AsyncIterator[None]:
        """Doubt the node that owes an answer when the patience with it has ended."""
        try:
            yield
        except BrokerUnavailable as error:
            session = request.debtor(self._clock.monotonic(), patience)
            if session and isinstance(error.__cause__, TimeoutError) and not is_live:
                self._connections.doubt(session, str(error))
            raise

    @asynccontextmanager
    async def _bounded(
        self,
        doing: str,
        request: Request[Session] | None = None,
        seconds: float | None = None,
        *,
        is_live: bool = False,
    ) -> AsyncIterator[None]:
        """Bound it in time, raise `BrokerUnavailable` with all that is known, and remember it until it works again.

        What `is_live` only is no problem of the service's.
        """
        seconds = seconds or self._reply_timeout
        try:
            async with self._given_up_for(request or Request(), seconds, is_live=is_live), bounded(doing, seconds):
                yield
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, ChannelClosed):
                self._connections.check_soon()
            if not is_live:
                self._problems[doing] = str(error)
            raise BrokerUnavailable("; ".join([str(error), *self._reasons()])) from error
        self._problems.pop(doing, None)

    def _is_there(self, exchange: str) -> bool:
        """Whether a message for a live exchange has a chance."""
        return self._connections.is_connected and f"exchange {exchange}" not in self._connections.absent

    def _reasons(self) -> Iterator[str]:
        """Yield what is known to be wrong, whatever was asked."""
        yield from self._connections.problems()
        for exchange in {attempt.exchange for attempt in self._attempts if attempt.is_refused}:
            yield f"a queue of exchange {exchange!r} is full; are its consumers alive?"


@dataclass(slots=True, eq=False)
class _Attempt:
    """A publish that is under way, begun at a second of the clock; refused means that a queue was full."""

    exchange: str
    began: float
    is_refused: bool = False
    request: Request[Session] = field(default_factory=Request)
