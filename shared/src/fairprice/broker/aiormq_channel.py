"""What goes below aio-pika to aiormq, its lower half, together with all that leans on how aiormq works inside.

Connections, and whatever is declared or looked at, are aio-pika's. What is done for every message is done on channels
of aiormq, since those of aio-pika 10.2.1 cost more than those of aiormq 7.2.4. Measured with Python 3.11 on RabbitMQ
3.10 and 4.3, processor time, messages of 0.7 to 6 kB, four of them under way; a whole book costs a crawler some 180 us:

| | aio-pika | aiormq |
|---|---|---|
| a confirmed publish | 165 to 190 us | 125 to 145 us |
| a delivery | 75 to 100 us | 50 to 60 us |
| what a channel leaves on its connection when it is closed (aio-pika #490) | 4.2 kB | 0.3 kB |

What is relied on, and true in the versions that `pyproject.toml` allows:

1. A connection that aiormq gives up ends what waits on it by `CancelledError`, and a cancellation that meets the end of
   a channel comes out as the channel's error (`TaskWrapper`): see `bounded`.
2. A broker that has been silent for (heartbeat + 1) x 3 s is given up (`HEARTBEAT_GRACE_MULTIPLIER`): see `HEARTBEAT`.
3. Of a refused virtual host it tells only which answer it had hoped for: see `describe_refusal`.
4. `Connection.ready` comes back at once unless an alarm blocks the connection; nothing else tells: see `is_blocked`.
5. Each delivery comes in a task of its own; their first steps are in order, and those of all that came before the
   answer to a cancel are taken one turn of the loop after it: see `Channel.cancel`.
6. What no queue takes is matched to its publish by `message_id`, so a message needs one: see `amqp_message`.
7. A connection that is closed in peace ends what waits on it by a bare `Exception`: see `bounded`.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ProbableAuthenticationError, PublishError
from aiormq import spec
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.common import FieldTable
from yarl import URL

from fairprice.errors import BrokerUnavailable

Delivered = DeliveredMessage
Properties = spec.Basic.Properties

KEEPS_EXCLUSIVE_QUEUES = (4, 2)
"""The first RabbitMQ that leaves the exclusive queues of a node that is down bound, and locked.

Then it refuses whatever is published to their exchange until the node is back, and nobody may unbind them.
https://github.com/rabbitmq/rabbitmq-server/pull/14573
"""

TAP_LIFE = 60_000
"""Milliseconds until the broker deletes the queue of a tap that nobody consumes any more."""

HEARTBEAT = 10
"""Seconds; a broker that is silent for (10 + 1) x 3 of them is given up."""

for library in ("aiormq", "aio_pika"):  # they call each attempt an error; here an outage is logged once
    logging.getLogger(library).setLevel(logging.CRITICAL)


@asynccontextmanager
async def bounded(doing: str, seconds: float) -> AsyncIterator[None]:
    """Bound a talk with the broker in time and turn its many ways to fail into `BrokerUnavailable`.

    aiormq mixes up errors and cancellation, so what counts is whether somebody has asked this task to end meanwhile.
    """
    task = asyncio.current_task()
    cancelling = task.cancelling() if task else 0
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        _cancel_if_asked(task, cancelling)
        raise BrokerUnavailable(f"{doing}: the connection was lost") from error
    except TimeoutError as error:
        _cancel_if_asked(task, cancelling)
        raise BrokerUnavailable(f"{doing}: no answer within {seconds:g} s") from error
    except CONNECTION_EXCEPTIONS as error:
        _cancel_if_asked(task, cancelling)
        raise BrokerUnavailable(f"{doing}: {describe(error)}") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        _cancel_if_asked(task, cancelling)
        raise BrokerUnavailable(f"{doing}: the connection was closed") from error
    _cancel_if_asked(task, cancelling)


def _cancel_if_asked(task: asyncio.Task[object] | None, before: int) -> None:
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


def describe(error: BaseException | None) -> str:
    """Say what the broker or the network said, without the library's wrapping; never nothing."""
    if isinstance(error, asyncio.CancelledError):
        return "no sign of life"
    if isinstance(error, PublishError):
        return "no queue takes it"
    text = " ".join(str(part) for part in error.args) if error else ""
    return text or type(error).__name__


