"""Steps that tests of brokers are written in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import aiormq
from clocks import settle
from waiting import patience, soon

from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Broker, Delivery, Message, Subscription
from fairprice.topology import BOOKS, EXCHANGES

SOON = 60.0
"""Seconds within which a broker confirms whatever it can."""

A_WHILE = 0.1
"""Seconds after which what has not happened counts as never happening."""

SLACK = 3
"""Messages that a full queue may take beyond its bound: a RabbitMQ quorum queue rejects only once it is over it."""

T = TypeVar("T")


def message(number: int, body: bytes = b"{}") -> Message:
    symbol = "binance.BTCUSDT"
    return Message(body, "books.v1", f"id-{number}", "crawler/test", 1_700_000_000_123_456, symbol, (symbol,))


def numbers(deliveries: Iterable[Delivery]) -> list[int]:
    return [int(delivery.message.message_id.removeprefix("id-")) for delivery in deliveries]


async def a_while(broker: Broker) -> None:
    """Give a broker the time in which everything has happened that ever will; the embedded one needs none."""
    await (settle() if isinstance(broker, MemoryBroker) else asyncio.sleep(A_WHILE))


async def never(broker: Broker, awaitable: Awaitable[object]) -> None:
    waiting = asyncio.ensure_future(awaitable)
    await a_while(broker)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})


async def take(subscription: Subscription, wanted: int) -> list[Delivery]:
    """Receive exactly so many deliveries, in as many pieces as the broker likes."""
    taken: list[Delivery] = []
    while len(taken) < wanted:
        taken += await soon(subscription.receive(wanted - len(taken)))
    return taken


async def publish(broker: Broker, *sent: int, exchange: str = BOOKS) -> None:
    for number in sent:
        await soon(broker.publish(exchange, message(number)))


async def until_cast(broker: Broker, exchange: str, sent: Message) -> None:
    """Cast it once there is a way: until the first one has made a connection, casts are dropped."""
    async with patience():
        while not broker.cast(exchange, sent):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def fill(broker: Broker, exchange: str, capacity: int) -> tuple[int, asyncio.Task[None]]:
    """Publish until a publish has to wait; return how many did not, and the one that waits."""
    for number in range(1, capacity + SLACK + 2):
        publishing = asyncio.create_task(broker.publish(exchange, message(number)))
        await until_confirmed_or_held(broker, publishing)
        if not publishing.done() or publishing.exception():  # it has waited, perhaps for as long as it may
            return number - 1, publishing
    raise AssertionError(f"{capacity + SLACK + 1} messages went into a queue of {capacity}")


async def until_confirmed_or_held(broker: Broker, publishing: asyncio.Task[None]) -> None:
    """Wait until a publish has ended or waits for room; the embedded broker does not say that, and needs no time."""
    if isinstance(broker, MemoryBroker):
        await settle()
        return
    async with patience():
        while not publishing.done() and "is full" not in (broker.problem() or ""):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def settle_all(broker: Broker, queue: str, wanted: int) -> list[int]:
    """Take so many deliveries out of a queue, acknowledging them as they come."""
    settled: list[int] = []
    async with broker.subscribe(queue, 1000) as subscription:
        while len(settled) < wanted:
            deliveries = await soon(subscription.receive(wanted - len(settled)))
            await deliveries[-1].ack(multiple=True)
            settled += numbers(deliveries)
    return settled


@asynccontextmanager
async def draining(broker: Broker, queue: str) -> AsyncIterator[list[int]]:
    """Settle what comes while the context lasts; yields the list that its numbers go to."""
    settled: list[int] = []

    async def drain() -> None:
        async with broker.subscribe(queue, 10) as subscription:
            while True:
                deliveries = await subscription.receive(10)
                await deliveries[-1].ack(multiple=True)
                settled.extend(numbers(deliveries))

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(drain())
        yield settled
        task.cancel()


async def is_empty(broker: Broker, queue: str) -> None:
    async with broker.subscribe(queue, 1000) as subscription:
        await never(broker, subscription.receive(1000))


@asynccontextmanager
async def channel_to(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


async def remove_topology(url: str) -> None:
    """Leave nothing of ours on a server."""
    async with channel_to(url) as channel:
        for exchange in EXCHANGES:
            await channel.exchange_delete(exchange.name)
            for queue in exchange.queues:
                await channel.queue_delete(queue)
