"""Publishes events to one exchange: at once while idle, batched while busy.

A message costs everybody on its way as much as dozens of events in it. So while one is unconfirmed, events collect:
they leave together when it is confirmed, or when they are enough for a message of their own, of which a few may be
unconfirmed at a time (Nagle's rule for TCP, RFC 896). An idle system adds no delay, a busy one batches by itself. Of an
event that waits, its line is kept and what names it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fairprice.broker.port import Broker, Message
from fairprice.broker.retry import BackOff, Unconfirmed, publish_until_confirmed
from fairprice.messages import MAX_BYTES, MAX_LINES, Audit, Depth, Event, Gap, Start, Status, encode, join
from fairprice.runtime.clock import Clock

MIB = 1024 * 1024
ENOUGH_LINES = MAX_LINES // 4
"""So many events need not wait until what left before them is confirmed."""

CAPACITY_BYTES = 160 * MIB
"""What a broker's restart of thirty seconds leaves waiting with 300 symbols at ten books a second, and some more."""


class Sent(NamedTuple):
    """What the outbox knows of an event whose line the broker has.

    `event_time` is the last one of a gap; a status has no ids of the exchange, and 0.
    """

    kind: type[Event]
    venue: str
    symbol: str
    first_update_id: int
    update_id: int
    event_time: int

    @property
    def identity(self) -> str:
        """A name that is made from the exchange's data, or for a status from its time."""
        if self.kind is Audit:
            return f"{self.venue}.{self.symbol}:audit:{self.event_time}"
        if self.kind is Depth:
            return f"{self.venue}.{self.symbol}:depth:{self.update_id}"
        if self.kind is Gap:
            return f"{self.venue}.{self.symbol}:gap:{self.first_update_id}-{self.update_id}"
        if self.kind is Start:
            return f"{self.venue}.{self.symbol}:start:{self.update_id}"
        if self.kind is Status:
            return f"{self.venue}.{self.symbol}:status:{self.event_time}"
        return f"{self.venue}.{self.symbol}:{self.update_id}"


class Outbox:
    """A bounded, ordered buffer of events in front of one exchange.

    `run` has to be running for anything to leave. `confirmed` is called with what the broker has, in the order of
    `put`, whatever the order in which the broker confirms. `back_off` makes a fresh series of delays. `window` bounds
    the unconfirmed messages; beside others they have at least `enough` lines. `capacity_bytes` bounds the lines that
    wait for their turn.
    """

    def __init__(
        self,
        broker: Broker,
        exchange: str,
        message_type: str,
        app_id: str,
        *,
        confirmed: Callable[[list[Sent]], None],
        clock: Clock,
        back_off: BackOff,
        window: int = 4,
        enough: int = ENOUGH_LINES,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        self._broker = broker
        self._exchange = exchange
        self._message_type = message_type
        self._app_id = app_id
        self._confirmed = confirmed
        self._clock = clock
        self._back_off = back_off
        self._slots = asyncio.Semaphore(window)
        self._enough = enough
        self._capacity_bytes = capacity_bytes
        self._waiting: deque[tuple[bytes, Sent]] = deque()
        self._waiting_bytes = 0
        self._unconfirmed: deque[_Batch] = deque()
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._repeated = Unconfirmed()

    def __len__(self) -> int:
        """Return the number of events that are not confirmed yet."""
        return len(self._waiting) + sum(len(batch.lines) for batch in self._unconfirmed)

    @property
    def is_full(self) -> bool:
        """Whether the caller should wait for `room` before it puts more."""
        return self._waiting_bytes >= self._capacity_bytes

    def put(self, event: Event) -> None:
        """Queue an event behind all that were put before."""
        line = encode(event)
        self._waiting.append((line, _sent(event)))
        self._waiting_bytes += len(line)
        if not self._due.is_set():
            self._judge()

    async def room(self) -> None:
        """Wait while the buffer is full: this is what slows the source down when the broker is slow."""
        while self.is_full:
            await self._move()

    async def run(self) -> None:
        """Publish what is put until cancelled; what is not confirmed then may or may not have arrived."""
        async with asyncio.TaskGroup() as publishing:
            while True:
                await self._slots.acquire()
                await self._due.wait()
                batch = self._take()
                publishing.create_task(self._deliver(batch))

    async def drain(self) -> None:
        """Wait until every event that was put is confirmed."""
        while self._waiting or self._unconfirmed:
            await self._move()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _judge(self) -> None:
        """Decide whether what waits may leave now."""
        if self._waiting and (not self._unconfirmed or len(self._waiting) >= self._enough):
            self._due.set()
        else:
            self._due.clear()

    def _take(self) -> "_Batch":
        lines: list[bytes] = []
        sent: list[Sent] = []
        size = 0
        while self._waiting and len(lines) < MAX_LINES:
            size += len(self._waiting[0][0]) + 1
            if lines and size > MAX_BYTES:
                break
            line, name = self._waiting.popleft()
            self._waiting_bytes -= len(line)
            lines.append(line)
            sent.append(name)
        batch = _Batch(lines, sent)
        self._unconfirmed.append(batch)
        self._judge()
        self._moved.set()
        return batch

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
            self._confirmed(self._unconfirmed.popleft().sent)
        self._judge()
        self._moved.set()


@dataclass(slots=True)
class _Batch:
    """The lines that left in one message, and what they are."""

    lines: list[bytes]
    sent: list[Sent]
    is_confirmed: bool = False


def _sent(event: Event) -> Sent:
    if isinstance(event, Gap):
        return Sent(Gap, event.venue, event.symbol, event.from_update_id, event.to_update_id, event.to_time)
    if isinstance(event, Audit):
        return Sent(Audit, event.venue, event.symbol, event.from_update_id, event.to_update_id, event.event_time)
    if isinstance(event, Status):
        return Sent(Status, event.venue, event.symbol, 0, 0, event.event_time)
    if isinstance(event, Depth):
        return Sent(Depth, event.venue, event.symbol, event.update_id, event.update_id, event.event_time)
    return Sent(type(event), event.venue, event.symbol, event.first_update_id, event.update_id, event.event_time)


def _message(batch: _Batch, message_type: str, app_id: str, timestamp: int) -> Message:
    """Return the message that carries a batch; its id is made from the events alone."""
    sent = batch.sent
    symbols = tuple(dict.fromkeys(f"{each.venue}.{each.symbol}" for each in sent))
    return Message(
        body=join(batch.lines),
        type=message_type,
        message_id=f"{message_type}/{sent[0].identity}/{sent[-1].identity}/{len(sent)}",
        app_id=app_id,
        timestamp=timestamp,
        routing_key=symbols[0] if len(symbols) == 1 else "batch",
        symbols=symbols,
    )
