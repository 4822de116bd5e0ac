"""Looks whether RabbitMQ has what a service uses, and declares what it lacks where it may.

Looking is passive; since RabbitMQ 4.3 it needs some right on what is looked at, so a service looks at what it uses.
Declaring an existing object needs the right to configure it, so only what is missing is declared: with the definitions
of rabbitmq/ imported, nothing ever is. What is declared carries as arguments what those give by policy, since a queue
cannot be declared again with other ones.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.common import FieldTable

from fairprice.broker.aiormq_channel import bounded
from fairprice.broker.amqp_message import PERSISTENT
from fairprice.errors import BrokerUnavailable
from fairprice.topology import (
    DELIVERY_LIMIT,
    LAST_RESORT_BYTES,
    LAST_RESORT_DELIVERY_LIMIT,
    LIVE_MESSAGES,
    LIVE_MILLISECONDS,
    QUEUE_BYTES,
    Exchange,
    Use,
)

BARE: FieldTable = {"x-queue-type": "quorum"}
"""The arguments of the definitions' queues, whose limits are policies, and of Fairprice's first version, without."""

DEFAULT_DELIVERY_LIMIT = 20
"""What RabbitMQ 4 takes when nobody says anything; 3.10 has no limit then."""

LIVE_TIMEOUT = 3.0
"""Seconds that the broker has for an exchange of the live view and its queues.

A classic queue is on one node of a cluster; while that is down, RabbitMQ 4.3 does not answer questions about it.
"""

PROBE_LIFE = 60_000
"""Milliseconds until the broker deletes the queue of a trial that was broken off."""

Question = Callable[[AbstractChannel], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was declared, what is still missing, and what is missing that only is live; its names lead to what is wrong.

    A name is like `exchange books` or `queue books.storer`.
    """

    declared: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Thing:
    """An exchange or a queue: the question whether it is there, the requests to declare it and to bind the queue."""

    name: str
    look: Question
    declare: Question
    bind: Question | None = None


def queue_arguments(exchange: Exchange) -> FieldTable:
    """Return what a queue of the exchange is declared with.

    What is delivered too often moves to the dead letters at least once, for which the queue has to refuse when full.
    """
    if exchange.live:
        return {
            "x-queue-type": "classic",
            "x-message-ttl": LIVE_MILLISECONDS,
            "x-max-length": LIVE_MESSAGES,
            "x-overflow": "drop-head",
        }
    bounded: FieldTable = {**BARE, "x-overflow": "reject-publish" if exchange.refuse else "drop-head"}
    if not exchange.dead_letters:
        return {**bounded, "x-max-length-bytes": LAST_RESORT_BYTES, "x-delivery-limit": LAST_RESORT_DELIVERY_LIMIT}
    return {
        **bounded,
        "x-max-length-bytes": QUEUE_BYTES,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": exchange.dead_letters,
        "x-dead-letter-strategy": "at-least-once",
    }


