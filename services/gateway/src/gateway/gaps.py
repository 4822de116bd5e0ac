"""The gaps of one symbol, and which of them are open: one crawler's claim may be filled by another one's prices. Pure.

Ranges of ids that join are kept as one, so there are as few of them as there are holes.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from fairprice.gaps import claimed, uncovered
from fairprice.messages import Gap

MAX_RANGES = 1000
"""Ranges of ids kept, those with the highest ids."""

_LAST = itemgetter(1)


class Gaps:
    """At most `most` gaps, the newest, with the ids that no price covers."""

    def __init__(self, most: int) -> None:
        self._claims: deque[tuple[Gap, int]] = deque(maxlen=most)
        self._forgotten = 0
        self._ranges: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over all claims in the order in which they came, each with its `open_ids`."""
        return ({**vars(gap), "open_ids": open_ids} for gap, open_ids in self._claims)

    @property
    def open(self) -> int:
        """How many are open, those included that are not remembered any more."""
        return self._forgotten + sum(open_ids > 0 for _, open_ids in self._claims)

    @property
    def newest_open(self) -> dict[str, Any] | None:
        """The newest gap that is open."""
        return next((gap for gap in reversed([*self]) if gap["open_ids"]), None)

    def take_claim(self, gap: Gap) -> bool:
        """Remember a gap and return True, unless it is known already or filled."""
        if any(known == gap for known, _ in self._claims):
            return False
        if gap.to_update_id < gap.from_update_id:
            self._ranges.clear()  # of ids that began anew
        if len(self._claims) == self._claims.maxlen:
            self._forgotten += self._claims[0][1] > 0
        self._claims.append((gap, self._open_ids(gap)))
        return self._claims[-1][1] > 0

    def take_range(self, first: int, last: int) -> None:
        """Note that a price covers these ids."""
        if not self._add(first, last):
            return
        for position, (gap, open_ids) in enumerate(self._claims):
            if open_ids and first <= gap.to_update_id and gap.from_update_id <= last:
                self._claims[position] = gap, min(open_ids, self._open_ids(gap))

    def start_over(self, until: int) -> None:
        """Forget what ends after this event time, and which ids were covered."""
        self._ranges.clear()
        kept = [claim for claim in self._claims if claim[0].to_time <= until]
        self._claims.clear()
        self._claims.extend(kept)

    def _open_ids(self, gap: Gap) -> int:
        if gap.to_update_id < gap.from_update_id:
            return claimed(gap.from_update_id, gap.to_update_id)
        begin = bisect_left(self._ranges, gap.from_update_id, key=_LAST)
        return uncovered(gap.from_update_id, gap.to_update_id, self._ranges[begin:])

    def _add(self, first: int, last: int) -> bool:
        """Join the ids with what they touch; return whether any of them is new."""
        if self._ranges:
            start, end = self._ranges[-1]
            if start <= first <= end + 1 and last > end:  # nearly all join the newest
                self._ranges[-1] = start, last
                return True
        begin = bisect_left(self._ranges, first - 1, key=_LAST)
        end = begin
        while end < len(self._ranges) and self._ranges[end][0] <= last + 1:
            end += 1
        touched = self._ranges[begin:end]
        if len(touched) == 1 and touched[0][0] <= first and last <= touched[0][1]:
            return False
        joined = min([first, *(each[0] for each in touched)]), max([last, *(each[1] for each in touched)])
        self._ranges[begin:end] = [joined]
        del self._ranges[:-MAX_RANGES]
        return True
