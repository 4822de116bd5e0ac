"""How far an hour of a symbol is proven, in one word. Pure.

Facts are collected as they come: minutes that have books, minutes in which a top was compared with the exchange's own
ticker, what was wrong, ids that are missing. "Not compared" is a verdict of its own and never counts as good.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from enum import StrEnum

MINUTE = 60_000_000
HOUR = 60 * MINUTE
"""Microseconds."""


class Verdict(StrEnum):
    """What can be said of an hour, from the best to the worst."""

    VERIFIED = "verified"
    """Unbroken, at least one top compared in each minute that has books, nothing wrong."""
    UNVERIFIED = "unverified"
    """Unbroken, but a minute has books and nothing that they were compared with."""
    HOLE = "hole"
    """Ids are missing, and a gap says so."""
    SUSPECT = "suspect"
    """Something disagrees: a top with the ticker, a level with a snapshot, a row with another one or with itself."""
    UNRECORDED_HOLE = "unrecorded_hole"
    """Ids are missing and no gap says so: a defect."""


MARKS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.VERIFIED: ("=", "verified"),
    Verdict.UNVERIFIED: ("?", "not verified"),
    Verdict.HOLE: ("o", "hole, recorded"),
    Verdict.SUSPECT: ("!", "suspect"),
    Verdict.UNRECORDED_HOLE: ("X", "hole, not recorded"),
}
"""Of each verdict the character that is drawn for an hour, which tells everything without a colour, and its meaning."""


@dataclass(slots=True)
class Facts:
    """What is known of one hour; `minutes`, `compared` hold a bit for each minute that has books, that has tops.

    `is_doubtful`: something may be missing, though nothing is known to be.
    """

    minutes: int = 0
    compared: int = 0
    wrong: int = 0
    missing_ids: int = 0
    unrecorded_ids: int = 0
    is_doubtful: bool = False


def judge(facts: Facts, awaited: int = 0) -> Verdict | None:
    """Return the verdict on an hour, None where there is nothing to judge.

    `awaited` is the bit of a minute that may still be compared.
    """
    if facts.unrecorded_ids:
        return Verdict.UNRECORDED_HOLE
    if facts.wrong:
        return Verdict.SUSPECT
    if facts.missing_ids:
        return Verdict.HOLE
    if facts.is_doubtful:
        return Verdict.UNVERIFIED
    if not facts.minutes:
        return None
    due = facts.minutes & ~awaited
    is_compared = facts.minutes & facts.compared and not due & ~facts.compared
    return Verdict.VERIFIED if is_compared else Verdict.UNVERIFIED


def worst(verdicts: Iterator[Verdict]) -> Verdict | None:
    """Return the worst of the verdicts."""
    return max(verdicts, key=list(Verdict).index, default=None)


class Coverage:
    """The hours of one symbol; all times in microseconds of the exchange's clock, in any order.

    `keep` is how many hours are remembered, counted from the newest; None remembers all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.hours: dict[int, Facts] = {}
        """Facts by the number of hours since the epoch."""
        self._keep = keep
        self._minute = -1
        self._newest_minute = -1
        self._newest_hour = -1

    def book(self, time: int) -> None:
        """Note a book."""
        minute = time // MINUTE
        if minute != self._minute:
            self._minute = minute
            self._newest_minute = max(self._newest_minute, minute)
            self._facts(minute // 60).minutes |= _bit(minute)

    def audit(self, minute_begin: int, tops: int, wrong: int) -> None:
        """Note how many tops of a minute's books were compared, and how much of all that was compared was wrong."""
        facts = self._facts(minute_begin // HOUR)
        facts.compared |= _bit(minute_begin // MINUTE) if tops else 0
        facts.wrong += wrong

    def suspicion(self, time: int) -> None:
        """Note that something disagrees at this time."""
        self._facts(time // HOUR).wrong += 1

    def hole(self, from_time: int, to_time: int, missing_ids: int, unrecorded_ids: int) -> None:
        """Note ids that are missing between two times, and how many of them no gap tells, in every hour between."""
        for facts in self._between(from_time, to_time):
            facts.missing_ids += missing_ids
            facts.unrecorded_ids += unrecorded_ids

    def doubt(self, from_time: int, to_time: int) -> None:
        """Note that something may be missing between two times, in every hour between."""
        for facts in self._between(from_time, to_time):
            facts.is_doubtful = True

    def copy(self) -> "Coverage":
        """Return another one with the same facts."""
        other = copy(self)
        other.hours = {hour: replace(facts) for hour, facts in self.hours.items()}
        return other

    def verdicts(self) -> Iterator[tuple[int, Verdict, Facts]]:
        """Yield what is said of each hour in order: its begin, the verdict and the facts.

        The newest minute that has books may still be compared: its audit comes with the first book behind it.
        """
        awaited_hour, awaited = self._newest_minute // 60, _bit(self._newest_minute)
        for hour, facts in sorted(self.hours.items()):
            if verdict := judge(facts, awaited if hour == awaited_hour else 0):
                yield hour * HOUR, verdict, facts

    def _between(self, from_time: int, to_time: int) -> Iterator[Facts]:
        last = max(from_time, to_time) // HOUR
        for hour in range(max(from_time // HOUR, self._oldest(last)), last + 1):
            yield self._facts(hour)

    def _facts(self, hour: int) -> Facts:
        """Return the facts of an hour; those of one that is older than what is remembered are kept nowhere."""
        if hour > self._newest_hour:
            self._newest_hour = hour
            for old in [each for each in self.hours if each < self._oldest(hour)]:
                del self.hours[old]
        return self.hours.setdefault(hour, Facts()) if hour >= self._oldest(self._newest_hour) else Facts()

    def _oldest(self, newest: int) -> int:
        return newest + 1 - self._keep if self._keep else 0


def _bit(minute: int) -> int:
    return 1 << minute % 60
