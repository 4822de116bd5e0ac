"""The embedded broker: the same port in one process, for running without RabbitMQ.

Bytes go through it as through a real one. Its queues live as long as the process.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import takewhile

from fairprice.broker.port import Delivery, Message
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import Clock, SystemClock, timeout
from fairprice.topology import EXCHANGES, Exchange

LIVE_CAPACITY = 200
"""Messages that a queue of the live view holds before it forgets the oldest: what waits longer is of no use."""


class MemoryBroker:
    """Fanout exchanges and bounded queues in memory.

    `capacity` bounds each queue in messages, settled ones not counted. A publish that finds a queue full waits for
    room, at most `timeout` seconds of the `clock`, which is the machine's where none is given.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange] = EXCHANGES,
        *,
        capacity: int = 1000,
        timeout: float = 30,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._timeout = timeout
        exchanges = tuple(exchanges)
        self._queues = {
            name: _Queue(name, LIVE_CAPACITY if exchange.live else capacity, drop_head=exchange.live)
            for exchange in exchanges
            for name in exchange.queues
        }
        self._bindings = {exchange.name: [self._queues[name] for name in exchange.queues] for exchange in exchanges}
        self._alternates = {exchange.name: exchange.alternate for exchange in exchanges}
        self.forgotten = Counter[str]()
        """Messages that taps and live queues forgot because nobody read them in time, by exchange."""

    async def publish(self, exchange: str, message: Message) -> None:
        """See `Broker.publish`."""
        queues = self._route(exchange)
        if any(queue.is_full for queue in queues):
            await self._room(queues)
        for queue in queues:
            if not queue.put(message):
                self.forgotten[exchange] += 1

    def cast(self, exchange: str, message: Message) -> bool:
        """See `Broker.cast`."""
        if exchange not in self._bindings:
            return False
        for queue in self._bindings[exchange]:
            if not queue.put(message):
                self.forgotten[exchange] += 1
        return True

    @asynccontextmanager
    async def subscribe(self, queue: str, prefetch: int) -> AsyncIterator["_Subscription"]:
        """See `Broker.subscribe`."""
        if queue not in self._queues:
            raise BrokerUnavailable(f"no queue {queue!r}")
        subscription = _Subscription(self._queues[queue], prefetch)
        try:
            yield subscription
        finally:
            subscription.close()

    @asynccontextmanager
    async def tap(self, exchange: str, capacity: int) -> AsyncIterator["_Tap"]:
        """See `Broker.tap`."""
        if exchange not in self._bindings:
            raise BrokerUnavailable(f"no exchange {exchange!r}")
        queue = _Queue(f"tap of {exchange}", capacity, drop_head=True)
        self._bindings[exchange].append(queue)
        tap = _Tap(queue, capacity)
        try:
            yield tap
        finally:
            self._bindings[exchange].remove(queue)
            tap.close()

    async def until_empty(self, queue: str) -> None:
        """Wait until a queue holds nothing, ready or delivered, that is not settled."""
        while self._queues[queue].depth:
            await self._queues[queue].changed()

    def depths(self) -> dict[str, int]:
        """Return the number of unsettled messages, ready or delivered, by queue."""
        return {name: queue.depth for name, queue in self._queues.items()}

    async def _room(self, queues: list["_Queue"]) -> None:
        try:
            async with timeout(self._clock, self._timeout):
                while full := next((queue for queue in queues if queue.is_full), None):
                    await full.changed()
        except TimeoutError:
            names = ", ".join(queue.name for queue in queues if queue.is_full)
            raise BrokerUnavailable(f"no room in {names} for {self._timeout} s; is the consumer alive?") from None

    def _route(self, exchange: str) -> list["_Queue"]:
        queues = self._bindings[exchange]
        alternate = self._alternates[exchange]
        return self._bindings[alternate] if alternate and not queues else queues


class _Queue:
    """Messages in order, and the wake-up of everybody who waits for a change."""

    def __init__(self, name: str, capacity: int, *, drop_head: bool = False) -> None:
        self.name = name
        self.ready: deque[Message] = deque(maxlen=capacity if drop_head else None)
        self.delivered = 0
        self._capacity = capacity
        self._drop_head = drop_head
        self._waiters: dict[asyncio.Future[None], None] = {}

    @property
    def depth(self) -> int:
        return len(self.ready) + self.delivered

    @property
    def is_full(self) -> bool:
        return not self._drop_head and self.depth >= self._capacity

    def put(self, message: Message) -> bool:
        """Add a message; return False if the oldest one had to go for it."""
        has_room = len(self.ready) != self.ready.maxlen
        self.ready.append(message)
        self.notify()
        return has_room

    def put_back(self, messages: Iterable[Message]) -> None:
        self.ready.extendleft(reversed(list(messages)))
        self.notify()

    def notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)


class _Subscription:
    """One consumer of a queue; `_open` holds its unsettled messages by delivery tag, in the queue's order."""

    def __init__(self, queue: _Queue, prefetch: int) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._open: dict[int, Message] = {}
        self._next_tag = 1
        self._finished = False
        self._closed = False

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        while True:
            if self._closed:
                raise BrokerUnavailable(f"the subscription to {self._queue.name!r} has ended")
            if self._finished:
                return []
            count = min(limit, len(self._queue.ready), self._prefetch - len(self._open))
            if count > 0:
                return [self._deliver() for _ in range(count)]
            await self._queue.changed()

    async def finish(self) -> None:
        """See `Subscription.finish`; nothing is delivered here before it is received."""
        self._finished = True
        self._queue.notify()

    def settle(self, tag: int, *, multiple: bool = False) -> None:
        """Take a delivery, or all up to it, off the open ones."""
        if tag not in self._open:
            raise BrokerUnavailable(f"delivery {tag} of {self._queue.name!r} is settled, or its subscription ended")
        tags = list(takewhile(lambda earlier: earlier <= tag, self._open)) if multiple else [tag]
        self._queue.delivered -= len(tags)
        for each in tags:
            del self._open[each]
        self._queue.notify()

    def close(self) -> None:
        """End the subscription and return what is open to the head of the queue, in order."""
        self._closed = True
        self._queue.delivered -= len(self._open)
        self._queue.put_back(self._open.values())
        self._open.clear()

    def _deliver(self) -> "_Delivery":
        message = self._queue.ready.popleft()
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._open[tag] = message
        self._queue.delivered += 1
        return _Delivery(message, tag, self)


@dataclass(frozen=True, slots=True)
class _Delivery:
    message: Message
    tag: int
    subscription: _Subscription

    async def ack(self, *, multiple: bool = False) -> None:
        """See `Delivery.ack`."""
        self.subscription.settle(self.tag, multiple=multiple)


class _Tap(_Subscription):
    """A subscription to a queue of its own, settled on receipt."""

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Broker.tap`."""
        deliveries = await super().receive(limit)
        self._queue.delivered = 0
        self._open.clear()
        return deliveries
