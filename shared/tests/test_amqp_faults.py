"""What happens to brokers happens here to real ones under load: nothing that was put is lost, all heals by itself."""

import asyncio
from functools import partial

import pytest
from broker_load import HEARTBEAT, lines, load
from broker_steps import message
from rabbitmq_nodes import PROGRAMS, programs_of, reached, until

from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER, QUOTES

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def node(request, tmp_path_factory):
    programs_of(request.param)
    with reached(request.param, tmp_path_factory) as node:
        yield node


def at(node):
    return f"{node.url}?heartbeat={HEARTBEAT}"


async def test_a_restart(node, capsys):
    async with load(at(node), capsys, "restart") as (loaded, logs):
        await asyncio.to_thread(node.stop)
        await until(loaded.broker.problem)
        await loaded.until_failed(3)
        assert len(lines(logs, "no broker")) == 1
        await asyncio.to_thread(node.start)
    assert len(lines(logs, "connected to the broker again")) == 1


async def test_a_kill(node, capsys):
    async with load(at(node), capsys, "kill -9") as (_, logs):
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
    assert len(lines(logs, "connected to the broker again")) == 1


async def test_a_freeze_shorter_than_the_heartbeat_allows(node, capsys):
    async with load(at(node), capsys, "frozen until a publish was given up") as (loaded, _):
        node.freeze()
        await loaded.until_failed(1)
        node.thaw()


async def test_a_freeze_longer_than_the_heartbeat_allows(node, capsys):
    async with load(at(node), capsys, "frozen until the connection was given up") as (loaded, _):
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
    async with load(at(node), capsys, f"{alarm[0]} alarm until publishes were given up") as (loaded, logs):
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
    async with load(at(node), capsys, "queue deleted", intact=(BOOKS_CONVERTER,)) as (loaded, logs):
        await asyncio.to_thread(node.ctl, "delete_queue", BOOKS_STORER)
        mark = loaded.put + 200  # a queue that has just been made is not to be relied on yet
        await until(lambda: loaded.newest > mark)
    assert [line["objects"] for line in lines(logs, "declared")][-1] == (f"queue {BOOKS_STORER}",)


async def test_connections_that_an_operator_closes(node, capsys):
    async with load(at(node), capsys, "connections closed 3 times") as (loaded, _):
        for _ in range(3):
            losses = loaded.losses
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: loaded.losses > losses)  # noqa: B023  awaited in its own round
            await until(lambda: loaded.broker.problem() is None)


async def test_a_changed_password(node, capsys):
    async with load(at(node), capsys, "password changed for some tries") as (loaded, logs):
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
    async with load(at(node), capsys, f"rights {rights} for some tries") as (loaded, _):
        await asyncio.to_thread(node.ctl, "set_permissions", "guest", *rights)
        try:
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: words in (loaded.broker.problem() or ""))
            await loaded.until_failed(3)
        finally:
            await asyncio.to_thread(node.ctl, "set_permissions", "guest", ".*", ".*", ".*")


async def test_a_right_to_the_whole_virtual_host_that_is_taken_away(node, capsys):
    async with load(at(node), capsys, "virtual host refused") as (loaded, _):
        await asyncio.to_thread(node.ctl, "clear_permissions", "guest")
        try:
            await asyncio.to_thread(node.ctl, "close_all_connections", "test")
            await until(lambda: "refuses the virtual host" in (loaded.broker.problem() or ""))
        finally:
            await asyncio.to_thread(node.ctl, "set_permissions", "guest", ".*", ".*", ".*")
