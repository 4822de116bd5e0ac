"""Sends to RabbitMQ what may be lost, on a connection of its own that nothing else waits for.

Neither the broker nor the network can hold up who casts: what finds no way at once is dropped. So an alarm that blocks
this connection, or a queue behind it that is slow, is no matter for what is published.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import structlog
from aio_pika import Connection

from fairprice.broker.aiormq_channel import Channel, bounded, is_blocked
from fairprice.broker.amqp_message import TRANSIENT, to_amqp
from fairprice.broker.port import Message
from fairprice.broker.retry import BackOff
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import Clock
from fairprice.runtime.occasional import Occasional

CAPACITY = 100
"""Messages that wait for the network at most: a twentieth of a second at the most that a crawler casts."""

SEND_TIMEOUT = 15.0
"""Seconds after which a connection that takes nothing is given up."""

log = structlog.get_logger(__name__)


class Caster:
    """Casts while `run` is running; it connects by `connect` when there is something to cast for the first time.

    Where `is_there` says that there is no such exchange, nothing is tried. `back_off` makes the pauses between attempts
    to connect. `counts` has by exchange and outcome what became of each message.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Connection]],
        is_there: Callable[[str], bool],
        *,
        clock: Clock,
        back_off: BackOff,
        capacity: int = CAPACITY,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._connect = connect
        self._is_there = is_there
        self._clock = clock
        self._back_off = back_off
        self._capacity = capacity
        self._connection: Connection | None = None
        self._waiting: deque[tuple[str, Message]] = deque()
        self._awake = asyncio.Event()
        self._occasional = Occasional(clock)

    def cast(self, exchange: str, message: Message) -> bool:
        """See `Broker.cast`; of what waits the oldest is dropped for a newer one."""
        if not self._is_there(exchange):
            return self._drop(exchange)
        self._awake.set()
        if self._connection is None or is_blocked(self._connection):
            return self._drop(exchange)
        self._waiting.append((exchange, message))
        if len(self._waiting) > self._capacity:
            self._drop(self._waiting.popleft()[0])
        return True

    async def run(self) -> NoReturn:
        """Keep a connection from the first cast on, until cancelled."""
        await self._awake.wait()
        pauses = self._back_off()
        while True:
            try:
                async with self._connect() as connection:
                    async with bounded("opening a channel", SEND_TIMEOUT):
                        channel = await Channel.open(connection, confirms=False)
                    pauses = self._back_off()
                    await self._send(connection, channel)
            except BrokerUnavailable as error:
                if self._occasional.due("lost") is not None:
                    log.warning("the live view lags until it is connected again", problem=str(error))
            await self._clock.sleep(next(pauses))

    async def _send(self, connection: Connection, channel: Channel) -> NoReturn:
        """Send what is cast until the connection is lost, which raises `BrokerUnavailable`."""
        connection.close_callbacks.add(lambda _connection, _error: self._awake.set())
        self._connection = connection
        try:
            while channel.serves(connection):
                self._awake.clear()
                while self._waiting:
                    await self._send_one(channel, *self._waiting.popleft())
                await self._awake.wait()
            raise BrokerUnavailable("the connection was lost")
        finally:
            self._connection = None
            for exchange, _ in self._waiting:
                self._drop(exchange)
            self._waiting.clear()

    async def _send_one(self, channel: Channel, exchange: str, message: Message) -> None:
        try:
            async with bounded("casting", SEND_TIMEOUT):
                await channel.cast(exchange, message.routing_key, message.body, to_amqp(message, TRANSIENT))
        except BaseException:
            self._drop(exchange)
            raise
        self.counts[exchange, "sent"] += 1

    def _drop(self, exchange: str) -> bool:
        self.counts[exchange, "dropped"] += 1
        return False
