"""Event times that every crawler counts alike: they follow from the diffs in the order of their ids. Pure.

Time is part of a row's key, so a symbol's times have to differ, and two crawlers have to give a diff the same one. It
is the exchange's `E`; where that is not later than the time of the diff before, it is that one plus a microsecond. All
diffs that were received count, also those that a snapshot makes superfluous. A clock that goes back by more than a
second is followed; a time that it has shown before is passed by microseconds, too.

Whoever comes in the middle cannot know whether a diff before its first one had the same `E`: until `E` has moved on by
a tick of the exchange's clock the times are uncertain. (A clock that went back shortly before is not seen.)
"""

from collections import deque
from typing import NamedTuple

from crawler.book.market_data import Diff
from fairprice.gaps import CLOCK_SLACK

RECENT = 600
"""Times remembered for a clock that goes back: a minute of diffs."""

TICK = 1000
"""Microseconds between two different times of an exchange."""


class ChainTime(NamedTuple):
    """A diff's event time and that of the diff before it, in microseconds, None where none is known.

    `is_certain` tells whether any other crawler comes to the same. `set_back` is by how much the exchange's clock went
    back, 0 where it did not or too little to matter.
    """

    event_time: int
    previous_event_time: int | None
    is_certain: bool
    set_back: int = 0


class Chain:
    """The diffs of one symbol in the order of their ids."""

    def __init__(self) -> None:
        self._end: int | None = None
        self._time: int | None = None
        self._uncertain_since: int | None = None
        self._latest = 0
        self._recent: deque[int] = deque(maxlen=RECENT)

    def restart(self) -> None:
        """Begin anew, since the ids do."""
        self._end = self._time = self._uncertain_since = None

    def follow(self, diff: Diff) -> ChainTime:
        """Return the times of the next diff; one that was followed already has no certain time any more."""
        exchange_time, before = diff.event_time, self._time
        if self._end is not None and diff.update_id <= self._end:
            return ChainTime(exchange_time, None, is_certain=False)
        set_back = before - exchange_time if before is not None and exchange_time < before - CLOCK_SLACK else 0
        is_later = before is None or exchange_time > before or set_back > 0
        if self._end is None or diff.first_update_id > self._end + 1:
            self._uncertain_since = exchange_time
        elif self._uncertain_since is not None and is_later:
            has_moved_on = set_back or exchange_time >= self._uncertain_since + TICK
            self._uncertain_since = None if has_moved_on else self._uncertain_since
        self._end = diff.update_id
        self._time = self._unused(exchange_time if before is None or is_later else before + 1)
        return ChainTime(self._time, before, self._uncertain_since is None, set_back)

    def _unused(self, time: int) -> int:
        if time <= self._latest:
            while time in self._recent:
                time += 1
        self._latest = max(time, self._latest)
        self._recent.append(time)
        return time
