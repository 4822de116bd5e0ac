"""A load on a real broker with a ledger of all that is put, confirmed and received, while a test breaks the broker."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random

from rabbitmq_nodes import until
from structlog.testing import capture_logs
from waiting import PATIENCE, patience

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.outbox import Outbox
from fairprice.broker.retry import consume
from fairprice.messages import BOOKS_TYPE, Book, decode, encode
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER

FIRST = Book("binance", "BTCUSDT", 1, 1, 1000, None, 1001, "a", [["100", "3"]], [["101", "1"]], None, None)
QUEUES = (BOOKS_CONVERTER, BOOKS_STORER)
HEARTBEAT = 2
"""Seconds in the address, so that a frozen broker is given up after (2 + 1) x 3 and not after 33."""

PUBLISH_TIMEOUT = 2
"""Seconds, below those after which a frozen broker is given up."""

ENOUGH = 1000
CAPACITY = 500


class Load:
    """One service that publishes books all the time and one consumer of each queue, with a ledger of all."""

    def __init__(self, url, intact=QUEUES, use=None, **patience):
        self.intact = intact
        self.failures = 0
        self.broker = AmqpBroker(
            lambda: url,
            name="load",
            clock=SystemClock(),
            back_off=self._back_off,
            use=use,
            **{"publish_timeout": PUBLISH_TIMEOUT} | patience,
        )
        self.outbox = Outbox(
            self.broker, BOOKS, BOOKS_TYPE, "test",
            confirmed=self._confirm, clock=SystemClock(), back_off=self._back_off,
            capacity_bytes=CAPACITY * len(encode(FIRST)),
        )  # fmt: skip
        self.put = 0
        self.confirmed = 0
        self.received = {queue: Counter() for queue in QUEUES}
        self.most_waiting = 0
        self.stopped = asyncio.Event()

    async def run(self):
        async with asyncio.TaskGroup() as tasks:
            self.tasks = [
                tasks.create_task(self.broker.run()),
                tasks.create_task(self.outbox.run()),
                *(tasks.create_task(self._consume(queue)) for queue in QUEUES),
            ]
            producing = tasks.create_task(self._produce())
            await self.stopped.wait()
            producing.cancel()
            await self.outbox.drain()
            await until(lambda: all(len(self.received[queue]) == self.put for queue in self.intact))
            await until(lambda: self.newest == self.put)
            for task in self.tasks:
                task.cancel()

    async def _produce(self):
        while True:
            await self.outbox.room()
            self.put += 1
            self.outbox.put(replace(FIRST, first_update_id=self.put, update_id=self.put))
            self.most_waiting = max(self.most_waiting, len(self.outbox))
            await asyncio.sleep(0.002)

    async def _consume(self, queue):
        async def work(subscription):
            deliveries = await subscription.receive(10)
            for delivery in deliveries:
                self.received[queue].update(event.update_id for event in decode(delivery.message.body))
            await deliveries[-1].ack(multiple=True)
            return True

        subscribe = partial(self.broker.subscribe, queue, 30)
        await consume(subscribe, work, self._back_off, asyncio.Event(), SystemClock(), queue=queue)

    def _confirm(self, events):
        self.confirmed += len(events)

    def _back_off(self):
        for pause in delays(Random(1)):
            self.failures += 1
            yield pause

    async def until_failed(self, times):
        """Wait until connecting, publishing or consuming has failed so many times more."""
        wanted = self.failures + times
        await until(lambda: self.failures >= wanted)

    async def until_flowing(self):
        """Wait until something that is put from now on has come out of both queues, and return how long that took."""
        began, mark = time.monotonic(), self.put
        await until(lambda: self.newest > mark, 3 * PATIENCE)
        return time.monotonic() - began

    @property
    def losses(self):
        """How often the connections were lost."""
        return {name: value for name, _, value in self.broker.samples()}["broker_lost_connections_total"]

    @property
    def newest(self):
        """The number of the last event that both queues have given."""
        return min(max(seen, default=0) for seen in self.received.values())


@asynccontextmanager
async def load(url, capsys, name, **options):
    """Run the load; the body breaks things and heals them. Afterwards each queue has given everything."""
    with capture_logs() as logs:
        load = Load(url, **options)
        running = asyncio.create_task(load.run())
        await until(lambda: load.newest > 200)
        if lines(logs, "declared"):
            await asyncio.sleep(2)  # a queue younger than a second would not survive a kill of its node
        await until(lambda: load.broker.problem() is None)  # a publish may be late that is delivered already
        yield load, logs
        healed = time.monotonic()
        mark = load.put
        await until(lambda: load.newest > mark or running.done())
        recovery = time.monotonic() - healed
        await until(lambda: load.put >= ENOUGH or running.done())
        await until(lambda: load.broker.problem() is None)
        load.stopped.set()
        async with patience():
            await running
    assert load.confirmed == load.put >= ENOUGH
    missing = {queue: set(range(1, load.put + 1)) - seen.keys() for queue, seen in load.received.items()}
    assert not any(missing[queue] for queue in load.intact)
    late = {queue: sorted(number for number in numbers if number > mark) for queue, numbers in missing.items()}
    assert not any(late.values()), (mark, late)
    assert load.most_waiting <= CAPACITY + 4 * 100 + 1
    await until(lambda: len(asyncio.all_tasks()) <= 2)
    duplicates = {queue: seen.total() - len(seen) for queue, seen in load.received.items()}
    told = [line for line in logs if line["log_level"] in ("error", "warning")]
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{name}: sent {load.put}, received {[len(seen) for seen in load.received.values()]}, "
            f"lost {[len(numbers) for numbers in missing.values()]}, duplicates {list(duplicates.values())}, "
            f"recovered after {recovery:.1f} s, lines logged {len(told)}"
        )


def lines(logs, text):
    return [line for line in logs if text in line["event"]]
