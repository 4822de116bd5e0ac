"""Diffs that wait in the order of their ids, for what is missing before them or for a snapshot. Pure."""

from bisect import bisect_left, insort_left
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from crawler.book.market_data import Diff

_UPDATE_ID = attrgetter("update_id")


class Waiting(NamedTuple):
    """A diff that waits, and the wall clock when it came."""

    update_id: int
    diff: Diff
    received_time: int


class Buffer:
    """At most `diffs` of them, and no more than `seconds` of the exchange's time: a snapshot is never older."""

    def __init__(self, *, seconds: float, diffs: int) -> None:
        self._time = round(seconds * 1_000_000)
        self._diffs = diffs
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    @property
    def first_update_id(self) -> int:
        """The first id that the oldest diff adds."""
        return self._waiting[0].diff.first_update_id

    def add(self, diff: Diff, received_time: int, newest_time: int) -> list[Diff]:
        """Put a diff in its place; return those that are too old or too many beside it, which are dropped."""
        insort_left(self._waiting, Waiting(diff.update_id, diff, received_time), key=_UPDATE_ID)
        oldest, expired = newest_time - self._time, []
        while len(self._waiting) > self._diffs or self._waiting[0].diff.event_time < oldest:
            expired.append(self._waiting.pop(0).diff)
        return expired

    def is_filled_by(self, diff: Diff, before: int) -> bool:
        """Return whether a late diff brings ids between `before` and what waits, or between two that wait."""
        position = bisect_left(self._waiting, diff.update_id, key=_UPDATE_ID)
        before = self._waiting[position - 1].update_id if position else before
        after = self._waiting[position].diff.first_update_id
        return before < diff.update_id and diff.first_update_id < after and before + 1 < after

    def take(self) -> list[Waiting]:
        """Return all that waits, and empty the buffer."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def put_back(self, waiting: list[Waiting]) -> None:
        """Let what was taken wait again."""
        self._waiting = waiting
