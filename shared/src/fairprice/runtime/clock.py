"""The clock, which `__main__` hands to whoever needs the time, so that a test can drive it."""

import asyncio
import time
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


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000
