"""The chain of ids of one symbol's rows, in order of time: where it breaks, and which rows cannot be right. Pure.

Each row brings the ids from its first to its last. The next one joins it, or leaves a hole. A row whose last id is not
behind everything before it is one of these, in this order: it brings ids of a hole (the exchange's clock went back); it
is the first of ids that begin anew, which a gap tells, or which the next row proves by joining it; it is another row's
double; it tells the state at an id as another row does, from another first id on; it ends amid the ids of a row
that one crawler was sent as two diffs in one, under the time of the second one, which is the earlier one where the
exchange's clock went back between them; or it contradicts them.

A crawler that was killed before it had noted a new numbering goes back to the one before with its gap: that tells what
is missing in either, and may tell of two numberings.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fairprice.gaps import CLOCK_SLACK
from storer.audit.account import Account, Finding, Kind
from storer.audit.claims import Claims
from storer.audit.ids import Missing, Range

HORIZON = 60_000_000
"""Microseconds behind a hole in which a row may still fill it."""

RECENT = 1000
"""Rows that are remembered to tell a double from a contradiction."""


class PriceRow(NamedTuple):
    """What is read of a row of `fair_price`."""

    time: int
    first_update_id: int
    update_id: int
    bid: float | None
    ask: float | None
    spread: float | None


@dataclass(slots=True)
class _Hole:
    """Ids that no row has brought, and what the gaps tell that were known when the row behind them came."""

    from_time: int
    to_time: int
    missing: Missing
    told: list[Range]


class _Astray(NamedTuple):
    """A row that may be the first of a new numbering, and the one before it."""

    row: PriceRow
    before: PriceRow


class Chain:
    """Takes rows in order of time and tells what it `found`.

    `runs_begin_anew` where each run of the market has a numbering of its own.
    """

    def __init__(
        self, account: Account, claims: Claims, found: Callable[[Finding], None], *, runs_begin_anew: bool
    ) -> None:
        self._account = account
        self._claims = claims
        self._found = found
        self._runs_begin_anew = runs_begin_anew
        self._holes: list[_Hole] = []
        self._astray: _Astray | None = None
        self._recent: deque[PriceRow] = deque(maxlen=RECENT)
        self._began = 0
        self.reached: int | None = None
        """The highest id of this numbering so far."""
        self.last: PriceRow | None = None
        """The row before."""

    def recent(self) -> Iterator[Range]:
        """Yield the ranges of the rows that came last."""
        return ((row.first_update_id, row.update_id) for row in self._recent)

    def begin(self, row: PriceRow) -> None:
        """Take the row before the period: the first one of the period has to join it."""
        self.reached, self.last = row.update_id, row

    def add(self, row: PriceRow) -> bool:
        """Take the next row; return whether it has its place, whatever is missing before it."""
        if self._astray:
            self._resolve(self._astray, row)
        has_place = row.first_update_id == (self.reached or 0) + 1 or self._place(row)
        if has_place:
            self.reached = max(self.reached or 0, row.update_id)
            self._recent.append(row)
        self.last = row
        if self._holes:
            self._close(row.time - HORIZON)
        return has_place

    def finish(self) -> None:
        """Judge what was waiting for a next row."""
        if self._astray:
            self._judge_alone(self._astray.row)
            self._astray = None
        self._close(None)

    def _place(self, row: PriceRow) -> bool:
        """Place a row that does not join the one before."""
        first, last = row.first_update_id, row.update_id
        if self.reached is None or self.last is None:
            return True
        if last > self.reached:
            if first > self.reached + 1:
                self._open(self.last.time, row.time, self.reached + 1, first - 1)
            else:
                self._account.overlapping += not self._fills(first, last)
            return True
        if self._fills(first, last):
            self._account.disordered += 1
            return True
        if self._restarts(row, self.last.time, self.reached):
            return True
        self._judge_backward(row)
        return False

    def _open(self, from_time: int, to_time: int, first: int, last: int) -> None:
        self._holes.append(_Hole(from_time, to_time, Missing(first, last), self._claims.told(from_time, to_time)))

    def _fills(self, first: int, last: int) -> bool:
        filled = [hole.missing.remove(first, last) for hole in self._holes]
        return any(filled)

    def _restarts(self, row: PriceRow, before: int, reached: int) -> bool:
        """Go over to a new numbering where a gap tells of it; `before` is the time of the row before."""
        told = self._claims.take_restarts(before, row.time)
        behind = [last for _, last in told]
        if not told and row.update_id <= self._began:
            behind = self._claims.begun_anew(before, row.time)
        if not behind:
            return False
        ended = min((first for first, _ in told), default=0) - 1
        if ended > reached:
            self._open(before, before, reached + 1, ended)
        began = max((last for last in behind if last < row.first_update_id), default=row.first_update_id - 1)
        detail = "the exchange's ids began anew"
        self._found(Finding(Kind.RECORDED_HOLE, before, row.time, reached + 1, began, detail=detail))
        self._begin_anew(began)
        if row.first_update_id > began + 1:
            self._open(before, row.time, began + 1, row.first_update_id - 1)
        return True

    def _begin_anew(self, reached: int) -> None:
        self._close(None)
        self._recent.clear()
        self._began = self.reached = reached

    def _judge_backward(self, row: PriceRow) -> None:
        if self.last and (self._runs_begin_anew or not (self._same(row) or self._is_within(row))):
            self._astray = _Astray(row, self.last)  # the next row tells whether a new numbering begins with it
        else:
            self._judge_alone(row)

    def _resolve(self, astray: _Astray, row: PriceRow) -> None:
        """Tell by the next row what one was whose ids ran backwards."""
        self._astray = None
        if row.first_update_id != astray.row.update_id + 1 or row.first_update_id == (self.reached or 0) + 1:
            self._judge_alone(astray.row)
            return
        if self._runs_begin_anew:
            self._account.runs += 1
        else:
            ids = astray.before.update_id + 1, astray.row.first_update_id - 1
            detail = "ids began anew, and no gap tells it"
            times = astray.before.time, astray.row.time
            self._found(Finding(Kind.UNRECORDED_HOLE, *times, *ids, detail=detail))
        self._begin_anew(astray.row.update_id)
        self._recent.append(astray.row)

    def _same(self, row: PriceRow) -> PriceRow | None:
        """Return a row that ends where this one does."""
        return next((each for each in reversed(self._recent) if each.update_id == row.update_id), None)

    def _is_within(self, row: PriceRow) -> bool:
        """Tell whether it ends amid the ids that a row of shortly before has in one."""
        return any(
            each.first_update_id <= row.update_id < each.update_id and row.time - each.time <= CLOCK_SLACK
            for each in self._recent
        )

    def _judge_alone(self, row: PriceRow) -> None:
        same = self._same(row)
        if same is None and self._is_within(row):
            self._account.overlapping += 1
        elif same is None:
            self._contradict(row, "its ids run against time")
        elif same[1:] == row[1:]:
            self._found(_about(row, Kind.DOUBLED, f"like the row at {same.time}"))
        elif same[3:] == row[3:]:  # the same state at the end of another stream server's diff
            self._account.overlapping += 1
        else:
            self._contradict(row, f"it ends where the row at {same.time} does, and differs")

    def _contradict(self, row: PriceRow, detail: str) -> None:
        self._found(_about(row, Kind.CONTRADICTING, detail))

    def _close(self, before: int | None) -> None:
        """Report the holes that nothing fills any more: those that ended before this time, or all."""
        open_ones: list[_Hole] = []
        for hole in self._holes:
            if before is not None and hole.to_time >= before:
                open_ones.append(hole)
                continue
            times = hole.from_time, hole.to_time
            told = hole.told + self._claims.told(*times)
            for low, high in hole.missing.ranges:
                piece = Missing(low, high)
                untold = piece.count_outside(told)
                recorded = piece.count() - untold
                if untold:
                    self._found(Finding(Kind.UNRECORDED_HOLE, *times, low, high, untold))
                if recorded:
                    self._found(Finding(Kind.RECORDED_HOLE, *times, low, high, recorded))
        self._holes = open_ones


def _about(row: PriceRow, kind: Kind, detail: str) -> Finding:
    return Finding(kind, row.time, row.time, row.first_update_id, row.update_id, detail=detail)
