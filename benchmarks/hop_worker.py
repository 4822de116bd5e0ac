"""`python -m benchmarks.hop_worker ROLE COUNT`: one end of a broker hop, as a process of its own."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import Any

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.events import books
from benchmarks.processes import measured
from fairprice.broker.client import BrokerSettings, connected
from fairprice.broker.outbox import Outbox
from fairprice.messages import BOOKS_TYPE, Event, encode
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS

URL = os.environ.get("FAIRPRICE_BROKER_URL", "")
WINDOW = 500
"""Unconfirmed messages of aio-pika, and how many its consumers hold."""

PREFETCH, AT_ONCE = 24, 8
"""As the converter has them."""

DIFFERENT = 1000
"""Books that are published again and again."""


async def publish(count: int) -> None:
    """As the crawler does: encoded, batched while busy, persistent, mandatory, confirmed."""
    await publish_events(BOOKS, BOOKS_TYPE, list(islice(cycle(books(DIFFERENT)), count)))


async def publish_events(exchange: str, message_type: str, events: Sequence[Event]) -> None:
    """Publish them through an outbox as fast as that goes."""
    async with connected("publisher", BrokerSettings.load(os.environ)) as broker:
        outbox = Outbox(
            broker,
            exchange,
            message_type,
            "benchmark",
            confirmed=lambda _events: None,
            clock=SystemClock(),
            back_off=partial(delays, Random()),
        )
        running = asyncio.create_task(outbox.run())
        with measured():
            for event in events:
                outbox.put(event)
                if outbox.is_full:
                    await outbox.room()
            await outbox.drain()
        running.cancel()


async def consume(count: int, queue: str) -> None:
    """As the services do: what has come at once, one acknowledgement for all of it."""
    async with (
        connected("consumer", BrokerSettings.load(os.environ)) as broker,
        broker.subscribe(queue, PREFETCH) as subscription,
    ):
        with measured():
            taken = 0
            while taken < count:
                deliveries = await subscription.receive(AT_ONCE)
                taken += sum(len(delivery.message.body.split(b"\n")) for delivery in deliveries)
                await deliveries[-1].ack(multiple=True)


async def publish_by_aio_pika(count: int) -> None:
    """A message an event, persistent, mandatory, confirmed, with a window of unconfirmed ones."""
    bodies = [encode(book) for book in books(DIFFERENT)]
    async with await aio_pika.connect(URL) as connection:
        exchange = await (await connection.channel()).get_exchange(BOOKS)
        slots = asyncio.Semaphore(WINDOW)

        async def send(body: bytes) -> None:
            await exchange.publish(aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), "")
            slots.release()

        with measured():
            async with asyncio.TaskGroup() as sending:
                for body in islice(cycle(bodies), count):
                    await slots.acquire()
                    sending.create_task(send(body))


async def consume_by_aio_pika(count: int, queue: str) -> None:
    """A callback that acknowledges each message."""
    done = asyncio.Event()
    taken = 0

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal taken
        await message.ack()
        taken += 1
        if taken == count:
            done.set()

    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=WINDOW)
        consumed = await channel.get_queue(queue)
        with measured():
            await consumed.consume(take)
            await done.wait()


Role = Callable[..., Coroutine[Any, Any, None]]
ROLES: dict[str, tuple[Role, bool]] = {
    "publish": (publish, True),
    "consume": (consume, True),
    "publish-by-aio-pika": (publish_by_aio_pika, False),
    "consume-by-aio-pika": (consume_by_aio_pika, False),
    "publish-by-aio-pika-on-uvloop": (publish_by_aio_pika, True),
    "consume-by-aio-pika-on-uvloop": (consume_by_aio_pika, True),
}
"""What is done, and whether on uvloop, as the services are; aio-pika has asyncio's own loop unless told otherwise."""


def main() -> None:
    name, count, *queue = sys.argv[1:]
    role, on_uvloop = ROLES[name]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if on_uvloop else None) as runner:
        runner.run(role(int(count), *queue))


if __name__ == "__main__":
    main()
