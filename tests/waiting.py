"""Waiting for what others do, in tests that look at them from outside.

A test never waits for a duration. Where real sockets, processes or threads bring what it waits for, its patience is
long, and made of short waits: on a machine that is late, each lasts as much longer as the machine is late.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from math import ceil
from typing import TypeVar

from fairprice.runtime.clock import SystemClock, timeout

Result = TypeVar("Result")

PATIENCE = 60
"""Seconds of a machine that is never late."""

BEAT = 0.05


class LateClock(SystemClock):
    """The machine's clock, whose waits grow with how late the event loop is."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds in beats, each of which may be late."""
        for _ in range(ceil(seconds / BEAT)):
            await asyncio.sleep(BEAT)


def patience(seconds: float = PATIENCE) -> AbstractAsyncContextManager[None]:
    """Raise `TimeoutError` where the block waits when that has taken longer than any machine should need."""
    return timeout(LateClock(), seconds)


async def soon(awaitable: Awaitable[Result]) -> Result:
    """Return what comes of it, which a test that works need not wait for long."""
    async with patience():
        return await awaitable


def eventually(condition, seconds=PATIENCE, why="it did not come true in time", *, pause=0.1):
    """Wait until it is so, and return what it was; `why` may be made when it is needed."""
    for _ in range(ceil(seconds / pause)):
        if found := condition():
            return found
        time.sleep(pause)
    found = condition()
    assert found, why() if callable(why) else why
    return found
