"""What is logged of an alarm, whoever waits for its end or has given up by then."""

import asyncio
from types import SimpleNamespace

import structlog

from fairprice.broker.amqp_connections import Session


def session_of(accepting: asyncio.Event) -> Session:
    """A session whose publishing connection is blocked unless it is `accepting`, as an alarm does it."""
    connection = SimpleNamespace(transport=SimpleNamespace(connection=SimpleNamespace(ready=accepting.wait)))
    return Session("a-node", publishing=connection, consuming=connection)


async def test_an_alarm_and_its_end_are_logged_once_each_though_nobody_waited_when_it_ended():
    accepting = asyncio.Event()
    session = session_of(accepting)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            accepting.clear()
            for _ in range(3):
                given_up = asyncio.create_task(session.unblocked())
                await asyncio.sleep(0)
                given_up.cancel()
            accepting.set()
            for _ in range(3):
                await session.unblocked()
    alarm = ["holding back what is to be published", "the broker accepts messages again"]
    assert [each["event"] for each in logs] == alarm * 2


async def test_without_an_alarm_nothing_is_logged():
    accepting = asyncio.Event()
    accepting.set()
    with structlog.testing.capture_logs() as logs:
        await session_of(accepting).unblocked()
    assert logs == []
