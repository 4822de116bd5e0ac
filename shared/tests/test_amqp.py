"""RabbitMQ keeps the contract of all brokers, in every version there is a server for, and a few promises of its own."""

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import partial
from random import Random

import aiormq
import pytest
from broker_contract import BrokerContract
from broker_steps import A_WHILE, SOON, channel_to, fill, publish, remove_topology, settle_all, soon, take
from rabbitmq_nodes import running
from structlog.testing import capture_logs
from waiting import patience

from fairprice.broker.amqp import AmqpBroker
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.metrics import METRICS
from fairprice.topology import BOOKS, BOOKS_STORER, EXCHANGES, PRICES, PRICES_STORER, Exchange

pytestmark = pytest.mark.rabbitmq

NOBODY = "amqp://127.0.0.1:1"
"""A node that is down; the promises hold as long as another one is up."""


async def empty(url, exchanges, capacity):
    """Leave only bounded queues of these exchanges, without messages; everything else is the broker's to declare."""
    await remove_topology(url)
    async with channel_to(url) as channel:
        for queue in {queue for exchange in exchanges if not exchange.live for queue in exchange.queues}:
            policies = {"x-max-length": capacity, "x-overflow": "reject-publish", "x-delivery-limit": 1000}
            await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **policies})


def broker_of(server, *, patience=SOON, exchanges=EXCHANGES):
    back_off = partial(delays, Random(1), first=0.01, cap=0.1)
    return AmqpBroker(
        lambda: f"{NOBODY},{server.url}",
        name="test",
        clock=SystemClock(),
        back_off=back_off,
        publish_timeout=patience,
        exchanges=exchanges,
    )


@pytest.fixture
async def make_broker(server):
    async with AsyncExitStack() as stack:

        async def make(*, exchanges=EXCHANGES, capacity=5000, patience=SOON):
            exchanges = tuple(exchanges)
            await empty(server.url, exchanges, capacity)
            return await stack.enter_async_context(running(broker_of(server, patience=patience, exchanges=exchanges)))

        yield make


class TestAmqpBroker(BrokerContract):
    """Collects the contract."""


async def take_raw(url, queue):
    async with channel_to(url) as channel:
        return await channel.basic_get(queue, no_ack=True)


async def test_a_message_is_persistent_and_carries_what_tools_look_for(server, make_broker):
    broker = await make_broker()
    await publish(broker, 1)
    delivered = await take_raw(server.url, BOOKS_STORER)
    properties = delivered.header.properties
    assert (properties.delivery_mode, properties.content_type) == (2, "application/x-ndjson")
    assert (properties.message_type, properties.app_id) == ("books.v1", "crawler/test")
    assert properties.timestamp.isoformat() == "2023-11-14T22:13:20+00:00"
    assert properties.headers["symbols"] == ["binance.BTCUSDT"]
    assert delivered.routing_key == "binance.BTCUSDT"


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"symbols": "x", "timestamp_us": "soon"}, {"symbols": [1, None], "timestamp_us": 10**18, "n": 5}],
    ids=repr,
)
async def test_a_message_of_a_stranger_is_delivered_as_far_as_it_can_be_read(server, make_broker, headers):
    broker = await make_broker()
    async with channel_to(server.url) as channel:
        await channel.basic_publish(
            b"\xff", exchange=PRICES, properties=aiormq.spec.Basic.Properties(headers=headers, message_id="id-1")
        )
    async with broker.subscribe(PRICES_STORER, 1) as subscription:
        (delivery,) = await take(subscription, 1)
        assert delivery.message.body == b"\xff"
        assert delivery.message.timestamp == 0
        await delivery.ack()


