"""The files that RabbitMQ boots from: the topology, limits that lose nothing, and users who can do their work only."""

import asyncio
import base64
import hashlib
import importlib.util
import io
import json
import re
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

import aiormq
import pytest
from broker_steps import message, soon, until_cast
from rabbitmq_nodes import PROGRAMS, Node, programs_of, running, until
from structlog.testing import capture_logs

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.amqp_topology import queue_arguments
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import (
    BOOKS,
    BOOKS_CONVERTER,
    BOOKS_STORER,
    DEAD_LETTERS,
    EXCHANGES,
    LIVE,
    LIVE_MESSAGES,
    LIVE_MILLISECONDS,
    PRICES,
    PRICES_STORER,
    QUOTES,
    QUOTES_CONVERTER,
    UNROUTED,
    USES,
    Exchange,
    Use,
)

FOLDER = Path(__file__).parents[2] / "rabbitmq"
DEFINITIONS = json.loads((FOLDER / "definitions.json").read_text())
QUEUES = [queue for exchange in EXCHANGES for queue in exchange.queues]

LIVE_QUEUES = [queue for exchange in EXCHANGES if exchange.live for queue in exchange.queues]
KEPT_QUEUES = [queue for queue in QUEUES if queue not in LIVE_QUEUES]
"""All others: what is in them is never lost."""

WORK = USES | {"consumer": Use()}
"""What each user may do of what the topology holds; `consumer` is for consumers of a reader's own."""

NAMES = sorted({exchange.name for exchange in EXCHANGES} | set(QUEUES))


def by_name(kind):
    return {each["name"]: each for each in DEFINITIONS[kind]}


def policy_of(queue):
    (policy,) = [
        policy
        for policy in DEFINITIONS["policies"]
        if policy["apply-to"] == "queues" and re.search(policy["pattern"], queue)
    ]
    return policy


def limits_of(queue):
    return policy_of(queue)["definition"]


# ---- as files


def test_the_definitions_hold_the_exchanges_queues_and_bindings_of_the_topology():
    assert by_name("exchanges").keys() == {exchange.name for exchange in EXCHANGES}
    assert all(each["type"] == "fanout" and each["durable"] for each in DEFINITIONS["exchanges"])
    assert sorted(by_name("queues")) == sorted(QUEUES)
    assert {(each["source"], each["destination"]) for each in DEFINITIONS["bindings"]} == {
        (exchange.name, queue) for exchange in EXCHANGES for queue in exchange.queues
    }


def test_what_no_queue_takes_goes_where_the_topology_says():
    for exchange in EXCHANGES:
        alternates = [
            policy["definition"]["alternate-exchange"]
            for policy in DEFINITIONS["policies"]
            if policy["apply-to"] == "exchanges" and re.search(policy["pattern"], exchange.name)
        ]
        assert alternates == ([exchange.alternate] if exchange.alternate else [])


def test_every_queue_is_a_quorum_queue_but_those_of_the_live_view_and_has_no_other_argument():
    kinds = dict.fromkeys(KEPT_QUEUES, "quorum") | dict.fromkeys(LIVE_QUEUES, "classic")
    assert all(each["durable"] for each in DEFINITIONS["queues"])
    assert {name: each["arguments"] for name, each in by_name("queues").items()} == {
        name: {"x-queue-type": kind} for name, kind in kinds.items()
    }


@pytest.mark.parametrize("queue", LIVE_QUEUES)
def test_a_queue_of_the_live_view_forgets_what_is_old_and_refuses_nothing(queue):
    assert limits_of(queue) == {
        "message-ttl": LIVE_MILLISECONDS, "max-length": LIVE_MESSAGES, "overflow": "drop-head"
    }  # fmt: skip


@pytest.mark.parametrize("queue", KEPT_QUEUES)
def test_every_queue_is_bounded_refuses_when_full_and_lets_a_consumer_die_often(queue):
    limits = limits_of(queue)
    assert limits["overflow"] == "reject-publish"
    assert limits["max-length-bytes"] > 0
    assert limits["delivery-limit"] >= 1000


