"""The consumers of a queue of RabbitMQ, and what they hold unsettled."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from itertools import takewhile

from fairprice.broker.aiormq_channel import Channel, Delivered, bounded
from fairprice.broker.amqp_connections import REPLY_TIMEOUT
from fairprice.broker.amqp_message import from_amqp
from fairprice.broker.port import Delivery, Message
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import Clock


class AmqpSubscription:
    """A consumer on a channel of its own; `_open` holds the tags of the unsettled messages in order.

    `delivered` counts by name and by whether the broker has sent a delivery before. Of `capacity` deliveries that wait,
    the oldest is forgotten for a new one.
    """

    no_ack = False

    def __init__(
        self, channel: Channel, name: str, delivered: Counter[tuple[str, str]], capacity: int | None = None
    ) -> None:
        self._channel = channel
        self.name = name
        self._delivered = delivered
        self._open: dict[int, None] = {}
        self._deliveries = 0
        self._ready: deque[_Delivery] = deque(maxlen=capacity)
        self._changed = asyncio.Event()
        self._finished = False
        self._ended: str | None = None

    async def begin(self, queue: str) -> None:
        """Let deliveries come, and notice when they cannot any more."""
        await self._channel.consume(queue, self._deliver, self.end, no_ack=self.no_ack)

    def end(self, why: str) -> None:
        """Refuse everything from now on."""
        self._ended = self._ended or why
        self._open.clear()
        self._ready.clear()
        self._changed.set()

    async def silence(self, clock: Clock, seconds: float) -> None:
        """Return when nothing has come for so long though something might: nothing is held."""
        before = None
        while self._open or before != self._deliveries:
            before = self._deliveries
            await clock.sleep(seconds)

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        while not self._ready:
            if self._ended:
                raise BrokerUnavailable(f"the subscription to {self.name!r} has ended: {self._ended}")
            if self._finished:
                return []
            self._changed.clear()
            await self._changed.wait()
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def finish(self) -> None:
        """See `Subscription.finish`; deliveries still come until the broker has answered."""
        try:
            async with bounded(f"leaving {self.name!r}", REPLY_TIMEOUT):
                await self._channel.cancel()
        finally:
            self._finished = True
            self._changed.set()

    async def ack(self, tag: int, *, multiple: bool) -> None:
        """Settle a delivery, or all up to it."""
        if tag not in self._open:
            raise BrokerUnavailable(f"delivery {tag} of {self.name!r} is settled, or its subscription has ended")
        for each in list(takewhile(lambda earlier: earlier <= tag, self._open)) if multiple else [tag]:
            del self._open[each]
        async with bounded(f"acknowledging to {self.name!r}", REPLY_TIMEOUT):
            await self._channel.ack(tag, multiple=multiple)

    def _hold(self, delivery: "_Delivery") -> None:
        self._open[delivery.tag] = None
        self._ready.append(delivery)

    async def _deliver(self, delivered: Delivered) -> None:
        """Take a delivery without waiting, so that they stay in order."""
        if self._ended or not delivered.delivery_tag:
            return
        self._hold(_Delivery(from_amqp(delivered), delivered.delivery_tag, self))
        self._deliveries += 1
        self._delivered[self.name, "again" if delivered.redelivered else "first"] += 1
        self._changed.set()


class AmqpTap(AmqpSubscription):
    """A subscription to a queue of its own, settled by the broker as it sends; the oldest that waits is forgotten."""

    no_ack = True

    def _hold(self, delivery: "_Delivery") -> None:
        self._ready.append(delivery)


@dataclass(frozen=True, slots=True)
class _Delivery:
    message: Message
    tag: int
    subscription: AmqpSubscription

    async def ack(self, *, multiple: bool = False) -> None:
        """See `Delivery.ack`."""
        await self.subscription.ack(self.tag, multiple=multiple)
