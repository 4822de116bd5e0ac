"""What happens to brokers happens here to real ones under load: nothing that was put is lost, all heals by itself."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from broker_steps import message
from rabbitmq_nodes import PROGRAMS, programs_of, reached, until
from structlog.testing import capture_logs
from waiting import patience

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.outbox import Outbox
from fairprice.broker.retry import consume
from fairprice.messages import BOOKS_TYPE, Book, decode, encode
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER, QUOTES

pytestmark = pytest.mark.rabbitmq

FIRST = Book("binance", "BTCUSDT", 1, 1, 1000, None, 1001, "a", [["100", "3"]], [["101", "1"]], None, None)
QUEUES = (BOOKS_CONVERTER, BOOKS_STORER)
HEARTBEAT = 2
"""Seconds in the address, so that a frozen broker is given up after (2 + 1) x 3 and not after 33."""

PUBLISH_TIMEOUT = 2
"""Seconds, below those after which a frozen broker is given up."""

ENOUGH = 1000
CAPACITY = 500


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def node(request, tmp_path_factory):
    programs_of(request.param)
    with reached(request.param, tmp_path_factory) as node:
        yield node


class Load:
    """One service that publishes books all the time and one consumer of each queue, with a ledger of all."""

    def __init__(self, node, intact=QUEUES):
        self.intact = intact
        url = f"{node.url}?heartbeat={HEARTBEAT}"
        self.failures = 0
        back_off = self._back_off
        self.broker = AmqpBroker(
            lambda: url, name="load", clock=SystemClock(), back_off=back_off, publish_timeout=PUBLISH_TIMEOUT
        )
        self.outbox = Outbox(
            self.broker, BOOKS, BOOKS_TYPE, "test",
            confirmed=self._confirm, clock=SystemClock(), back_off=back_off,
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

    @property
    def losses(self):
        """How often the connections were lost."""
        return {name: value for name, _, value in self.broker.samples()}["broker_lost_connections_total"]

    @property
    def newest(self):
        """The number of the last event that both queues have given."""
        return min(max(seen, default=0) for seen in self.received.values())


@asynccontextmanager
async def load(node, capsys, name, intact=QUEUES):
    """Run the load; the body breaks things and heals them. Afterwards each queue has given everything."""
    with capture_logs() as logs:
        load = Load(node, intact)
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
    assert not any(missing[queue] for queue in intact)
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


async def test_a_restart(node, capsys):
    async with load(node, capsys, "restart") as (loaded, logs):
        await asyncio.to_thread(node.stop)
        await until(loaded.broker.problem)
        await loaded.until_failed(3)
        assert len(lines(logs, "no broker")) == 1
        await asyncio.to_thread(node.start)
    assert len(lines(logs, "connected to the broker again")) == 1


async def test_a_kill(node, capsys):
    async with load(node, capsys, "kill -9") as (_, logs):
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
    assert len(lines(logs, "connected to the broker again")) == 1


async def test_a_freeze_shorter_than_the_heartbeat_allows(node, capsys):
    async with load(node, capsys, "frozen until a publish was given up") as (loaded, _):
        node.freeze()
        await loaded.until_failed(1)
        node.thaw()


async def test_a_freeze_longer_than_the_heartbeat_allows(node, capsys):
    async with load(node, capsys, "frozen until the connection was given up") as (loaded, _):
        node.freeze()
        await until(loaded.broker.problem)
        await loaded.until_failed(1)
        node.thaw()


@pytest.mark.parametrize(
    ("alarm", "healthy"),
    [(("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")),
     (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "1MB"))],
    ids=["memory", "disk"],
)  # fmt: skip
async def test_an_alarm(node, capsys, alarm, healthy):
    async with load(node, capsys, f"{alarm[0]} alarm until publishes were given up") as (loaded, logs):
        cast = partial(loaded.broker.cast, QUOTES, message(1))
        await until(cast)
        await asyncio.to_thread(node.ctl, *alarm)
        try:
            await until(lambda: "alarm" in (loaded.broker.problem() or ""))
            assert ("broker_blocked", (), 1) in list(loaded.broker.samples())
            await until(lambda: not cast())
            confirmed = loaded.confirmed
            await loaded.until_failed(4)
            assert loaded.confirmed == confirmed
            await until(lambda: loaded.outbox.is_full)
        finally:
            await asyncio.to_thread(node.ctl, *healthy)
        await until(cast)
    assert len(lines(logs, "holding back")) == len(lines(logs, "accepts messages again")) == 1


async def test_a_deleted_queue(node, capsys):
    """What it held, and what is sent until it is declared again, is gone; the other queue has everything."""
    async with load(node, capsys, "queue deleted", intact=(BOOKS_CONVERTER,)) as (loaded, logs):
        await asyncio.to_thread(node.ctl, "delete_queue", BOOKS_STORER)
        mark = loaded.put + 200  # a queue that has just been made is not to be relied on yet
        await until(lambda: loaded.newest > mark)
    assert [line["objects"] for line in lines(logs, "declared")][-1] == (f"queue {BOOKS_STORER}",)


async def test_connections_that_an_operator_closes(node, capsys):
    async with load(node, capsys, "connections closed 3 times") as (loaded, _):
        for _ in range(3):
            losses = loaded.losses
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: loaded.losses > losses)  # noqa: B023  awaited in its own round
            await until(lambda: loaded.broker.problem() is None)


async def test_a_changed_password(node, capsys):
    async with load(node, capsys, "password changed for some tries") as (loaded, logs):
        await asyncio.to_thread(node.ctl, "change_password", "guest", "other")
        try:
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: "refuses the password of user 'guest'" in (loaded.broker.problem() or ""))
            await loaded.until_failed(3)
            assert len(lines(logs, "no broker")) == 1
        finally:
            await asyncio.to_thread(node.ctl, "change_password", "guest", "guest")


@pytest.mark.parametrize(
    ("rights", "words"),
    [((".*", "^$", ".*"), "publishing to 'books': ACCESS_REFUSED"), ((".*", ".*", "^$"), "consuming 'books.")],
    ids=["write", "read"],
)
async def test_a_right_that_is_taken_away(node, capsys, rights, words):
    async with load(node, capsys, f"rights {rights} for some tries") as (loaded, _):
        await asyncio.to_thread(node.ctl, "set_permissions", "guest", *rights)
        try:
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: words in (loaded.broker.problem() or ""))
            await loaded.until_failed(3)
        finally:
            await asyncio.to_thread(node.ctl, "set_permissions", "guest", ".*", ".*", ".*")


async def test_a_right_to_the_whole_virtual_host_that_is_taken_away(node, capsys):
    async with load(node, capsys, "virtual host refused") as (loaded, _):
        await asyncio.to_thread(node.ctl, "clear_permissions", "guest")
        try:
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: "refuses the virtual host" in (loaded.broker.problem() or ""))
        finally:
            await asyncio.to_thread(node.ctl, "set_permissions", "guest", ".*", ".*", ".*")