@pytest.mark.parametrize(
    "exchange",
    [*(each for each in EXCHANGES if each.queues), Exchange(PRICES, ("own.consumer",))],
    ids=lambda exchange: exchange.queues[0],
)
def test_queues_that_a_service_makes_itself_have_the_limits_of_the_definitions(exchange):
    arguments = queue_arguments(exchange)
    assert arguments.pop("x-queue-type") == ("classic" if exchange.live else "quorum")
    for queue in exchange.queues:
        limits = {f"x-{name}": value for name, value in limits_of(queue).items()}
        assert limits == arguments


@pytest.mark.parametrize("queue", KEPT_QUEUES)
def test_a_trial_of_a_queue_is_made_under_its_policy(queue):
    assert policy_of(f"{queue}.probe-0a1b2c3d") == policy_of(queue)


@pytest.mark.parametrize("user", USES)
def test_a_service_has_the_rights_that_its_work_needs_and_no_others(user):
    (rights,) = [each for each in DEFINITIONS["permissions"] if each["user"] == user]
    use = USES[user]
    granted = {
        kind: {name for name in NAMES if re.search(rights[kind], name)} for kind in ("configure", "write", "read")
    }
    assert granted == {"configure": set(), "write": {*use.publishes, *use.casts}, "read": {*use.consumes, *use.taps}}


@pytest.mark.parametrize("queue", [BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER])
def test_what_is_delivered_too_often_ends_in_the_dead_letters_and_on_the_way_nowhere(queue):
    assert limits_of(queue)["dead-letter-exchange"] == DEAD_LETTERS
    assert limits_of(queue)["dead-letter-strategy"] == "at-least-once"


def test_there_is_no_guest_and_no_password():
    assert by_name("users").keys() == {*WORK, "scaler", "operator"}
    assert all(each.keys() == {"name", "tags"} for each in DEFINITIONS["users"])


def test_every_user_has_rights_and_every_right_a_user():
    assert sorted(each["user"] for each in DEFINITIONS["permissions"]) == sorted(by_name("users"))


