"""What was compared with the exchange's own account in each minute of its time, for one symbol. Pure."""

from fairprice.messages import Audit

MINUTE = 60_000_000
"""Microseconds."""


class Minutes:
    """Adds up one minute after the other; one is over when something of a later one comes.

    What comes late, behind the begin of a later minute, counts for that one.
    """

    def __init__(self, venue: str, symbol: str, crawler: str) -> None:
        self._venue = venue
        self._symbol = symbol
        self._crawler = crawler
        self._over: list[Audit] = []
        self._current: Audit | None = None

    def add_top(self, event_time: int, first_update_id: int, update_id: int, *, is_proven: bool) -> None:
        """Count a book that is published, and its top if that was compared."""
        minute = self._at(event_time, first_update_id)
        minute.to_update_id = update_id
        minute.tops += is_proven

    def add_wrong_top(self, event_time: int, update_id: int) -> None:
        """Count a top that its ticker contradicts, which is not published."""
        minute = self._at(event_time, update_id)
        minute.tops += 1
        minute.wrong += 1

    def add_levels(self, event_time: int, update_id: int, levels: int, wrong: int) -> None:
        """Count levels that were compared with a fresh snapshot."""
        minute = self._at(event_time, update_id)
        minute.levels += levels
        minute.levels_wrong += wrong

    def take(self, *, at_end: bool = False) -> list[Audit]:
        """Return the minutes that are over, each once, and at the end also the one that is under way."""
        if at_end and self._current:
            self._over.append(self._current)
            self._current = None
        over, self._over = self._over, []
        return over

    def _at(self, event_time: int, update_id: int) -> Audit:
        """Return the minute to count for, begun at this id if it is another one than before."""
        begin = event_time - event_time % MINUTE
        if self._current is None or begin > self._current.event_time:
            self._over += [self._current] if self._current else []
            self._current = Audit(self._venue, self._symbol, begin, self._crawler, update_id, update_id, 0, 0, 0, 0)
        return self._current
