"""Looks at what a subscription that brings nothing is of, and unbinds what a tap has left behind.

Is there nothing, or does nothing come? A look is answered together with most of the nodes of a cluster
(`fairprice.broker.majority`), has a channel of its own, so that neither its answer nor its end meddles with deliveries,
and raises `BrokerUnavailable` where all is not well.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aio_pika.exceptions import ChannelClosed

from fairprice.broker.aiormq_channel import Channel, bounded
from fairprice.broker.amqp_connections import CLOSE_TIMEOUT, Session
from fairprice.errors import BrokerUnavailable

Look = Callable[[Session], Awaitable[None]]


async def take(queue: str, session: Session) -> None:
    """Look whether a queue is empty that delivers nothing; what it gives goes back, ahead of all others."""
    async with _another(session) as channel:
        if await channel.gives(queue):
            raise BrokerUnavailable(f"queue {queue!r} has messages and delivers none")


async def bind(queue: str, exchange: str, session: Session) -> None:
    """Look whether the queue of a tap is there and bound: the others may have deleted it while its node was cut off."""
    async with _another(session) as channel:
        await channel.bind(queue, exchange)


async def bind_new(channel: Channel, queue: str, exchange: str, session: Session) -> None:
    """Bind a queue that was just declared on a channel; where that is refused nobody will use it, so it is deleted."""
    try:
        await channel.bind(queue, exchange)
    except ChannelClosed:
        async with _another(session) as another:
            await another.delete(queue)
        raise


async def unbind(queue: str, exchange: str, session: Session) -> None:
    """Let a queue get nothing more; one that is gone gets nothing anyway."""
    async with _another(session) as channel:
        with suppress(ChannelClosed):
            await channel.unbind(queue, exchange)


async def close(channel: Channel) -> None:
    """Close a channel, and do not wait for a broker that does not answer."""
    with suppress(BrokerUnavailable):
        async with bounded("closing a channel", CLOSE_TIMEOUT):
            await channel.close()


@asynccontextmanager
async def _another(session: Session) -> AsyncIterator[Channel]:
    channel = await Channel.open(session.consuming, confirms=False)
    try:
        yield channel
    finally:
        await close(channel)
