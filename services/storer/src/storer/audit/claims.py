"""The gaps of one symbol while rows come by in order of time: which are filled, and what they tell of a hole. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fairprice.gaps import claimed
from storer.audit.account import Claim
from storer.audit.ids import Missing, Range
from storer.stores.port import Row

SLACK = 1_000_000
"""Microseconds on either side of a gap in which rows count that fill it: event times are moved by little."""

ENDLESS = 2**63
"""More than any id."""


@dataclass(slots=True)
class _Open:
    """A gap whose rows are still coming by."""

    from_time: int
    to_time: int
    from_update_id: int
    to_update_id: int
    reason: str
    stored_open_ids: int | None
    missing: Missing
    has_begun_anew: bool = False

    @property
    def is_backward(self) -> bool:
        return self.to_update_id < self.from_update_id

    def ranges(self) -> list[Range]:
        """Return the ids that it tells; one that runs backwards the last of one numbering and the first of another."""
        if self.is_backward:
            return [(self.from_update_id, ENDLESS), (-ENDLESS, self.to_update_id)]
        return [(self.from_update_id, self.to_update_id)]

    def settled(self, *, is_over: bool) -> Claim:
        ids = self.from_update_id, self.to_update_id
        open_ids = claimed(*ids) if self.is_backward else self.missing.count()
        times = self.from_time, self.to_time
        return Claim(*times, *ids, self.reason, open_ids if is_over or not open_ids else None)

    def is_wrongly_filled(self, claim: Claim) -> bool:
        """Tell whether the store says that fewer ids are missing than are: then nobody would see the hole."""
        return self.stored_open_ids is not None and claim.open_ids is not None and self.stored_open_ids < claim.open_ids


class Claims:
    """The gaps that the row at hand may have to do with; they are kept for `horizon` microseconds after their end."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._open: list[_Open] = []
        self.next_end = 0
        """The time of a row from which on `pass_by` has something to return; 0 while there are none."""

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, row: Row, before: Iterable[Range]) -> None:
        """Take a stored gap: time, ids from and to, milliseconds, reason, ids that the store holds for open.

        `before` are the ranges of the rows that came last.
        """
        time, first, last, duration_ms, reason, open_ids = row
        missing = Missing(first, last)
        for each in before:
            missing.remove(*each)
        to_time = time + round((duration_ms or 0) * 1000)
        stored_open_ids = None if open_ids is None else round(open_ids)
        self._open.append(_Open(time, to_time, first, last, str(reason), stored_open_ids, missing))
        end = to_time + self._horizon
        self.next_end = min(self.next_end or end, end)

    def fill(self, first: int, last: int) -> None:
        """Take away the ids that a row brings."""
        for each in self._open:
            each.missing.remove(first, last)

    def told(self, from_time: int, to_time: int) -> list[Range]:
        """Return the ranges of those that reach into this time."""
        return [ids for each in self._reaching(from_time, to_time) for ids in each.ranges()]

    def take_restarts(self, from_time: int, to_time: int) -> list[Range]:
        """Return, once each, the gaps of this time with which ids begin anew: from which id, and behind which."""
        taken = [each for each in self._reaching(from_time, to_time) if each.is_backward and not each.has_begun_anew]
        for each in taken:
            each.has_begun_anew = True
        return [(each.from_update_id, each.to_update_id) for each in taken]

    def begun_anew(self, from_time: int, to_time: int) -> list[int]:
        """Return behind which ids they began anew, by the gaps of this time; one may tell it of several numberings."""
        return [each.to_update_id for each in self._reaching(from_time, to_time) if each.is_backward]

    def pass_by(self, time: int) -> Iterator[tuple[Claim, bool]]:
        """Yield what is over at this time, and whether the store holds too few of its ids for open."""
        over = [each for each in self._open if each.to_time + self._horizon < time]
        self._open = [each for each in self._open if each.to_time + self._horizon >= time]
        self.next_end = min((each.to_time for each in self._open), default=0) + self._horizon if self._open else 0
        for each in over:
            claim = each.settled(is_over=True)
            yield claim, each.is_wrongly_filled(claim)

    def finish(self, stop: int) -> Iterator[tuple[Claim, bool]]:
        """Yield the others; one that ends so late that rows which fill it may come after `stop` is not settled."""
        for each in self._open:
            claim = each.settled(is_over=each.to_time + SLACK < stop)
            yield claim, each.is_wrongly_filled(claim)

    def last_told(self, reached: int, stop: int) -> tuple[Missing, int] | None:
        """Return the ids behind `reached` that settled gaps tell and no row brought, and the time up to which."""
        last = [each for each in self._settled(stop) if each.to_update_id > reached]
        if not last:
            return None
        highest = max(each.to_update_id for each in last)
        told, untold = Missing(reached + 1, highest), Missing(reached + 1, highest)
        for each in last:
            untold.remove(each.from_update_id, each.to_update_id)
        for low, high in untold.ranges:
            told.remove(low, high)
        return told, max(each.to_time for each in last)

    def last_restart(self, stop: int) -> int | None:
        """Return the time up to which a gap tells that ids began anew, behind which no row came."""
        return max(
            (each.to_time for each in self._settled(stop) if each.is_backward and not each.has_begun_anew), default=None
        )

    def _settled(self, stop: int) -> list[_Open]:
        return [each for each in self._open if each.to_time + SLACK < stop]

    def _reaching(self, from_time: int, to_time: int) -> list[_Open]:
        return [each for each in self._open if each.from_time <= to_time + SLACK and each.to_time >= from_time - SLACK]