async def test_an_empty_broker_is_given_the_topology_and_a_warning_about_what_only_policies_give(server, make_broker):
    await make_broker()
    async with channel_to(server.url) as channel:
        for exchange in EXCHANGES:
            await channel.exchange_delete(exchange.name)
            for queue in exchange.queues:
                await channel.queue_delete(queue)
    with capture_logs() as logs:
        async with running(broker_of(server)) as broker, running(broker_of(server)):
            await publish(broker, 1)
            await publish(broker, 2, exchange=PRICES)
            assert await settle_all(broker, BOOKS_STORER, 1) == [1]
            assert await settle_all(broker, PRICES_STORER, 1) == [2]
    assert len([line for line in logs if "declared" in line["event"]]) == 1
    (warning,) = [line for line in logs if line["log_level"] == "warning"]
    assert "import rabbitmq/definitions.json" in warning["event"]


async def test_a_deleted_queue_ends_its_subscriptions_and_is_back_soon(server, make_broker):
    broker = await make_broker()
    async with broker.subscribe(BOOKS_STORER, 1) as subscription:
        receiving = asyncio.create_task(subscription.receive(1))
        async with channel_to(server.url) as channel:
            await channel.queue_delete(BOOKS_STORER)
        with pytest.raises(BrokerUnavailable, match="queue deleted"):
            await soon(receiving)

    async def subscribed():
        while True:
            with suppress(BrokerUnavailable, TimeoutError):
                async with broker.subscribe(BOOKS_STORER, 1) as subscription:
                    await publish(broker, 1)  # in vain if the queue is there and not bound yet
                    async with asyncio.timeout(5):
                        return await subscription.receive(1)
            await asyncio.sleep(0.05)

    async with patience(240):  # the broker's topology is looked at now and then, and each look may have to be repeated
        assert len(await subscribed()) == 1
    assert broker.problem() is None


async def test_without_any_queue_and_any_alternate_a_publish_fails_and_says_so(make_broker):
    broker = await make_broker(exchanges=(Exchange(BOOKS, ()),))
    with pytest.raises(BrokerUnavailable, match="publishing to 'books': no queue takes it"):
        await publish(broker, 1)
    assert "no queue takes it" in broker.problem()


async def test_every_metric_moves_when_it_should(server, make_broker):
    broker = await make_broker(capacity=1, patience=1)

    def values():
        return {(name, *labels): value for name, labels, value in broker.samples()}

    assert {name for name, _, _ in broker.samples()} <= {metric.name for metric in METRICS}
    assert (values()["broker_connected",], values()["broker_blocked",], values()["broker_missing_objects",]) == (
        1,
        0,
        0,
    )
    accepted, waiting = await fill(broker, PRICES, 1)
    assert values()["broker_publishes_total", PRICES, "confirmed"] == accepted
    assert values()["broker_publishes_total", PRICES, "rejected"] > 0
    assert values()["broker_unconfirmed_messages",] == 1
    assert 0 < values()["broker_unconfirmed_seconds",] < SOON
    assert "a queue of exchange 'prices' is full" in broker.problem()
    with pytest.raises(BrokerUnavailable):
        await soon(waiting)
    assert values()["broker_publishes_total", PRICES, "unknown"] == 1
    assert values()["broker_unconfirmed_messages",] == 0
    for _ in range(2):
        async with broker.subscribe(PRICES_STORER, 1) as subscription:
            await take(subscription, 1)
            assert values()["broker_subscriptions", PRICES_STORER] == 1
    assert values()["broker_subscriptions", PRICES_STORER] == 0
    assert values()["broker_deliveries_total", PRICES_STORER, "first"] == 1
    assert values()["broker_deliveries_total", PRICES_STORER, "again"] == 1


async def test_subscriptions_that_fail_leave_nothing_behind(make_broker):
    broker = await make_broker(exchanges=(Exchange(BOOKS, (BOOKS_STORER,)),))
    tasks = len(asyncio.all_tasks())
    for _ in range(100):
        with pytest.raises(BrokerUnavailable, match="no queue 'nowhere'"):
            async with broker.subscribe("nowhere", 1):
                pass
    session = await broker._connections.session()
    await asyncio.sleep(A_WHILE)
    assert len(session.consuming.transport.connection.channels) <= 2  # one looks after the topology
    assert len(asyncio.all_tasks()) <= tasks + 5