@pytest.fixture(scope="session")
def users():
    specification = importlib.util.spec_from_file_location("users", FOLDER / "users.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_hash_of_a_password_is_the_documented_one(users):
    """The example of https://www.rabbitmq.com/docs/passwords: test12 with the salt 90 8D C6 0A."""
    hashed = users.password_hash("test12", bytes.fromhex("908DC60A"))
    assert hashed == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_the_users_file_has_the_hash_of_each_password_and_not_the_password(users, tmp_path, capsys):
    (tmp_path / "storer").write_text("s3cret\n")
    assert users.main([f"storer={tmp_path}/storer"]) == 0
    printed = capsys.readouterr().out
    (user,) = json.loads(printed)["users"]
    raw = base64.b64decode(user["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"s3cret").digest()
    assert "s3cret" not in printed


@pytest.mark.parametrize(
    ("argument", "reason"),
    [("guest=x", "'guest' is no user"), ("storer=nowhere", "cannot be read"), ("storer=/dev/null", "is empty")],
)
def test_a_password_that_is_not_there_is_told(users, capsys, argument, reason):
    assert users.main([argument]) == 2
    assert reason in capsys.readouterr().err


# ---- as a node has them that booted from them


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def node(request, tmp_path_factory, users):
    """A node that boots from the files as they are, with the password of each user being his name backwards."""
    folder = programs_of(request.param)
    home = tmp_path_factory.mktemp("definitions")
    files = tmp_path_factory.mktemp("files")
    (files / "10-definitions.json").write_text((FOLDER / "definitions.json").read_text())
    passwords = tmp_path_factory.mktemp("passwords")
    for name in by_name("users"):
        (passwords / name).write_text(name[::-1])
    with redirect_stdout(io.StringIO()) as printed:
        assert users.main([f"{name}={passwords / name}" for name in by_name("users")]) == 0
    (files / "20-users.json").write_text(printed.getvalue())
    configuration = (FOLDER / "rabbitmq.conf").read_text().replace("/etc/rabbitmq/definitions", str(files))
    node = Node(folder, home, configuration=configuration)
    try:
        node.start()
        node.files = files
        yield node
    finally:
        node.destroy()


def broker_of(node, user):
    url = node.url_of(user, user[::-1])
    return AmqpBroker(
        lambda: url,
        name=user,
        clock=SystemClock(),
        back_off=partial(delays, Random(1)),
        publish_timeout=2,
        use=WORK.get(user),
    )


@asynccontextmanager
async def channel_of(node, user):
    async with aiormq.connect(node.url_of(user, user[::-1])) as connection:
        yield await connection.channel()


async def may(doing):
    """Tell whether the broker lets it be done; any other reason than a missing right fails the test."""
    try:
        await soon(doing)
    except (BrokerUnavailable, aiormq.exceptions.ChannelAccessRefused) as error:
        if "ACCESS_REFUSED" not in str(error):
            raise
        return False
    return True


@pytest.mark.rabbitmq
@pytest.mark.parametrize("user", WORK)
async def test_a_service_can_do_its_work_and_nothing_else(node, user):
    async def subscribe(queue):
        async with broker.subscribe(queue, 1):
            pass

    async def tap(exchange):
        async with broker.tap(exchange, 10) as tap:
            await publish_as_operator(exchange)
            await tap.receive(1)

    async def publish_as_operator(exchange):
        async with channel_of(node, "operator") as channel:
            await channel.basic_publish(b"{}", exchange=exchange)

    names = [exchange.name for exchange in EXCHANGES]
    async with running(broker_of(node, user)) as broker:
        kept = [exchange.name for exchange in EXCHANGES if not exchange.live]
        assert {name for name in kept if await may(broker.publish(name, message(1)))} == set(WORK[user].publishes)
        for name in WORK[user].casts:
            async with running(broker_of(node, "operator")) as operator, operator.tap(name, 10) as tapped:
                await until_cast(broker, name, message(1))
                assert await soon(tapped.receive(1))
        assert {queue for queue in QUEUES if await may(subscribe(queue))} == set(WORK[user].consumes)
        assert {name for name in names if await may(tap(name))} == set(WORK[user].taps)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("user", WORK)
async def test_a_service_can_declare_delete_and_empty_nothing(node, user):
    attempts = [
        lambda channel, name: channel.exchange_declare(name, exchange_type="fanout", durable=True),
        lambda channel, name: channel.exchange_delete(name),
        lambda channel, name: channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"}),
        lambda channel, name: channel.queue_delete(name),
        lambda channel, name: channel.queue_bind(name, UNROUTED),
    ]
    for attempt, name in product(attempts, (*QUEUES, "new")):
        async with channel_of(node, user) as channel:
            assert not await may(attempt(channel, name))


@pytest.mark.rabbitmq
async def test_a_consumer_of_ones_own_may_have_queues_of_its_own_that_forget_the_oldest(node):
    async with channel_of(node, "consumer") as channel:
        await channel.queue_declare("own.test", durable=True, arguments={"x-queue-type": "quorum"})
        try:
            for exchange in (BOOKS, PRICES):
                assert await may(channel.queue_bind("own.test", exchange))
            listed = await asyncio.to_thread(node.ctl, "list_queues", "--no-table-headers", "name", "policy")
            assert "own.test\town" in listed
        finally:
            await channel.queue_delete("own.test")
    assert limits_of("own.test")["overflow"] == "drop-head"


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("user", "password"), [("guest", "guest"), ("crawler", ""), ("storer", "storer")])
async def test_nobody_gets_in_without_his_password(node, user, password):
    with pytest.raises(aiormq.exceptions.ProbableAuthenticationError):
        await soon(aiormq.connect(node.url_of(user, password)))


@pytest.mark.rabbitmq
async def test_the_policies_are_in_force(node):
    listed = await asyncio.to_thread(node.ctl, "list_queues", "--no-table-headers", "name", "policy")
    assert dict(line.split("\t") for line in listed.splitlines()) == {
        queue: policy_of(queue)["name"] for queue in QUEUES
    }
    async with channel_of(node, "operator") as operator:
        await operator.confirm_delivery()
        too_long = b"x" * 1_100_000
        with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="message size"):
            await soon(operator.basic_publish(too_long, exchange=BOOKS))


@pytest.mark.rabbitmq
async def test_whoever_may_do_everything_finds_that_the_policies_make_every_queue_safe(node):
    with capture_logs() as logs:
        async with running(broker_of(node, "operator")):
            pass
    assert logs == []
    listed = await asyncio.to_thread(node.ctl, "list_queues", "--no-table-headers", "name")
    assert sorted(listed.split()) == sorted(QUEUES)


@pytest.mark.rabbitmq
async def test_what_no_queue_takes_waits_in_unrouted(node):
    async with channel_of(node, "operator") as operator:
        await operator.queue_unbind(PRICES_STORER, PRICES)
        try:
            async with running(broker_of(node, "converter")) as broker:
                await soon(broker.publish(PRICES, message(7)))
            waiting = await operator.basic_get(UNROUTED, no_ack=True)
        finally:
            await operator.queue_bind(PRICES_STORER, PRICES)
    assert waiting.header.properties.message_id == "id-7"


@pytest.mark.rabbitmq
async def test_a_deleted_queue_is_named_until_the_definitions_are_imported_again(node):
    broker = broker_of(node, "storer")
    async with running(broker):
        async with channel_of(node, "operator") as operator:
            await operator.queue_delete(PRICES_STORER)
        with pytest.raises(BrokerUnavailable, match=r"no queue 'prices\.storer'"):
            async with broker.subscribe(PRICES_STORER, 1):
                pass
        await until(lambda: "queue prices.storer is missing" in (broker.problem() or ""))
        for file in ("10-definitions.json", "20-users.json"):
            await asyncio.to_thread(node.ctl, "import_definitions", str(node.files / file))
        await until(lambda: broker._connections.check_soon() or "is missing" not in (broker.problem() or ""))
        async with broker.subscribe(PRICES_STORER, 1):
            pass
        assert broker.problem() is None
    async with running(broker_of(node, "storer")):
        pass  # the passwords are those of before


@pytest.mark.rabbitmq
async def test_a_broker_without_a_live_view_is_told_once_and_is_no_problem(node):
    """One whose definitions are those of an earlier version."""
    with capture_logs() as logs:
        async with channel_of(node, "operator") as operator:
            await operator.queue_delete(QUOTES_CONVERTER)
            async with running(broker := broker_of(node, "converter")):
                await until_cast(broker, LIVE, message(1))  # what it reads from is absent, and not what it casts to
            for exchange in (QUOTES, LIVE):
                await operator.exchange_delete(exchange)
        for user in ("crawler", "converter", "gateway"):
            async with running(broker := broker_of(node, user)):
                assert broker.problem() is None
                for exchange in WORK[user].publishes:
                    await soon(broker.publish(exchange, message(1)))
                assert not any(broker.cast(exchange, message(1)) for exchange in (QUOTES, LIVE))
                for queue in {*WORK[user].consumes} - {BOOKS_CONVERTER}:
                    with pytest.raises(BrokerUnavailable):
                        async with broker.subscribe(queue, 1):
                            pass
                broker._connections.check_soon()
                await asyncio.sleep(0.2)
                assert broker.problem() is None
                assert ("broker_missing_objects", (), 0) in list(broker.samples())
                assert "broker_subscriptions" not in {name for name, labels, _ in broker.samples() if labels}
    await asyncio.to_thread(node.ctl, "import_definitions", str(node.files / "10-definitions.json"))
    await asyncio.to_thread(node.ctl, "import_definitions", str(node.files / "20-users.json"))
    assert [line["log_level"] for line in logs] == ["warning"] * 4
    assert all("live view" in line["event"] for line in logs)
