"""Looks whether RabbitMQ has the exchanges and queues of the topology, and declares what it lacks where it may.

Looking is passive and needs no rights. Declaring an existing object needs the right to configure it, so only what is
missing is declared: with the definitions of rabbitmq/ imported, nothing ever is.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import methodcaller

from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity
from aiormq.abc import AbstractChannel, AbstractConnection

from fairprice.topology import Exchange

QUEUE_ARGUMENTS = {"x-queue-type": "quorum"}
"""Everything else is the policies' business, since a queue can never be declared again with other arguments."""

Question = Callable[[AbstractChannel], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was declared, and what is missing still, in words."""

    declared: tuple[str, ...]
    missing: tuple[str, ...]


async def restore(connection: AbstractConnection, exchanges: Iterable[Exchange]) -> Restored:
    """Look at every exchange and queue, and declare and bind what is missing.

    A missing binding between an exchange and a queue that both exist cannot be seen over AMQP.
    """
    asking = _Asking(connection)
    declared: list[str] = []
    missing: list[str] = []
    for exchange in exchanges:
        before = len(declared)
        for name, look, declare in _objects(exchange):
            absent = await asking.refusal(look)
            if absent is None:
                continue
            refusal = await asking.refusal(declare) if isinstance(absent, ChannelNotFoundEntity) else absent
            if refusal is None:
                declared.append(name)
            else:
                missing.append(
                    f"{name} is missing, restart RabbitMQ to import its definitions; declaring failed ({refusal})"
                )
        if len(declared) > before:
            missing += await _bind(asking, exchange)
    await asking.close()
    return Restored(tuple(declared), tuple(missing))


def _objects(exchange: Exchange) -> Iterator[tuple[str, Question, Question]]:
    """Yield each object's name, the question whether it is there, and the request to declare it."""
    name, arguments = exchange.name, {"alternate-exchange": exchange.alternate} if exchange.alternate else None
    yield (
        f"exchange {name}",
        methodcaller("exchange_declare", name, passive=True),
        methodcaller("exchange_declare", name, exchange_type="fanout", durable=True, arguments=arguments),
    )
    for queue in exchange.queues:
        yield (
            f"queue {queue}",
            methodcaller("queue_declare", queue, passive=True),
            methodcaller("queue_declare", queue, durable=True, arguments=QUEUE_ARGUMENTS),
        )


async def _bind(asking: "_Asking", exchange: Exchange) -> list[str]:
    """Bind every queue, which changes nothing where it is bound; return what failed."""
    refusals = {
        queue: await asking.refusal(methodcaller("queue_bind", queue, exchange.name)) for queue in exchange.queues
    }
    return [
        f"queue {queue} cannot be bound to exchange {exchange.name} ({refusal})"
        for queue, refusal in refusals.items()
        if refusal
    ]


class _Asking:
    """One channel for many questions; the broker closes it with every refusal, then the next question opens another."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None

    async def refusal(self, question: Question) -> ChannelClosed | None:
        """Ask, and return the broker's refusal if it is one."""
        if self._channel is None:
            self._channel = await self._connection.channel(publisher_confirms=False)
        try:
            await question(self._channel)
        except ChannelClosed as refusal:
            self._channel = None
            return refusal
        return None

    async def close(self) -> None:
        if self._channel:
            await self._channel.close()