class Topology:
    """The exchanges and queues that a service uses, on one connection; without a `use`, all of them.

    `unbound` outlives the connection: what was to be bound and is not yet, since the connection was lost meanwhile.
    """

    def __init__(
        self, connection: AbstractConnection, exchanges: Iterable[Exchange], use: Use | None, unbound: set[str]
    ) -> None:
        self._exchanges = tuple(exchanges)
        self._use = use
        self._unbound = unbound
        self._asking = _Asking(connection)
        self._unanswered: dict[str, tuple[AbstractChannel, str]] = {}
        self._is_unsafe: bool | None = None

    async def restore(self) -> Restored:
        """Look at what is used; if some of it had to be declared, at all the rest too: the broker is ours to furnish.

        A missing binding between an exchange and a queue that both exist cannot be seen over AMQP, so what has to be
        bound is remembered until it is.
        """
        declared: list[str] = []
        missing: dict[str, str] = {}
        absent: dict[str, str] = {}
        complete = []

        async def furnish(exchange: Exchange) -> None:
            await self._furnish(exchange, declared, absent if exchange.live else missing)

        async def look(exchange: Exchange) -> None:
            if await self._is_complete(exchange):
                complete.append(exchange)
            else:
                await furnish(exchange)

        for exchange in self._exchanges:
            await self._as_it_answers(exchange, look, absent)
        for exchange in complete if declared else ():
            await self._as_it_answers(exchange, furnish, absent)
        return Restored(tuple(declared), missing, absent)

    async def unsafe(self) -> tuple[str, ...]:
        """Describe the queues that lose what is delivered often, as far as the service may know it.

        Only who may configure a queue learns its arguments. Whether a policy makes up for missing ones AMQP does not
        tell at all, so it is tried; where all was well once, it is not tried again on this connection.
        """
        if self._is_unsafe is False:
            return ()
        found = tuple([text async for text in self._find_unsafe()])
        self._is_unsafe = bool(found)
        return found

    async def _as_it_answers(
        self, exchange: Exchange, do: Callable[[Exchange], Awaitable[None]], absent: dict[str, str]
    ) -> None:
        """Give what is live up, and note it as absent, when nobody answers: nothing else waits for it.

        Nothing more is asked about it before the broker is done with that question, which keeps a channel until then.
        """
        if not exchange.live:
            await do(exchange)
            return
        name = f"answer about {exchange.name}"
        if exchange.name in self._unanswered:
            channel, told = self._unanswered[exchange.name]
            if not channel.is_closed:
                absent[name] = told
                return
        try:
            async with bounded(f"looking at what {exchange.name} needs", LIVE_TIMEOUT):
                await do(exchange)
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            absent[name] = f"{error}; the node that has its queue may be down"
            if self._asking.given_up:
                self._unanswered[exchange.name] = self._asking.given_up, absent[name]

    async def _is_complete(self, exchange: Exchange) -> bool:
        """Whether all is there that is used of an exchange and its queues."""
        for thing in _things(exchange):
            if thing.name in self._unbound or (self._is_used(thing) and await self._asking.refusal(thing.look)):
                return False
        return True

    async def _furnish(self, exchange: Exchange, declared: list[str], missing: dict[str, str]) -> None:
        """Declare what is missing and bind it at once: what is published before that does not reach a new queue."""
        things = tuple(_things(exchange))
        for position, thing in enumerate(things):
            refusal = await self._asking.refusal(thing.look)
            if isinstance(refusal, ChannelNotFoundEntity):
                before = self._unbound.copy()
                self._unbound |= {each.name for each in things[position:] if each.bind}
                refusal = await self._asking.refusal(thing.declare)
                if refusal is None:
                    declared.append(thing.name)
                else:
                    self._unbound &= before
            if refusal and self._is_used(thing):
                missing[thing.name] = (
                    f"{thing.name} is missing, restart RabbitMQ to import its definitions; declaring failed ({refusal})"
                )
            if thing.bind and thing.name in self._unbound and not refusal:
                if refusal := await self._asking.refusal(thing.bind):
                    missing[thing.name] = f"{thing.name} cannot be bound to exchange {exchange.name} ({refusal})"
                else:
                    self._unbound.remove(thing.name)

    def _is_used(self, thing: _Thing) -> bool:
        if self._use is None:
            return True
        names = {f"exchange {name}" for name in (*self._use.publishes, *self._use.casts, *self._use.taps)}
        return thing.name in names | {f"queue {name}" for name in self._use.consumes}

    async def _find_unsafe(self) -> AsyncIterator[str]:
        for exchange, queue in self._own_queues():
            is_bare = await self._is_bare(queue, queue_arguments(exchange))
            if is_bare is None:
                return  # no rights to know, so limits are up to the administrator
            if is_bare and await self._drops(queue):
                yield (
                    f"queue {queue} drops messages that were delivered {DEFAULT_DELIVERY_LIMIT} times, healthy ones"
                    " too: it was declared without a delivery limit and no policy gives one; import"
                    " rabbitmq/definitions.json, or delete the queue when it is empty, then it is declared again"
                )

    def _own_queues(self) -> Iterator[tuple[Exchange, str]]:
        """Yield the queues that the service consumes, or publishes to by way of their exchange, but live ones."""
        for exchange in self._exchanges:
            for queue in () if exchange.live else exchange.queues:
                if self._use is None or queue in self._use.consumes or exchange.name in self._use.publishes:
                    yield exchange, queue

    async def _is_bare(self, queue: str, arguments: FieldTable) -> bool | None:
        """Whether an existing queue has no limit as argument; None where it cannot be known.

        Declaring what exists changes nothing; other arguments than its own are refused.
        """
        if await self._asking.refusal(partial(_look_at_queue, name=queue)):
            return None
        refusal = await self._asking.refusal(partial(_declare_queue, name=queue, arguments=arguments))
        if refusal is None:
            return False
        if not isinstance(refusal, ChannelPreconditionFailed):
            return None
        return await self._asking.refusal(partial(_declare_queue, name=queue, arguments=BARE)) is None

    async def _drops(self, queue: str) -> bool:
        """Try it with a queue of a similar name, to which the same policies apply; no where that is not allowed."""
        try:
            async with self._asking.channel() as channel:
                return await _is_dropped(channel, f"{queue}.probe-{secrets.token_hex(4)}")
        except ChannelClosed:
            return False


