"""Publishes event lines to one exchange: at once while idle, batched while busy.

A few messages may be unconfirmed at a time. While that window is full, lines collect and leave together when a slot
frees. So an idle system adds no delay and a busy one batches by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from fairprice.broker.port import Broker, Message
from fairprice.errors import TransientError
from fairprice.messages import join

MAX_LINES = 100
MAX_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One encoded event of `symbol` (`venue.SYMBOL`).

    `identity` is made from the exchange's data; `confirmed` is called once the broker has the line.
    """

    body: bytes
    symbol: str
    identity: str
    confirmed: Callable[[], None]


class Outbox:
    """A bounded, ordered buffer of lines in front of one exchange.

    `run` has to be running for anything to leave. Confirmations are reported in the order of `put`, whatever the order
    in which the broker confirms. `wall_clock` returns microseconds; `back_off` makes a fresh series of delays.
    """

    def __init__(
        self,
        broker: Broker,
        exchange: str,
        message_type: str,
        app_id: str,
        *,
        wall_clock: Callable[[], int],
        back_off: Callable[[], Iterator[float]],
        window: int = 4,
        capacity: int = 2000,
    ) -> None:
        self._broker = broker
        self._exchange = exchange
        self._message_type = message_type
        self._app_id = app_id
        self._wall_clock = wall_clock
        self._back_off = back_off
        self._slots = asyncio.Semaphore(window)
        self._capacity = capacity
        self._waiting: deque[Line] = deque()
        self._unconfirmed: deque[_Batch] = deque()
        self._filled = asyncio.Event()
        self._moved = asyncio.Event()
        self.retries = 0

    def __len__(self) -> int:
        """Return the number of lines that are not confirmed yet."""
        return len(self._waiting) + sum(len(batch.lines) for batch in self._unconfirmed)

    async def put(self, line: Line) -> None:
        """Queue a line; waits while the buffer is full, which slows whoever produces."""
        while len(self._waiting) >= self._capacity:
            await self._move()
        self._waiting.append(line)
        self._filled.set()

    async def run(self) -> None:
        """Publish what is put until cancelled; cancelling leaves unconfirmed lines unconfirmed."""
        async with asyncio.TaskGroup() as publishing:
            while True:
                await self._slots.acquire()
                await self._filled.wait()
                batch = self._take()
                self._unconfirmed.append(batch)
                publishing.create_task(self._deliver(batch))

    async def drain(self) -> None:
        """Wait until every line that was put is confirmed."""
        while self._waiting or self._unconfirmed:
            await self._move()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _take(self) -> "_Batch":
        lines: list[Line] = []
        size = 0
        while self._waiting and len(lines) < MAX_LINES:
            size += len(self._waiting[0].body) + 1
            if lines and size > MAX_BYTES:
                break
            lines.append(self._waiting.popleft())
        if not self._waiting:
            self._filled.clear()
        return _Batch(lines)

    async def _deliver(self, batch: "_Batch") -> None:
        message = self._message(batch.lines)
        for failures, delay in enumerate(self._back_off()):
            try:
                await self._broker.publish(self._exchange, message)
            except TransientError as error:
                self.retries += 1
                if failures == 0:
                    log.warning("publish unconfirmed, repeating it", exchange=self._exchange, error=str(error))
                await asyncio.sleep(delay)
            else:
                if failures:
                    log.info("publish confirmed again", exchange=self._exchange, failures=failures)
                break
        batch.confirmed = True
        self._slots.release()
        self._report()

    def _report(self) -> None:
        while self._unconfirmed and self._unconfirmed[0].confirmed:
            for line in self._unconfirmed.popleft().lines:
                line.confirmed()
        self._moved.set()

    def _message(self, lines: list[Line]) -> Message:
        symbols = tuple(dict.fromkeys(line.symbol for line in lines))
        return Message(
            body=join(line.body for line in lines),
            type=self._message_type,
            message_id=f"{self._message_type}/{lines[0].identity}/{lines[-1].identity}/{len(lines)}",
            app_id=self._app_id,
            timestamp=self._wall_clock(),
            routing_key=symbols[0] if len(symbols) == 1 else "batch",
            symbols=symbols,
        )


@dataclass(slots=True)
class _Batch:
    """Lines that left in one message."""

    lines: list[Line]
    confirmed: bool = False
