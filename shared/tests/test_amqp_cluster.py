"""A cluster of three RabbitMQ nodes under load: one is killed, frozen, cut off or restarted, and nothing is lost.

Minutes each, so by hand: `make test-cluster`. Publisher and consumers are connected to the node that fails.
"""

import asyncio
from functools import partial

import pytest
from broker_load import HEARTBEAT, QUEUES, load
from rabbitmq_cluster import Cluster
from rabbitmq_nodes import PROGRAMS, programs_of, until

from fairprice.topology import BOOKS, BOOKS_STORER, QUOTES, QUOTES_CONVERTER, Use

pytestmark = [pytest.mark.rabbitmq, pytest.mark.cluster, pytest.mark.rounds]

USE = Use(publishes=(BOOKS,), casts=(QUOTES,), consumes=(*QUEUES, QUOTES_CONVERTER))
"""That of a crawler and its consumers, with the live view's queue, which is on one node only."""


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


async def go_on(cluster, victim, capsys, name, *, fail, heal):
    """Break a node in the middle of a load that uses it: it goes on without; then all is there, once it is healed."""
    others = [node for node in cluster.nodes if node is not victim]
    url = cluster.url(victim, *others, query=f"?heartbeat={HEARTBEAT}")
    async with load(url, capsys, name, use=USE) as (loaded, _):
        await asyncio.to_thread(fail)
        try:
            seconds = await loaded.until_flowing()
        finally:
            await asyncio.to_thread(heal)
    with capsys.disabled():
        print(f"{name}: went on without it after {seconds:.1f} s")  # noqa: T201


async def test_every_queue_of_the_record_has_a_member_on_each_node(cluster):
    def members():
        return [len(queue["members"]) for queue in cluster.queues() if queue["type"] == "quorum"]

    await until(lambda: members() == [3] * 5)


async def test_a_node_is_killed(cluster, victim, capsys):
    await go_on(cluster, victim, capsys, "killed", fail=victim.kill, heal=victim.start)


async def test_a_node_is_frozen(cluster, victim, capsys):
    await go_on(cluster, victim, capsys, "frozen", fail=victim.freeze, heal=victim.thaw)


@pytest.mark.parametrize(
    ("hears", "is_heard"),
    [(False, False), (True, False), (False, True)],
    ids=["both ways", "mute", "deaf"],
)
async def test_a_node_is_cut_off_from_the_others(cluster, victim, capsys, hears, is_heard):
    """Clients still reach it, and it takes nothing that it cannot tell the others."""
    cut = partial(cluster.cut, victim, hears=hears, is_heard=is_heard)
    await go_on(cluster, victim, capsys, "cut off", fail=cut, heal=cluster.links.heal)


async def test_the_nodes_are_restarted_one_after_the_other(cluster, capsys):
    url = cluster.url(*cluster.nodes, query=f"?heartbeat={HEARTBEAT}")
    async with load(url, capsys, "restarted one after the other", use=USE) as (loaded, _):
        for node in cluster.nodes:
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await loaded.until_flowing()
