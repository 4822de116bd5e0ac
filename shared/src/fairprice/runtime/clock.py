"""The clock, which `program` passes to all that need the time, so that a test can drive it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back, so ages are taken from it."""

    def wall(self) -> int:
        """Return microseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return after so long."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> int:
        """See `Clock.wall`."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


@asynccontextmanager
async def timeout(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` where the block waits when so many seconds of the clock have passed."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        async def expire() -> None:
            await clock.sleep(seconds)
            limit.reschedule(loop.time())

        expiring = asyncio.create_task(expire())
        try:
            yield
        finally:
            expiring.cancel()
