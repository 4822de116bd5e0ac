"""How a talk with the broker may end, without a broker."""

import asyncio
import socket
from contextlib import suppress
from itertools import repeat

import aiormq
import pytest
from broker_steps import A_WHILE, message, soon
from rabbitmq_nodes import until
from structlog.testing import capture_logs

from fairprice.broker.aiormq_channel import bounded
from fairprice.broker.amqp import AmqpBroker
from fairprice.errors import BrokerUnavailable, SettingsError
from fairprice.runtime.clock import SystemClock


def broker_at(url, pause=0.001):
    return AmqpBroker(
        lambda: url,
        name="test",
        clock=SystemClock(),
        back_off=lambda: repeat(pause),
        publish_timeout=A_WHILE,
        reply_timeout=A_WHILE,
    )


async def raising(error):
    async with bounded("asking", 1):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),  # what aiormq makes of a frozen broker
        ConnectionResetError("reset"),
        aiormq.exceptions.ChannelInvalidStateError("closed"),
        aiormq.exceptions.ChannelNotFoundEntity("no queue"),
        aiormq.exceptions.ConnectionClosed(320, "shutdown"),
        RuntimeError("closed"),
        Exception(),  # what aiormq makes of a connection that is closed in peace
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_aiormq_raises_is_an_unavailable_broker(error):
    with pytest.raises(BrokerUnavailable, match="asking: "):
        await raising(error)


async def test_an_error_of_ours_stays_what_it_is():
    with pytest.raises(ValueError, match="ours"):
        await raising(ValueError("ours"))


async def test_a_broker_that_does_not_answer_in_time_is_unavailable():
    with pytest.raises(BrokerUnavailable, match=r"asking: no answer within 0\.01 s"):
        async with bounded("asking", 0.01):
            await asyncio.Event().wait()


async def test_who_is_asked_to_end_is_cancelled():
    async def ask():
        async with bounded("asking", 1):
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


@pytest.mark.parametrize("instead", [aiormq.exceptions.ChannelAccessRefused("no right"), None])
async def test_a_cancellation_that_aiormq_turns_into_something_else_stays_one(instead):
    async def ask():
        async with bounded("asking", 1):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if instead:
                raise instead

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def test_who_was_asked_to_end_before_can_still_tell_a_lost_connection_while_he_cleans_up():
    async def clean_up():
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(BrokerUnavailable):
                await raising(asyncio.CancelledError())

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


@pytest.mark.parametrize("url", ["http://localhost", "localhost:5672", "amqp://", "amqp://host:port/", ""])
def test_an_address_that_is_none_is_refused_at_once_and_not_shown_with_its_password(url):
    with pytest.raises(SettingsError, match="broker's address"):
        broker_at(url)


def test_the_password_of_a_bad_address_is_not_shown():
    with pytest.raises(SettingsError) as caught:
        broker_at("http://user:s3cret@host/")
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"amqp://127.0.0.1:{probe.getsockname()[1]}/"


async def test_without_a_broker_there_is_one_log_line_and_words_for_readyz(nobody):
    broker = broker_at(nobody)
    assert "not connected" in broker.problem()
    with capture_logs() as logs:
        task = asyncio.create_task(broker.run())
        await until(lambda: broker._connections._outage and broker._connections._outage.attempts >= 20)
        task.cancel()
        await asyncio.wait({task})
    assert [line["log_level"] for line in logs] == ["error"]
    assert "cannot connect to the broker at 127.0.0.1" in broker.problem()
    assert broker.checks()["broker"]() == broker.problem()


async def test_without_a_broker_publishing_and_consuming_fail_in_time_and_say_why(nobody):
    broker = broker_at(nobody)
    task = asyncio.create_task(broker.run())
    await until(lambda: "cannot connect" in broker.problem())
    with pytest.raises(BrokerUnavailable, match=r"publishing to 'books'.*cannot connect"):
        await soon(broker.publish("books", message(1)))
    with pytest.raises(BrokerUnavailable, match=r"consuming 'books\.storer'.*cannot connect"):
        async with broker.subscribe("books.storer", 1):
            pass
    task.cancel()
    await asyncio.wait({task})


async def test_attempts_to_connect_are_as_far_apart_as_the_back_off_says(nobody):
    pauses = []
    attempts = 0

    class ImpatientClock(SystemClock):
        async def sleep(self, seconds):
            pauses.append((attempts, seconds))
            await asyncio.sleep(0)

    def address():
        nonlocal attempts
        attempts += 1
        return nobody

    broker = AmqpBroker(
        address, name="test", clock=ImpatientClock(), back_off=lambda: iter([0.1, 0.2, 0.4, *repeat(9, 99)])
    )
    task = asyncio.create_task(broker.run())
    await until(lambda: len(pauses) >= 3)
    task.cancel()
    await asyncio.wait({task})
    assert pauses[:3] == [(2, 0.1), (3, 0.2), (4, 0.4)]  # one attempt to read it is the check at the start


async def test_of_several_addresses_each_has_its_turn_without_another_log_line():
    broker = broker_at("amqp://me:s3cret@127.0.0.1:1,amqp://me:s3cret@127.0.0.1:2")
    with capture_logs() as logs:
        task = asyncio.create_task(broker.run())
        for port in (1, 2, 1, 2):
            await until(lambda: f"the broker at 127.0.0.1:{port}:" in broker.problem())  # noqa: B023
        task.cancel()
        await asyncio.wait({task})
    assert len(logs) == 1
    assert "s3cret" not in f"{logs} {broker.problem()}"


async def test_an_unreadable_password_file_is_a_problem_and_not_the_end(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    broker = AmqpBroker(
        lambda: f"amqp://a:{secret.read_text()}@127.0.0.1:1/",
        name="test",
        clock=SystemClock(),
        back_off=lambda: repeat(0.001),
    )
    secret.unlink()
    task = asyncio.create_task(broker.run())
    await until(lambda: "cannot read" in broker.problem())
    secret.write_text("y")
    await until(lambda: "cannot connect" in broker.problem())
    task.cancel()
    await asyncio.wait({task})
