"""Nothing is lost to a delivery limit that nobody set: RabbitMQ 4 has one of 20 where our definitions are not."""

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from random import Random

import aiormq
import pytest
from broker_steps import channel_to, is_empty, publish, remove_topology, settle_all, soon, take
from rabbitmq_nodes import running, until
from structlog.testing import capture_logs

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.amqp_topology import BARE, DEFAULT_DELIVERY_LIMIT
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import (
    BOOKS_CONVERTER,
    BOOKS_STORER,
    DEAD_LETTERS,
    DELIVERY_LIMIT,
    EXCHANGES,
    PRICES,
    PRICES_STORER,
    USES,
)

pytestmark = pytest.mark.rabbitmq

TIMES = 25
MESSAGES = 100

CONSUMER = """
import asyncio, os, sys, aiormq

async def main(url, queue, count):
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=count)
    delivered = asyncio.Semaphore(0)

    async def hold(_message):
        delivered.release()

    await channel.basic_consume(queue, hold)
    for _ in range(count):
        await delivered.acquire()
    print(os.getpid(), flush=True)
    await asyncio.Event().wait()

for line in sys.stdin:
    if pid := os.fork():
        os.waitpid(pid, 0)
    else:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
"""For each line that it reads, a process that takes all and tells its number; made by a fork, which takes no time."""


@pytest.fixture
async def url(server):
    """A broker that has nothing of ours, before and after."""
    await remove_topology(server.url)
    yield server.url
    await remove_topology(server.url)


def broker_of(url, use=None):
    return AmqpBroker(lambda: url, name="test", clock=SystemClock(), back_off=partial(delays, Random(1)), use=use)


async def drops_by_default(url):
    """Whether it is a RabbitMQ that has a limit where nobody sets one."""
    async with aiormq.connect(url) as connection:
        return int(connection.server_properties["version"].split(".")[0]) >= 4


async def leave(broker, url, queue):
    for _ in range(TIMES):
        async with broker.subscribe(queue, MESSAGES) as subscription:
            await take(subscription, MESSAGES)


async def be_killed(broker, url, queue):
    consumers = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONSUMER, url, queue, str(MESSAGES), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for _ in range(TIMES):
        consumers.stdin.write(b"\n")
        os.kill(int(await soon(consumers.stdout.readline())), signal.SIGKILL)
    consumers.stdin.close()
    assert await soon(consumers.wait()) == 0


@pytest.mark.parametrize("end", [leave, be_killed], ids=lambda end: end.__name__)
@pytest.mark.parametrize(("exchange", "queue"), [(PRICES, PRICES_STORER), (DEAD_LETTERS, DEAD_LETTERS)])
async def test_whatever_a_consumer_that_ends_again_and_again_holds_is_still_there(url, end, exchange, queue):
    async with running(broker_of(url)) as broker:
        await asyncio.gather(*(publish(broker, number, exchange=exchange) for number in range(MESSAGES)))
        await end(broker, url, queue)
        assert sorted(await settle_all(broker, queue, MESSAGES)) == list(range(MESSAGES))
        await is_empty(broker, DEAD_LETTERS)


async def test_what_kills_its_consumer_a_thousand_times_goes_to_the_dead_letters(url):
    async with running(broker_of(url)) as broker, channel_to(url) as channel:
        await publish(broker, 7, exchange=PRICES)
        deliveries = 0

        async def reject(delivered):
            nonlocal deliveries
            deliveries += 1
            await channel.basic_reject(delivered.delivery_tag, requeue=True)

        await channel.basic_consume(PRICES_STORER, reject)
        await until(lambda: deliveries > DELIVERY_LIMIT, seconds=100)
        assert await settle_all(broker, DEAD_LETTERS, 1) == [7]
        assert deliveries == DELIVERY_LIMIT + 1
        await is_empty(broker, PRICES_STORER)


@pytest.mark.parametrize("service", USES)
async def test_each_service_alone_furnishes_the_whole_broker(url, service):
    """What the first one publishes reaches the queues of those that come later."""
    async with running(broker_of(url, USES[service])), channel_to(url) as channel:
        for exchange in EXCHANGES:
            await channel.basic_publish(b"", exchange=exchange.name)
            await channel.queue_declare(BOOKS_STORER, passive=True)  # what was published has arrived when this is told
            for queue in exchange.queues:
                assert (await channel.basic_get(queue, no_ack=True)).delivery_tag


async def test_a_queue_that_was_made_without_limits_is_told_until_it_is_made_anew(url):
    async with channel_to(url) as channel:
        await channel.queue_declare(PRICES_STORER, durable=True, arguments=BARE)
    with capture_logs() as logs:
        broker = broker_of(url, USES["storer"])
        task = asyncio.create_task(broker.run())
        await until(lambda: broker._connections.is_connected)
        if await drops_by_default(url):
            assert f"queue {PRICES_STORER} drops messages that were delivered 20 times" in broker.problem()
            assert broker.problem().count("drops messages") == 1
            assert ("broker_unsafe_queues", (), 1) in list(broker.samples())
            assert [line["event"] for line in logs if line["log_level"] == "error"] == [
                "queues of the broker may lose messages"
            ]
            async with channel_to(url) as channel:
                await channel.queue_delete(PRICES_STORER)
            broker._connections.check_soon()
            await until(lambda: broker.problem() is None)
        assert broker.problem() is None
        task.cancel()
        await asyncio.wait({task})
    async with aiormq.connect(url) as connection:
        assert not [
            queue for queue in (PRICES_STORER, BOOKS_STORER, BOOKS_CONVERTER) if await is_lost(connection, queue)
        ]


async def is_lost(connection, queue):
    """Whether a queue loses a message that comes back more often than RabbitMQ allows by itself."""
    channel = await connection.channel(publisher_confirms=True)
    await channel.basic_publish(b"", routing_key=queue)
    for _ in range(DEFAULT_DELIVERY_LIMIT + 2):
        message = await channel.basic_get(queue)
        if not message.delivery_tag:
            return True
        await channel.basic_reject(message.delivery_tag, requeue=True)
    return False


async def test_a_queue_with_limits_of_somebody_elses_is_left_alone_and_not_told(url):
    async with channel_to(url) as channel:
        await channel.queue_declare(PRICES_STORER, durable=True, arguments={**BARE, "x-delivery-limit": 50})
    with capture_logs() as logs:
        async with running(broker_of(url)) as broker:
            await publish(broker, 1, exchange=DEAD_LETTERS)
    assert not [line for line in logs if line["log_level"] == "error"]
