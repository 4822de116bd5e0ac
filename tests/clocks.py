"""A clock that a test drives by hand."""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from fairprice.runtime.clock import SystemClock

TURNS = 50
"""Turns of the event loop in which everybody goes on who can without waiting for time or a socket."""

IDLE_TURNS = 2
"""After so many in which nobody else went on there is nobody to wait for; in each the loop looks at its sockets."""


async def settle() -> None:
    """Let everybody go on who can without waiting for time or a socket."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # who goes on next, but for this task
    idle = 0
    for _ in range(TURNS):
        await asyncio.sleep(0)
        idle = 0 if ready else idle + 1
        if idle == IDLE_TURNS:
            return


class StandingWall(SystemClock):
    """The machine's clock, but its wall clock stands still: waits end by themselves, and times can be expected."""

    def __init__(self, wall_us: int) -> None:
        self.wall_us = wall_us

    def wall(self) -> int:
        """Return always the same."""
        return self.wall_us


class ManualClock:
    """Stands still until it is told to go on; a `Clock` of `fairprice.runtime.clock`.

    `wall_us` is what `wall` begins with; set it to put the wall clock right or wrong, the monotonic one never notices.
    """

    def __init__(self, wall_us: int = 1_900_000_000_000_000) -> None:
        self.wall_us = wall_us
        self._now_us = 0  # an integer, so that many small steps add up to what they should
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        """Return the seconds that the test has let pass."""
        return self._now_us / 1_000_000

    def wall(self) -> int:
        """Return microseconds since the epoch."""
        return self.wall_us

    async def sleep(self, seconds: float) -> None:
        """Return once the test has let so much time pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        due = self._now_us + max(1, _microseconds(seconds))  # whoever waits for a moment gets there, whatever floats do
        heappush(self._sleepers, (due, next(self._numbers), waking))
        await waking

    @property
    def sleepers(self) -> int:
        """Return how many are asleep."""
        return sum(not waking.done() for _, _, waking in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let so much time pass: wakes each sleeper at its moment, in order, and lets all go on before the next."""
        end = self._now_us + _microseconds(seconds)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waking = heappop(self._sleepers)
            if not waking.done():
                self._go_to(due)
                waking.set_result(None)
                await settle()
        self._go_to(end)
        await settle()

    async def until(self, condition: Callable[[], object], within: float = 60.0, step: float = 0.05) -> None:
        """Let time pass in steps until the condition holds, with room for real sockets between them.

        Raises `TimeoutError` when it does not hold within so many seconds of this clock.
        """
        end = self._now_us + _microseconds(within)
        while not condition():
            if self._now_us >= end:
                raise TimeoutError(f"it did not come true within {within} s of the test's clock")
            await self.advance(step)
            await asyncio.sleep(0.001)

    def _go_to(self, now_us: int) -> None:
        self.wall_us += now_us - self._now_us
        self._now_us = now_us


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
