"""A service leaves a node that lets it in and does nothing that needs the other nodes, and one only."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import repeat

import pytest
from amqp_node import NEEDS_MOST, Node
from broker_steps import A_WHILE, SOON, message
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


def broker_at(*nodes, patience=A_WHILE):
    return AmqpBroker(
        lambda: ",".join(node.url for node in nodes),
        name="test",
        clock=SystemClock(),
        back_off=lambda: repeat(0.001),
        publish_timeout=patience,
        reply_timeout=patience,
        silence=BRIEF,
    )


def cut_off(node):
    node.silent = set(NEEDS_MOST)


def at_and_other(nodes):
    """Return the node that is used, the first unless this machine was too late for it, and the other one."""
    return sorted(nodes, key=lambda node: node.connections, reverse=True)


async def publish(broker, number):
    """Publish, again where this machine hears too late that it was confirmed."""
    await soon(publish_until_confirmed(broker, BOOKS, message(number), lambda: repeat(0.001), SystemClock()))


@asynccontextmanager
async def opened(broker, open_one):
    """Open a subscription, where this machine hears too late that it is open again and with more patience."""
    async with AsyncExitStack() as stack:
        async with patience():
            while not (subscription := await entered(stack, open_one(broker))):
                broker._reply_timeout *= 2
        yield subscription


async def entered(stack, subscription):
    with suppress(BrokerUnavailable):
        return await stack.enter_async_context(subscription)


async def reopen(broker, open_one):
    async with opened(broker, open_one):
        pass


async def lose(broker, open_one, then):
    """Return why a subscription that was open has ended, once something was done to its node."""
    async with opened(broker, open_one) as subscription:
        then()
        with pytest.raises(BrokerUnavailable) as told:
            await soon(subscription.receive(1))
    return str(told.value)


def subscribe(broker):
    return broker.subscribe(BOOKS_STORER, 10)


def tap(broker):
    return broker.tap(BOOKS, 10)


async def test_a_publisher_goes_on_to_the_next_node_when_one_confirms_nothing(nodes):
    async with running(broker_at(*nodes)) as broker:
        await publish(broker, 1)
        at, other = at_and_other(nodes)
        cut_off(at)
        with capture_logs() as logs:
            await publish(broker, 2)
        await until(lambda: not at.connections)
    assert other.asked[commands.Basic.Publish]  # more than once where this machine hears too late of the first
    told = next(line for line in logs if "connected to the broker again" in line["event"])
    assert f"is the node 127.0.0.1:{at.port} cut off from the others?" in told["lost"]


@pytest.mark.parametrize("open_one", [subscribe, tap])
async def test_a_consumer_goes_on_to_the_next_node_when_one_neither_delivers_nor_says_that_there_is_nothing(
    nodes, open_one
):
    async with running(broker_at(*nodes)) as broker:
        assert "no answer within" in await lose(broker, open_one, lambda: cut_off(at_and_other(nodes)[0]))
        await reopen(broker, open_one)
        assert all(node.asked[commands.Basic.Consume] for node in nodes)


@pytest.mark.parametrize("open_one", [subscribe, tap])
async def test_who_cannot_begin_to_consume_goes_on_to_the_next_node(nodes, open_one):
    one, two = nodes
    cut_off(one)
    async with running(broker_at(one, two)) as broker:
        with pytest.raises(BrokerUnavailable, match="no answer"):
            async with open_one(broker):
                pass
        await reopen(broker, open_one)
        assert two.asked[commands.Basic.Consume]


@pytest.mark.parametrize(
    ("open_one", "look"), [(subscribe, commands.Basic.Get), (tap, commands.Queue.Bind)], ids=["subscription", "tap"]
)
async def test_a_subscription_that_is_silent_and_well_is_kept_and_no_channel_is_left(nodes, open_one, look):
    one, two = nodes
    async with running(broker_at(one, two, patience=SOON)) as broker, open_one(broker) as subscription:
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
        await publish(broker, 1)
        assert {name: value for name, _, value in broker.samples()}["broker_lost_connections_total"] == 0


async def test_the_queue_of_a_tap_whose_node_was_lost_is_unbound_before_the_next_one_is_made(nodes):
    """Since 4.2 it stays bound while its node is down, and all that is published is refused."""
    one, two = nodes
    async with running(broker_at(one, two, patience=SOON)) as broker:
        await lose(broker, tap, one.drop)
        assert not one.unbound
        for _ in range(2):  # once is enough
            await reopen(broker, tap)
        assert one.unbound + two.unbound == [("amq.gen-1", BOOKS)]


@pytest.mark.parametrize("unanswered", [commands.Queue.Bind, commands.Basic.Consume])
async def test_the_queue_of_a_tap_that_could_not_be_opened_is_unbound_as_well(unanswered):
    async with Node().serving() as node, running(broker_at(node)) as broker:
        node.silent = {unanswered}
        with pytest.raises(BrokerUnavailable, match="no answer"):
            async with tap(broker):
                pass
        assert not node.unbound
        node.silent.clear()
        await reopen(broker, tap)
        assert ("amq.gen-1", BOOKS) in node.unbound


async def test_a_tap_may_unbind_the_queue_that_another_one_is_just_deleting():
    async with Node().serving() as node, running(broker_at(node, patience=SOON)) as broker:
        node.silent = {commands.Queue.Delete}
        leaving = asyncio.create_task(reopen(broker, tap))
        await until(lambda: node.asked[commands.Queue.Delete])
        async with tap(broker):
            assert node.unbound == [("amq.gen-1", BOOKS)]
            node.answer()
            await soon(leaving)


@pytest.mark.parametrize(
    ("version", "is_own"),
    [("3.10.8", True), ("4.1.9", True), ("4.2.0-rc.1", False), ("4.3.6", False), ("5.0", False)],
)
async def test_the_queue_of_a_tap_may_be_unbound_by_others_where_it_does_not_vanish_with_its_node(version, is_own):
    async with Node(version).serving() as node, running(broker_at(node, patience=SOON)) as broker, tap(broker):
        [declared] = [each for each in node.declared if not each.queue]
        assert (declared.exclusive, declared.durable, declared.auto_delete) == (is_own, not is_own, True)
        assert ("x-expires" in declared.arguments) is not is_own
        assert declared.arguments["x-queue-type"] == "classic"  # whatever a virtual host's default is
