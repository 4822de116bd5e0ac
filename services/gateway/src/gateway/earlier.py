"""What all symbols cost an hour and a day ago, and each half hour in between, by the bars of the store.

One small question at a time, about all symbols, and only while somebody looks. Nobody waits for an answer: what is not
known yet, or not any more, is None, and `problem` says why.
"""

import asyncio
from array import array
from collections.abc import Iterator
from contextlib import suppress
from math import isnan, nan

from fairprice.errors import StoreUnavailable
from fairprice.runtime.clock import Clock
from gateway.key import Key
from gateway.past import PATIENCE, Busy, Past
from gateway.stored.port import MINUTE

HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
STEP = 30 * MINUTE
POINTS = DAY // STEP
"""Of a line, which ends at the newest price."""

LOOK_BACK = 15 * MINUTE
"""The newest bar before a time counts if it is no older; a thin symbol has none of every minute."""

SETTLING = 3 * MINUTE
"""So much later the bars of a time are all stored."""

STILL_TRUE = 5 * MINUTE
"""What was asked about a time speaks for a time that is no farther away."""

RETRY = 10.0
"""Seconds before a store that did not answer is asked again."""


class Earlier:
    """Remembers of each symbol two closes and a line; times are the exchange's, in microseconds."""

    def __init__(self, past: Past, clock: Clock) -> None:
        self.problem: str | None = None
        self._past = past
        self._clock = clock
        self._ago: dict[int, tuple[int, dict[Key, float]]] = {}
        self._lines: dict[Key, array[float]] = {}
        self._line_times = [0] * POINTS
        self._retry_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def refresh(self, now: int) -> None:
        """Begin to ask for what is missing at a time, unless that is under way."""
        is_due = self._asking is None and self._clock.monotonic() >= self._retry_at
        if is_due and next(self._missing(now), None) is not None:
            self._asking = asyncio.create_task(self._ask(now))

    def closes(self, ago: int, now: int) -> dict[Key, float]:
        """Return what symbols cost `HOUR` or `DAY` before a time."""
        time, found = self._ago.get(ago, (0, {}))
        return found if abs(time - (now - ago)) <= STILL_TRUE else {}

    def line(self, key: Key, now: int) -> list[float | None]:
        """Return what a symbol cost each half hour of the day before a time, in order."""
        kept = self._lines.get(key)
        points = [kept[_slot(time)] if kept and self._is_known(time) else nan for time in _line_times(now)]
        return [None if isnan(point) else point for point in points]

    async def aclose(self) -> None:
        """Give up what is asked."""
        if self._asking:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    def _missing(self, now: int) -> Iterator[tuple[int, int | None]]:
        """Yield the times that are to be asked about, with how long ago that is, None for those of the line."""
        for ago in (HOUR, DAY):
            time = (now - ago) // MINUTE * MINUTE
            if self._ago.get(ago, (0,))[0] != time:
                yield time, ago
        yield from ((time, None) for time in reversed(_line_times(now)) if not self._is_known(time))

    def _is_known(self, time: int) -> bool:
        return self._line_times[_slot(time)] == time

    async def _ask(self, now: int) -> None:
        try:
            for time, ago in list(self._missing(now)):
                closes = await self._past.closes(time - LOOK_BACK, time)
                if ago is None:
                    self._draw(time, closes)
                else:
                    self._ago[ago] = time, closes
            self.problem = None
        except (StoreUnavailable, TimeoutError, Busy) as error:
            self._retry_at = self._clock.monotonic() + RETRY
            self.problem = str(error) or f"the store did not answer within {PATIENCE:g} s"
        finally:
            self._asking = None

    def _draw(self, time: int, closes: dict[Key, float]) -> None:
        slot = _slot(time)
        for key in self._lines.keys() | closes.keys():
            kept = self._lines.setdefault(key, array("d", [nan] * POINTS))
            kept[slot] = closes.get(key, nan)
        self._line_times[slot] = time


def _line_times(now: int) -> range:
    newest = (now - SETTLING) // STEP * STEP
    return range(newest - DAY + STEP, newest + STEP, STEP)


def _slot(time: int) -> int:
    return time // STEP % POINTS
