"""Tells from the stream alone whether the exchange has begun its update ids anew. Pure.

So many diffs in a row with old ids but new times mean that it has. What a connection brings that lags behind another
is old in both. Old is what is not newer than the stream's own newest: a stream that lags behind a snapshot brings ids
that the snapshot holds, and is no reset.

A snapshot of the old ids may be on its way when they begin anew, and answer what was asked for long before. As a book
it would be ahead of every diff to come: until the new ids have reached the old ones, a snapshot belongs to those that
it is nearer to.
"""

from crawler.book.market_data import Diff

RESET_AFTER = 20
RESET_TIME = 1_000_000
"""So many such diffs, over so many microseconds of the exchange's time."""


class IdReset:
    """The diffs with old ids since the newest one."""

    def __init__(self) -> None:
        self._old_in_a_row = 0
        self._old_since = 0
        self._was_interrupted = False
        self._left_at = 0

    def restart(self) -> None:
        """Note that a diff has come that is newer than all before."""
        self._old_in_a_row = 0
        self._was_interrupted = False

    def interrupt(self) -> None:
        """Note that no connection was left: old ids with old times are no connection that lags, either."""
        self._was_interrupted = True

    def is_late(self, diff: Diff, newest_time: int) -> bool:
        """Return whether a diff with an old id is old by its time, too."""
        return diff.event_time <= newest_time and not self._was_interrupted

    def is_proven_by(self, diff: Diff, newest_id: int) -> bool:
        """Take a diff with an old id that is not late; return whether these are enough.

        `newest_id` is the stream's newest: where the old ids end if they are.
        """
        if not self._old_in_a_row:
            self._old_since = diff.event_time
        self._old_in_a_row += 1
        if self._old_in_a_row < RESET_AFTER or diff.event_time < self._old_since + RESET_TIME:
            return False
        self._old_in_a_row = 0
        self._left_at = newest_id
        return True

    def is_left_behind(self, snapshot_id: int, newest_id: int) -> bool:
        """Return whether a snapshot's id is one of those before the ids began anew; `newest_id` is the stream's."""
        return newest_id < self._left_at and abs(self._left_at - snapshot_id) < abs(snapshot_id - newest_id)
