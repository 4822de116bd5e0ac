"""A service leaves a node that lets it in and does nothing that needs the other nodes, and one only."""

import asyncio
from contextlib import AsyncExitStack, suppress
from itertools import repeat

import pytest
from amqp_node import NEEDS_MOST, Node
from broker_steps import A_WHILE, message
from pamqp import commands
from rabbitmq_nodes import running, until
from structlog.testing import capture_logs
from waiting import patience, soon

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.retry import publish_until_confirmed
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_STORER, QUOTES_CONVERTER

BRIEF = 0.01
"""Seconds of silence until a subscription is looked at."""


@pytest.fixture
async def nodes():
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Node().serving()) for _ in range(2)]


def broker_at(*nodes):
    return AmqpBroker(
        lambda: ",".join(node.url for node in nodes),
        name="test",
        clock=SystemClock(),
        back_off=lambda: repeat(0.001),
        publish_timeout=A_WHILE,
        reply_timeout=A_WHILE,
        silence=BRIEF,
    )


def cut_off(node):
    node.silent = set(NEEDS_MOST)


async def test_a_publisher_goes_on_to_the_next_node_when_one_confirms_nothing(nodes):
    one, two = nodes
    async with running(broker_at(one, two)) as broker:
        await soon(broker.publish(BOOKS, message(1)))
        cut_off(one)
        with capture_logs() as logs:
            clock = SystemClock()
            await soon(publish_until_confirmed(broker, BOOKS, message(2), lambda: repeat(0.001), clock))
        await until(lambda: not one.connections)
    assert two.asked[commands.Basic.Publish]  # more than once where this machine hears too late of the first
    told = next(line for line in logs if "connected to the broker again" in line["event"])
    assert f"is the node 127.0.0.1:{one.port} cut off from the others?" in told["lost"]


async def lose(broker, open_one):
    """Wait until a subscription that was open has ended, and return why."""
    async with open_one(broker) as subscription:
        with pytest.raises(BrokerUnavailable) as told:
            await soon(subscription.receive(1))
    return str(told.value)


async def reopen(broker, open_one):
    async with patience():
        while True:
            with suppress(BrokerUnavailable):  # no session yet
                async with open_one(broker):
                    return


def subscribe(broker):
    return broker.subscribe(BOOKS_STORER, 10)


def tap(broker):
    return broker.tap(BOOKS, 10)


@pytest.mark.parametrize("open_one", [subscribe, tap])
async def test_a_consumer_goes_on_to_the_next_node_when_one_neither_delivers_nor_says_that_there_is_nothing(
    nodes, open_one
):
    one, two = nodes
    async with running(broker_at(one, two)) as broker:
        losing = asyncio.create_task(lose(broker, open_one))
        await until(lambda: one.asked[commands.Basic.Consume])
        cut_off(one)
        assert "no answer within" in await losing
        await reopen(broker, open_one)
        assert two.asked[commands.Basic.Consume] == 1


@pytest.mark.parametrize("open_one", [subscribe, tap])
async def test_who_cannot_begin_to_consume_goes_on_to_the_next_node(nodes, open_one):
    one, two = nodes
    cut_off(one)
    async with running(broker_at(one, two)) as broker:
        with pytest.raises(BrokerUnavailable, match="no answer"):
            async with open_one(broker):
                pass
        await reopen(broker, open_one)
        assert two.asked[commands.Basic.Consume] == 1


@pytest.mark.parametrize(
    ("open_one", "look"), [(subscribe, commands.Basic.Get), (tap, commands.Queue.Bind)], ids=["subscription", "tap"]
)
async def test_a_subscription_that_is_silent_and_well_is_kept_and_no_channel_is_left(nodes, open_one, look):
    one, two = nodes
    async with running(broker_at(one, two)) as broker, open_one(broker) as subscription:
        receiving = asyncio.create_task(subscription.receive(1))
        await until(lambda: one.asked[look] > 5)
        receiving.cancel()
        assert one.asked[commands.Channel.Open] - one.asked[commands.Channel.Close] <= 4
        assert one.asked[commands.Basic.Consume] == 1
    assert not two.asked


async def test_what_is_live_only_is_given_up_without_its_node(nodes):
    one, two = nodes
    cut_off(one)
    async with running(broker_at(one, two)) as broker:
        with pytest.raises(BrokerUnavailable, match="no answer"):
            async with broker.subscribe(QUOTES_CONVERTER, 10):
                pass
        assert broker.problem() is None
    assert not two.asked


async def test_with_one_address_there_is_nowhere_to_go_and_the_node_is_waited_for(nodes):
    one, _ = nodes
    cut_off(one)
    async with running(broker_at(one)) as broker:
        with pytest.raises(BrokerUnavailable, match="no answer"):
            await soon(broker.publish(BOOKS, message(1)))
        one.silent.clear()
        await soon(broker.publish(BOOKS, message(1)))
        assert {name: value for name, _, value in broker.samples()}["broker_lost_connections_total"] == 0


async def test_the_queue_of_a_tap_whose_node_was_lost_is_unbound_before_the_next_one_is_made(nodes):
    """Since 4.2 it stays bound while its node is down, and all that is published is refused."""
    one, two = nodes
    async with running(broker_at(one, two)) as broker:
        losing = asyncio.create_task(lose(broker, tap))
        await until(lambda: one.asked[commands.Basic.Consume])
        one.drop()
        await losing
        assert not one.unbound
        for _ in range(2):  # once is enough
            await reopen(broker, tap)
        assert one.unbound + two.unbound == [("amq.gen-1", BOOKS)]


@pytest.mark.parametrize(
    ("version", "is_own"),
    [("3.10.8", True), ("4.1.9", True), ("4.2.0-rc.1", False), ("4.3.6", False), ("5.0", False)],
)
async def test_the_queue_of_a_tap_may_be_unbound_by_others_where_it_does_not_vanish_with_its_node(version, is_own):
    async with Node(version).serving() as node, running(broker_at(node)) as broker, broker.tap(BOOKS, 10):
        [declared] = [each for each in node.declared if not each.queue]
        assert (declared.exclusive, declared.durable, declared.auto_delete) == (is_own, not is_own, True)
        assert ("x-expires" in declared.arguments) is not is_own
        assert declared.arguments["x-queue-type"] == "classic"  # whatever a virtual host's default is
