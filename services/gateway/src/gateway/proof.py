"""What a gateway can say of the hours of one symbol, from the events that it has seen itself. Pure.

It sees prices, gaps and audits as they pass, and may miss some. So it speaks of the time since it began to look, and
where ids are missing that no gap tells it says "not verified": the stored rows know more, `storer audit` asks them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from fairprice.coverage import Coverage, Facts, Verdict
from fairprice.gaps import claimed, uncovered
from fairprice.messages import Audit, Gap

KEPT_HOURS = 24
SLACK = 1_000_000
"""Microseconds by which the times of the same ids may differ."""

MOST_GAPS = 200
MOST_PIECES = 500
"""Pieces of unbroken ids that are remembered; a feed without holes is one piece."""


@dataclass(slots=True)
class _Piece:
    """Ids that were seen without a break, and the times of the first and the last of their prices."""

    first: int
    last: int
    from_time: int
    to_time: int

    def holds(self, first: int, last: int, time: int) -> bool:
        """Tell whether these ids are among them; the same ones at a later time are those of a new numbering."""
        return self.first <= first and last <= self.last and time <= self.to_time


@dataclass(frozen=True, slots=True)
class Hour:
    """The verdict on an hour, which begins at `time` (microseconds), and the minutes that it rests on."""

    time: int
    verdict: Verdict
    minutes_with_books: int
    minutes_compared: int


class Proof:
    """Collects what passes; times are microseconds of the exchange's clock."""

    def __init__(self) -> None:
        self._coverage = Coverage(KEPT_HOURS)
        self._pieces: deque[_Piece] = deque(maxlen=MOST_PIECES)
        self._gaps: deque[Gap] = deque(maxlen=MOST_GAPS)

    @property
    def since(self) -> int | None:
        """The time of the first price that is remembered."""
        return self._pieces[0].from_time if self._pieces else None

    def price(self, first: int, last: int, time: int) -> None:
        """Take the ids and the time of a price, whether it comes in its turn, again or late."""
        self._coverage.book(time)
        if self._pieces and self._joins(self._pieces[-1], first, last, time):
            return
        if not any(piece.holds(first, last, time) for piece in self._pieces):
            self._pieces.append(_Piece(first, last, time, time))

    def gap(self, gap: Gap) -> None:
        """Take a crawler's claim."""
        self._gaps.append(gap)

    def audit(self, audit: Audit) -> None:
        """Take what a crawler compared in a minute."""
        self._coverage.audit(audit.event_time, audit.tops, audit.wrong + audit.levels_wrong)

    def open_ids(self, gap: Gap) -> int:
        """Return how many ids of a gap are in no price that was seen."""
        if gap.to_update_id < gap.from_update_id:
            return claimed(gap.from_update_id, gap.to_update_id)
        at_that_time = (
            (piece.first, piece.last)
            for piece in self._pieces
            if piece.from_time <= gap.to_time + SLACK and piece.to_time >= gap.from_time - SLACK
        )
        return uncovered(gap.from_update_id, gap.to_update_id, at_that_time)

    def hours(self) -> list[Hour]:
        """Return what is said of each hour, in order."""
        if self.since is None:
            return []
        told = [gap for gap in self._gaps if gap.to_time > self.since]
        coverage = self._coverage.copy()
        for gap in told:
            if open_ids := self.open_ids(gap):
                coverage.hole(max(gap.from_time, self.since), gap.to_time, open_ids, 0)
        for from_time, to_time in self._breaks(told):
            coverage.doubt(from_time, to_time)
        return [_hour(*each) for each in coverage.verdicts()]

    def _joins(self, piece: _Piece, first: int, last: int, time: int) -> bool:
        if not piece.first <= first <= piece.last + 1 or last <= piece.last:
            return False
        piece.last, piece.to_time = last, max(time, piece.to_time)
        return True

    def _breaks(self, gaps: list[Gap]) -> Iterator[tuple[int, int]]:
        """Yield the times between which this gateway has missed something that no gap tells."""
        claims = [(gap.from_update_id, gap.to_update_id) for gap in gaps]
        known = [*claims, *((piece.first, piece.last) for piece in self._pieces)]
        for piece, following in pairwise(sorted(self._pieces, key=lambda each: each.from_time)):
            if following.first <= piece.last:
                is_told = any(to < start for start, to in claims)  # ids that begin anew
            else:
                is_told = following.first == piece.last + 1 or not uncovered(piece.last + 1, following.first - 1, known)
            if not is_told:
                yield piece.to_time, following.from_time


def _hour(time: int, verdict: Verdict, facts: Facts) -> Hour:
    return Hour(time, verdict, facts.minutes.bit_count(), (facts.minutes & facts.compared).bit_count())
