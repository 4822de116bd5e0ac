"""`python -m benchmarks.floor_worker COUNT`: what a broker hop and a write take when nothing else is done.

Prints a JSON object with the milliseconds of each, one after the other, ten a second. A hop is from the publish of one
book to its arrival at a consumer, through a fanout with two quorum queues; a write is one price's line until the 204.
"""

import asyncio
import os
import sys
import time

import aio_pika
import orjson
import uvloop

from benchmarks.events import books, prices
from benchmarks.store_worker import raw_writes
from fairprice.messages import encode
from storer.line_protocol import encode as line
from storer.measurements import fair_price_point

FANOUT = "floor"
QUEUES = ("floor.consumed", "floor.other")
PAUSE = 0.1


async def measure(count: int) -> dict[str, list[float]]:
    """Return the milliseconds of each hop and each write."""
    bodies = [encode(book) for book in books(count)]
    lines = [line(fair_price_point(price)) for price in prices(count)]
    found: dict[str, list[float]] = {"hop": [], "write": []}
    async with (
        await aio_pika.connect(os.environ["FAIRPRICE_BROKER_URL"]) as publishing,
        await aio_pika.connect(os.environ["FAIRPRICE_BROKER_URL"]) as consuming,
        raw_writes() as write,
    ):
        channel = await publishing.channel()
        exchange = await channel.declare_exchange(FANOUT, aio_pika.ExchangeType.FANOUT, durable=True)
        for name in QUEUES:
            queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(exchange)
        consumed = await (await consuming.channel()).get_queue(QUEUES[0])
        async with consumed.iterator() as arrivals:
            for body, text in zip(bodies, lines, strict=True):
                began = time.perf_counter()
                message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                sent = asyncio.create_task(exchange.publish(message, ""))
                arrived = await anext(arrivals)
                found["hop"].append((time.perf_counter() - began) * 1000)
                await sent
                await arrived.ack()
                began = time.perf_counter()
                await write(text)
                found["write"].append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(PAUSE)
        for name in QUEUES:
            await channel.queue_delete(name)
    return found


def main() -> None:
    count = int(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(orjson.dumps(runner.run(measure(count))).decode(), flush=True)


if __name__ == "__main__":
    main()
