"""Tells what continues a feed from what comes late, and notices when the feed has started over.

Replicas send everything twice, and one that stood still sends old events whenever it wakes up, in a burst. A recording
or a simulator that is started again sends old events, too, but goes on doing so while nothing newer comes.
"""

from enum import Enum, auto

NEW_RUN_AFTER = 5.0
"""Seconds for which nothing but older events has to come; replicas of a live feed are less far apart."""

Position = tuple[int, int]
"""Event time in microseconds, update id."""


class Step(Enum):
    """What an event is to the feed."""

    NEXT = auto()
    LATE = auto()
    NEW_RUN = auto()


class Run:
    """Where the feed of one symbol is."""

    def __init__(self, new_run_after: float = NEW_RUN_AFTER) -> None:
        self._new_run_after = new_run_after
        self._newest: Position | None = None
        self._older: Position | None = None
        self._older_since = 0.0

    def take(self, position: Position, now: float) -> Step:
        """Return what the event at this position is, received at `now` (seconds, monotonic).

        Late events make a new run when each is newer than the late one before it, for `new_run_after` seconds without
        any event that is newer than all.
        """
        if self._newest is None or position > self._newest:
            self._newest, self._older = position, None
            return Step.NEXT
        if self._older is None:
            self._older, self._older_since = position, now
        if position <= self._older or position == self._newest:
            return Step.LATE
        self._older = position
        if now - self._older_since < self._new_run_after:
            return Step.LATE
        self._newest, self._older = position, None
        return Step.NEW_RUN