def describe_refusal(error: Exception, address: URL) -> str:
    """Say who or what is refused when a broker does not let a connection in."""
    if isinstance(error, ProbableAuthenticationError):
        return f"refuses the password of user {address.user!r}; set the right one"
    if "Connection.OpenOk" in str(error):
        return f"refuses the virtual host {address.path!r}; create it, or grant it to user {address.user!r}"
    return f"does not speak AMQP 0-9-1: {describe(error)}"


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether an alarm keeps the broker from taking what is published on this connection."""
    if connection.transport is None:
        return False
    waiting = connection.transport.connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True


async def unblocked(connection: AbstractConnection) -> None:
    """Wait for the end of the alarm that blocks a connection."""
    if connection.transport:
        await connection.transport.connection.ready()


class Channel:
    """A channel of aiormq on a connection of aio-pika."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._consumer_tag = ""

    @classmethod
    async def open(cls, connection: AbstractConnection, *, confirms: bool) -> "Channel":
        """Open one; `confirms` lets `publish` wait for the broker's word."""
        if connection.transport is None:
            raise BrokerUnavailable("the connection was lost")
        below = connection.transport.connection
        return cls(connection, await below.channel(publisher_confirms=confirms, on_return_raises=confirms))

    def serves(self, connection: AbstractConnection) -> bool:
        """Whether it is open, on this connection."""
        return self._connection is connection and not self._channel.is_closed

    async def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Return when all queues have it.

        Raises `PublishError` when no queue is bound, `DeliveryError` when one is full.
        """
        await self._channel.basic_publish(
            body, exchange=exchange, routing_key=routing_key, properties=properties, mandatory=True
        )

    async def cast(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Return when the network has it; nobody says what becomes of it."""
        await self._channel.basic_publish(body, exchange=exchange, routing_key=routing_key, properties=properties)

    async def limit(self, prefetch: int) -> None:
        """Let at most so many deliveries be unsettled at a time."""
        await self._channel.basic_qos(prefetch_count=prefetch)

    async def consume(
        self,
        queue: str,
        deliver: Callable[[Delivered], Coroutine[None, None, None]],
        end: Callable[[str], None],
        *,
        no_ack: bool,
    ) -> None:
        """Hand each delivery to `deliver`, in order up to its first wait; `end` gets the reason when none can come."""
        self._channel.closing.add_done_callback(
            lambda closing: end("it was closed" if closing.cancelled() else describe(closing.exception()))
        )
        self._channel.on_consumer_cancel_callbacks.add(
            lambda _frame: end("the broker ended it; queue deleted, or a message held for too long?")
        )
        consuming = await self._channel.basic_consume(queue, deliver, no_ack=no_ack)
        self._consumer_tag = consuming.consumer_tag or ""

    async def cancel(self) -> None:
        """Let no more deliveries come; those that came until the broker has answered have been handed over then."""
        await self._channel.basic_cancel(self._consumer_tag)
        await asyncio.sleep(0)

    async def ack(self, tag: int, *, multiple: bool) -> None:
        """Settle a delivery, or all up to it; the broker does not answer."""
        await self._channel.basic_ack(tag, multiple=multiple, wait=False)

    async def gives(self, queue: str) -> bool:
        """Take a message from a queue, and return whether there was one: closing the channel gives it back."""
        return isinstance((await self._channel.basic_get(queue)).delivery, spec.Basic.GetOk)

    async def bind(self, queue: str, exchange: str) -> None:
        """Bind a queue; one that is bound already stays so."""
        await self._channel.queue_bind(queue, exchange)

    async def declare_tap(self, capacity: int) -> str:
        """Declare a queue that forgets its oldest message and ends with its consumer; return its name.

        It is the connection's own where that lets it vanish with its node; elsewhere others may unbind it.
        """
        is_own = self._version < KEEPS_EXCLUSIVE_QUEUES
        declared = await self._channel.queue_declare(
            exclusive=is_own,
            durable=not is_own,
            auto_delete=True,
            arguments=_tap_arguments(capacity, is_own=is_own),
        )
        return declared.queue or ""

    async def unbind(self, queue: str, exchange: str) -> None:
        """Let a queue get nothing more, whether its node is there or not."""
        await self._channel.queue_unbind(queue, exchange)

    async def delete(self, queue: str) -> None:
        """Delete a queue and what is in it."""
        await self._channel.queue_delete(queue)

    @property
    def _version(self) -> tuple[int, ...]:
        """The first two numbers of the broker's version."""
        told = self._channel.connection.server_properties.get("version", "")
        return tuple(int(number) for number in re.findall(r"\d+", str(told))[:2])

    async def close(self) -> None:
        """Close it; what is unsettled returns to its queue."""
        await self._channel.close()


def _tap_arguments(capacity: int, *, is_own: bool) -> FieldTable:
    arguments: FieldTable = {"x-queue-type": "classic", "x-max-length": capacity, "x-overflow": "drop-head"}
    return arguments if is_own else {**arguments, "x-expires": TAP_LIFE, "x-queue-leader-locator": "client-local"}
