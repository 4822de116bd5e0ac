"""What comes from RabbitMQ and what goes there: messages in the form of AMQP, and the consumers of a queue."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from aiormq import spec
from aiormq.abc import AbstractChannel, DeliveredMessage

from fairprice.broker.amqp_connections import ANSWER_TIMEOUT, answered, words
from fairprice.broker.port import Delivery, Message
from fairprice.errors import BrokerUnavailable
from fairprice.messages import CONTENT_TYPE

PERSISTENT = 2
SYMBOLS = "symbols"
MICROSECONDS = "timestamp_us"
"""Header with the whole time: the property of AMQP has only its seconds."""

YEAR_10000 = 253_402_300_800_000_000
"""The first microsecond that no `datetime` has."""


def to_amqp(message: Message) -> spec.Basic.Properties:
    """Return the properties that carry everything but body and routing key; `from_amqp` is the way back."""
    return spec.Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=PERSISTENT,
        message_type=message.type,
        message_id=message.message_id,
        app_id=message.app_id,
        timestamp=datetime.fromtimestamp(message.timestamp // 1_000_000, UTC),
        headers={**message.headers, SYMBOLS: list(message.symbols), MICROSECONDS: message.timestamp},
    )


def from_amqp(delivered: DeliveredMessage) -> Message:
    """Read anybody's message: what it lacks is empty, and headers that are no text are the broker's own."""
    properties = delivered.header.properties
    headers = dict(properties.headers or {})
    symbols, timestamp = headers.pop(SYMBOLS, None), headers.pop(MICROSECONDS, None)
    return Message(
        body=delivered.body,
        type=properties.message_type or "",
        message_id=properties.message_id or "",
        app_id=properties.app_id or "",
        timestamp=timestamp if isinstance(timestamp, int) and 0 <= timestamp < YEAR_10000 else 0,
        routing_key=delivered.routing_key or "",
        symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
        headers={name: value for name, value in headers.items() if isinstance(value, str)},
    )


class AmqpSubscription:
    """A consumer on a channel of its own; `_open` holds the unsettled messages by delivery tag, in order."""

    no_ack = False

    def __init__(
        self,
        channel: AbstractChannel,
        name: str,
        dead_letter: Callable[[Message, str], Awaitable[None]],
        delivered: Counter[tuple[str, str]],
        capacity: int | None = None,
    ) -> None:
        self._channel = channel
        self._name = name
        self._dead_letter = dead_letter
        self._delivered = delivered
        self._open: dict[int, Message] = {}
        self._ready: deque[_Delivery] = deque(maxlen=capacity)
        self._changed = asyncio.Event()
        self._consumer_tag = ""
        self._finished = False
        self._ended: str | None = None

    async def begin(self, queue: str) -> None:
        """Let deliveries come, and notice when they cannot any more."""
        self._channel.closing.add_done_callback(
            lambda closing: self.end("it was closed" if closing.cancelled() else words(closing.exception()))
        )
        self._channel.on_consumer_cancel_callbacks.add(lambda _frame: self.end("the broker ended it; queue deleted?"))
        consuming = await self._channel.basic_consume(queue, self._deliver, no_ack=self.no_ack)
        self._consumer_tag = consuming.consumer_tag or ""

    def end(self, why: str) -> None:
        """Refuse everything from now on."""
        self._ended = self._ended or why
        self._open.clear()
        self._ready.clear()
        self._changed.set()

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        while not self._ready:
            if self._ended:
                raise BrokerUnavailable(f"the subscription to {self._name!r} has ended: {self._ended}")
            if self._finished:
                return []
            self._changed.clear()
            await self._changed.wait()
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def finish(self) -> None:
        """See `Subscription.finish`; deliveries still come until the broker has answered."""
        try:
            async with answered(f"leaving {self._name!r}", ANSWER_TIMEOUT):
                await self._channel.basic_cancel(self._consumer_tag)
                await asyncio.sleep(0)  # for the deliveries that came before the answer, each in a task of its own
        finally:
            self._finished = True
            self._changed.set()

    async def ack(self, tag: int, *, multiple: bool) -> None:
        """Settle a delivery, or all up to it."""
        self._settle(tag, multiple=multiple)
        async with answered(f"acknowledging to {self._name!r}", ANSWER_TIMEOUT):
            await self._channel.basic_ack(tag, multiple=multiple, wait=False)

    async def put_back(self, tag: int) -> None:
        """Return a delivery to the head of its queue."""
        self._settle(tag, multiple=False)
        async with answered(f"giving back to {self._name!r}", ANSWER_TIMEOUT):
            await self._channel.basic_nack(tag, requeue=True, wait=False)

    async def dead_letter(self, tag: int) -> None:
        """Move a delivery to the dead letters; it stays open until they have confirmed it."""
        if tag in self._open:
            await self._dead_letter(self._open[tag], self._name)
        await self.ack(tag, multiple=False)

    def _hold(self, delivery: "_Delivery") -> None:
        self._open[delivery.tag] = delivery.message
        self._ready.append(delivery)

    async def _deliver(self, delivered: DeliveredMessage) -> None:
        """Take a delivery without waiting: each comes in a task of its own, and only their first steps are in order."""
        if self._ended or not delivered.delivery_tag:
            return
        self._hold(_Delivery(from_amqp(delivered), bool(delivered.redelivered), delivered.delivery_tag, self))
        self._delivered[self._name, "again" if delivered.redelivered else "first"] += 1
        self._changed.set()

    def _settle(self, tag: int, *, multiple: bool) -> None:
        if tag not in self._open:
            raise BrokerUnavailable(f"delivery {tag} of {self._name!r} is settled, or its subscription has ended")
        for each in list(takewhile(lambda earlier: earlier <= tag, self._open)) if multiple else [tag]:
            del self._open[each]


class AmqpTap(AmqpSubscription):
    """A subscription to a queue of its own, settled by the broker as it sends; the oldest that waits is forgotten."""

    no_ack = True

    def _hold(self, delivery: "_Delivery") -> None:
        self._ready.append(delivery)


@dataclass(frozen=True, slots=True)
class _Delivery:
    message: Message
    redelivered: bool
    tag: int
    subscription: AmqpSubscription

    async def ack(self, *, multiple: bool = False) -> None:
        """See `Delivery.ack`."""
        await self.subscription.ack(self.tag, multiple=multiple)

    async def nack(self, *, requeue: bool) -> None:
        """See `Delivery.nack`."""
        if requeue:
            await self.subscription.put_back(self.tag)
        else:
            await self.subscription.dead_letter(self.tag)
