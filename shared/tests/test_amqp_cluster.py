"""A cluster of three RabbitMQ nodes under load: one is killed, frozen, cut off or restarted, and nothing is lost.

Publisher and consumers are connected to the node that fails. `make test-cluster` has them, by hand, in minutes each.
"""

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from itertools import repeat

import pytest
from broker_load import HEARTBEAT, QUEUES, load
from rabbitmq_cluster import QUORUM_QUEUES, Cluster
from rabbitmq_nodes import PROGRAMS, programs_of, running, until
from waiting import PATIENCE

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.retry import consume
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, BOOKS_STORER, QUOTES, QUOTES_CONVERTER, UNROUTED, Use

pytestmark = [pytest.mark.rabbitmq, pytest.mark.cluster, pytest.mark.rounds]

USE = Use(publishes=(BOOKS,), casts=(QUOTES,), consumes=(*QUEUES, QUOTES_CONVERTER))
"""That of a crawler and its consumers, with the live view's queue, which is on one node only."""

BRIEF = {"publish_timeout": 6, "reply_timeout": 4, "silence": 2}
"""Seconds on an idle machine, a fifth of what services have or more: else a round would take half a minute more."""


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def cluster(request, tmp_path_factory):
    cluster = Cluster(programs_of(request.param), tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(params=["leader", "follower"])
def victim(request, cluster):
    """A node that leads a queue, or one that follows."""
    leader = cluster.leader(BOOKS_STORER)
    return leader if request.param == "leader" else next(node for node in cluster.nodes if node is not leader)


@pytest.fixture
def patience(cluster):
    return {name: seconds * cluster.lateness for name, seconds in BRIEF.items()}


def url_of(cluster, victim):
    """Return the addresses of all nodes, the one that is going to fail first."""
    others = [node for node in cluster.nodes if node is not victim]
    return cluster.url(victim, *others, query=f"?heartbeat={HEARTBEAT}")


@asynccontextmanager
async def broken(fail, heal):
    """Break something for the body, and heal it however that ends."""
    await asyncio.to_thread(fail)
    try:
        yield
    finally:
        await asyncio.to_thread(heal)


async def go_on(cluster, victim, capsys, patience, name, *, fail, heal):
    """Break a node in the middle of a load that uses it: it goes on without; then all is there, once it is healed."""
    async with load(url_of(cluster, victim), capsys, name, use=USE, **patience) as (loaded, _), broken(fail, heal):
        seconds = await loaded.until_flowing()
    tell(capsys, f"{name}: went on without it after {seconds:.1f} s")


def tell(capsys, text):
    with capsys.disabled():
        print(text)  # noqa: T201


async def test_every_queue_of_the_record_has_a_member_on_each_node(cluster):
    assert cluster.members() == [3] * QUORUM_QUEUES


async def test_a_node_is_killed(cluster, victim, capsys, patience):
    await go_on(cluster, victim, capsys, patience, "killed", fail=victim.kill, heal=victim.start)


async def test_a_node_is_frozen(cluster, victim, capsys, patience):
    await go_on(cluster, victim, capsys, patience, "frozen", fail=victim.freeze, heal=victim.thaw)


@pytest.mark.parametrize("how", ["both ways", "mute", "deaf"])
async def test_a_node_is_cut_off_from_the_others(cluster, victim, capsys, patience, how):
    """Clients still reach it, and it takes nothing that it cannot tell the others."""
    cut = partial(cluster.cut, victim, hears=how == "mute", is_heard=how == "deaf")
    await go_on(cluster, victim, capsys, patience, f"cut off, {how}", fail=cut, heal=cluster.links.heal)


@pytest.mark.parametrize("how", ["cut off", "killed"])
async def test_who_only_consumes_leaves_the_node_as_well_and_holds_nobody_up(cluster, victim, capsys, patience, how):
    """Of a queue in which nothing comes, and of a tap, silence is no sign by itself.

    Since 4.2 the queue of a tap stays bound while its node is away, and what is published elsewhere is refused.
    """
    cut = partial(cluster.cut, victim, hears=False, is_heard=False), cluster.links.heal
    fail, heal = cut if how == "cut off" else (victim.kill, victim.start)
    rest = [node for node in cluster.nodes if node is not victim]
    others = cluster.url(*rest, query=f"?heartbeat={HEARTBEAT}")
    async with (
        load(others, capsys, f"elsewhere while one is {how}", use=USE, **patience) as (loaded, _),
        waiting(url_of(cluster, victim), patience) as waiter,
        tapping(url_of(cluster, victim), patience) as (tapper, tapped),
    ):
        await until(lambda: tapped)
        async with broken(fail, heal):
            began = time.monotonic()
            await until(lambda: lost(waiter) and lost(tapper), 3 * PATIENCE)
            tapped.clear()
            await until(lambda: tapped and not waiter.problem(), 3 * PATIENCE)
            seconds = time.monotonic() - began
            await loaded.until_flowing()
    tell(capsys, f"{how}, who only consumes: went on elsewhere after {seconds:.1f} s")


def lost(broker):
    return {name: value for name, _, value in broker.samples()}["broker_lost_connections_total"]


def pauses():
    return repeat(0.1)


def broker_at(url, name, use, patience):
    return AmqpBroker(lambda: url, name=name, clock=SystemClock(), back_off=pauses, use=use, **patience)


@asynccontextmanager
async def consuming(broker, subscribe, queue):
    """Hand over a list of the bodies that come, while they are consumed."""
    bodies = []

    async def work(subscription):
        bodies.extend(delivery.message.body for delivery in await subscription.receive(100))
        return True

    task = asyncio.create_task(consume(subscribe, work, pauses, asyncio.Event(), SystemClock(), queue=queue))
    try:
        async with running(broker):
            yield bodies
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def waiting(url, patience):
    broker = broker_at(url, "waits", Use(consumes=(UNROUTED,)), patience)
    async with consuming(broker, partial(broker.subscribe, UNROUTED, 10), UNROUTED):
        yield broker


@asynccontextmanager
async def tapping(url, patience):
    broker = broker_at(url, "taps", Use(taps=(BOOKS,)), patience)
    async with consuming(broker, partial(broker.tap, BOOKS, 100), "tap") as bodies:
        yield broker, bodies


async def test_the_nodes_are_restarted_one_after_the_other(cluster, capsys, patience):
    url = cluster.url(*cluster.nodes, query=f"?heartbeat={HEARTBEAT}")
    async with load(url, capsys, "restarted one after the other", use=USE, **patience) as (loaded, _):
        for node in cluster.nodes:
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            seconds = await loaded.until_flowing()
            tell(capsys, f"restarted: flowing {seconds:.1f} s after it was up")
