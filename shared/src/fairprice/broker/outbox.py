"""Publishes events to one exchange: at once while idle, batched while busy.

A few messages may be unconfirmed at a time. While that window is full, events collect and leave together when a slot
frees. So an idle system adds no delay and a busy one batches by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fairprice.broker.port import Broker, Message
from fairprice.broker.retry import BackOff, Unconfirmed, publish_until_confirmed
from fairprice.messages import MAX_BYTES, MAX_LINES, Event, encode, identity, join
from fairprice.runtime.clock import Clock


class Outbox:
    """A bounded, ordered buffer of events in front of one exchange.

    `run` has to be running for anything to leave. `confirmed` is called with events that the broker has, in the order
    of `put`, whatever the order in which the broker confirms. `back_off` makes a fresh series of delays. `window`
    bounds the unconfirmed messages, `capacity` the events that wait.
    """

    def __init__(
        self,
        broker: Broker,
        exchange: str,
        message_type: str,
        app_id: str,
        *,
        confirmed: Callable[[list[Event]], None],
        clock: Clock,
        back_off: BackOff,
        window: int = 4,
        capacity: int = 2000,
    ) -> None:
        self._broker = broker
        self._exchange = exchange
        self._message_type = message_type
        self._app_id = app_id
        self._confirmed = confirmed
        self._clock = clock
        self._back_off = back_off
        self._slots = asyncio.Semaphore(window)
        self._capacity = capacity
        self._waiting: deque[tuple[bytes, Event]] = deque()
        self._unconfirmed: deque[_Batch] = deque()
        self._filled = asyncio.Event()
        self._moved = asyncio.Event()
        self._repeated = Unconfirmed()

    def __len__(self) -> int:
        """Return the number of events that are not confirmed yet."""
        return len(self._waiting) + sum(len(batch.events) for batch in self._unconfirmed)

    @property
    def is_full(self) -> bool:
        """Whether whoever puts should wait for `room` before he makes more."""
        return len(self._waiting) >= self._capacity

    def put(self, event: Event) -> None:
        """Queue an event behind all that were put before."""
        self._waiting.append((encode(event), event))
        self._filled.set()

    async def room(self) -> None:
        """Wait while the buffer is full: this is what slows the source down when the broker is slow."""
        while self.is_full:
            await self._move()

    async def run(self) -> None:
        """Publish what is put until cancelled; what is not confirmed then may or may not have arrived."""
        async with asyncio.TaskGroup() as publishing:
            while True:
                await self._slots.acquire()
                await self._filled.wait()
                batch = self._take()
                self._unconfirmed.append(batch)
                publishing.create_task(self._deliver(batch))

    async def drain(self) -> None:
        """Wait until every event that was put is confirmed."""
        while self._waiting or self._unconfirmed:
            await self._move()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _take(self) -> "_Batch":
        lines: list[bytes] = []
        events: list[Event] = []
        size = 0
        while self._waiting and len(lines) < MAX_LINES:
            size += len(self._waiting[0][0]) + 1
            if lines and size > MAX_BYTES:
                break
            line, event = self._waiting.popleft()
            lines.append(line)
            events.append(event)
        if not self._waiting:
            self._filled.clear()
        self._moved.set()
        return _Batch(lines, events)

    async def _deliver(self, batch: "_Batch") -> None:
        message = _message(batch, self._message_type, self._app_id, self._clock.wall())
        await publish_until_confirmed(
            self._broker, self._exchange, message, self._back_off, self._clock, unconfirmed=self._repeated
        )
        batch.is_confirmed = True
        self._slots.release()
        self._report()

    def _report(self) -> None:
        while self._unconfirmed and self._unconfirmed[0].is_confirmed:
            self._confirmed(self._unconfirmed.popleft().events)
        self._moved.set()


@dataclass(slots=True)
class _Batch:
    """Events that left in one message, with their lines."""

    lines: list[bytes]
    events: list[Event]
    is_confirmed: bool = False


def _message(batch: _Batch, message_type: str, app_id: str, timestamp: int) -> Message:
    """Return the message that carries a batch; its id is made from the events alone."""
    events = batch.events
    symbols = tuple(dict.fromkeys(f"{event.venue}.{event.symbol}" for event in events))
    return Message(
        body=join(batch.lines),
        type=message_type,
        message_id=f"{message_type}/{identity(events[0])}/{identity(events[-1])}/{len(events)}",
        app_id=app_id,
        timestamp=timestamp,
        routing_key=symbols[0] if len(symbols) == 1 else "batch",
        symbols=symbols,
    )
