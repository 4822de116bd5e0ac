"""The exchange's clock: the machine's, some times as fast, unless a test drives another one."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the exchange's time and waits."""

    def wall(self) -> int:
        """Microseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds of this clock."""


class ScaledClock:
    """Goes on with the machine's clock, `scale` times as fast, from `start_us` on."""

    def __init__(self, start_us: int, scale: float) -> None:
        self._start_us = start_us
        self._scale = scale
        self._began = time.monotonic()

    def wall(self) -> int:
        """See `Clock.wall`."""
        return self._start_us + int((time.monotonic() - self._began) * self._scale * 1e6)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds / self._scale)