async def _is_dropped(channel: AbstractChannel, queue: str) -> bool:
    """Return whether a new queue of this name drops a message that is given back too often; it goes nowhere then."""
    arguments: FieldTable = {
        **BARE, "x-expires": PROBE_LIFE, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "nowhere"
    }  # fmt: skip
    probe = await channel.declare_queue(queue, durable=True, arguments=arguments)
    await channel.default_exchange.publish(Message(b"", delivery_mode=PERSISTENT), queue)
    try:
        for _ in range(DEFAULT_DELIVERY_LIMIT + 2):
            delivery = await probe.get(fail=False)
            if delivery is None:
                return True
            await delivery.reject(requeue=True)
        return False
    finally:
        await probe.delete(if_unused=False, if_empty=False)


def _things(exchange: Exchange) -> Iterator[_Thing]:
    name = exchange.name
    arguments: FieldTable = {"alternate-exchange": exchange.alternate} if exchange.alternate else {}
    yield _Thing(
        f"exchange {name}",
        lambda channel: channel.declare_exchange(name, passive=True),
        lambda channel: channel.declare_exchange(name, "fanout", durable=True, arguments=arguments),
    )
    for queue in exchange.queues:
        yield _Thing(
            f"queue {queue}",
            partial(_look_at_queue, name=queue),
            partial(_declare_queue, name=queue, arguments=queue_arguments(exchange)),
            partial(_bind_queue, name=queue, exchange=name),
        )


async def _look_at_queue(channel: AbstractChannel, *, name: str) -> object:
    return await channel.declare_queue(name, passive=True)


async def _declare_queue(channel: AbstractChannel, *, name: str, arguments: FieldTable) -> object:
    return await channel.declare_queue(name, durable=True, arguments=arguments)


async def _bind_queue(channel: AbstractChannel, *, name: str, exchange: str) -> object:
    return await (await channel.get_queue(name, ensure=False)).bind(exchange, routing_key="")


class _Asking:
    """One channel for many questions; the broker closes it with every refusal, then the next question opens another.

    `given_up` is the one whose answer nobody waited for any more, last; it is closed once the broker has come to that.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None
        self.given_up: AbstractChannel | None = None

    async def refusal(self, question: Question) -> ChannelClosed | None:
        """Ask, and return the broker's refusal if it is one."""
        try:
            async with self.channel() as channel:
                await question(channel)
        except ChannelClosed as refusal:
            return refusal
        return None

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Yield the channel, opened where there is none."""
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            yield self._channel
        except ChannelClosed:
            self._channel = None
            raise
        except BaseException:
            self.given_up, self._channel = self._channel, None
            raise
