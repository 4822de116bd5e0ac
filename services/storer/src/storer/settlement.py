"""Tells which gaps are open, from rows alone: what one crawler missed another one may have brought.

A gap is stored as a claim with all its ids open. Again and again its row is written anew with the ids that no row of
`fair_price` covers. Rows are only added, so that number only falls, and storers that do the same work, in any order and
twice, come to the same end.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from fairprice.gaps import claimed, uncovered
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Sample
from storer.measurements import FAIR_PRICE, GAP, Point
from storer.rounds import INTERVAL, JITTER
from storer.stores.port import NEVER, Key, Store

LONGEST = 600.0
"""Seconds after which a gap that stays open is looked at again, at most, unless its rows take long to read."""

SHARE = 0.02
"""Part of the time that the rows of one open gap may be read."""

LOOK_BACK = 86_400_000_000
"""Microseconds of the rounds: a day before what is stored now."""

FIRST_LOOK_BACK = 8 * LOOK_BACK
"""The first round looks at all that is kept: a crawler may have been away for days, or an earlier version stored it."""

MARGIN = 1_000_000
"""Microseconds before and after a gap in which rows are read, since a row's range may begin or end outside."""

BATCH = 500
"""Gaps written together."""

RANGE = ("first_update_id", "update_id")
FIELDS = ("from_update_id", "to_update_id", "duration_ms", "reason", "open_ids")
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Settled:
    """What is known of the gaps of the last day.

    `newest` is the event time of the newest point that was stored, None before the first: a market that was made up has
    a time of its own.
    """

    newest: int | None = None
    open_gaps: dict[Key, int] = field(default_factory=dict)
    filled: Counter[Key] = field(default_factory=Counter)

    def now(self, wall: int) -> int:
        """Return the time of what is stored at present, at most that of the wall clock."""
        return min(wall, self.newest or wall)

    def note(self, points: Iterable[Point]) -> None:
        """Note that these were stored."""
        self.newest = max((point.time for point in points), default=self.newest)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        for key, count in self.open_gaps.items():
            yield "storer_open_gaps", key, count
        for key, count in self.filled.items():
            yield "storer_filled_gaps_total", key, count


class _Claim(NamedTuple):
    """A stored gap; `open_ids` is None where an earlier version has stored it."""

    time: int
    from_update_id: int
    to_update_id: int
    duration_ms: float
    reason: str
    open_ids: int | None

    def point(self, key: Key) -> Point:
        """Return the whole point, as it is to be stored; InfluxDB gives a float without decimals as an integer."""
        fields = {**self._asdict(), "duration_ms": float(self.duration_ms)}
        return Point(GAP, fields.pop("time"), *key, fields)


class _Look(NamedTuple):
    """A look at a claim that stayed open, and when and after how long to look again, in monotonic seconds."""

    claim: _Claim
    due: float
    delay: float


class Settlement:
    """Settles the gaps of a store, whatever their venue and symbol."""

    def __init__(self, store: Store, settled: Settled, *, clock: Clock) -> None:
        self._store = store
        self._settled = settled
        self._clock = clock
        self._looks: dict[tuple[Key, int], _Look] = {}
        self._look_back = FIRST_LOOK_BACK

    async def round(self) -> None:
        """Look once, the first time at all that is kept; raises `StoreUnavailable`."""
        await self.settle(self._look_back)
        self._look_back = LOOK_BACK

    async def settle(self, look_back: int) -> None:
        """Look once at all gaps that are open and due; raises `StoreUnavailable`."""
        start = max(0, self._settled.now(self._clock.wall()) - look_back)
        looks: dict[tuple[Key, int], _Look] = {}
        for key in await self._store.keys(GAP, start, NEVER):
            await self._settle_symbol(key, start, looks)
        self._looks = looks
        self._settled.open_gaps = Counter(key for key, _ in looks)

    async def _settle_symbol(self, key: Key, start: int, looks: dict[tuple[Key, int], _Look]) -> None:
        points: list[Point] = []
        async for row in self._store.rows(GAP, FIELDS, *key, start, NEVER):
            claim = _Claim(*row)
            if claim.open_ids == 0:
                continue
            before = self._looks.get((key, claim.time))
            look = before if before and before.claim == claim else None
            if look is None or self._clock.monotonic() >= look.due:
                look = await self._look(key, claim, look.delay * 2 if look else INTERVAL)
            if look.claim.open_ids:
                looks[key, claim.time] = look
            else:
                self._settled.filled[key] += 1
            if look.claim != claim:
                points.append(look.claim.point(key))
            if len(points) >= BATCH:
                await self._write(points)
                points = []
        await self._write(points)

    async def _look(self, key: Key, claim: _Claim, delay: float) -> _Look:
        """Count the ids that are open by now."""
        began = self._clock.monotonic()
        ranges = [each async for each in self._ranges(key, claim)]
        open_ids = uncovered(claim.from_update_id, claim.to_update_id, ranges)
        now = self._clock.monotonic()
        delay = max(min(delay, LONGEST), (now - began) / SHARE)
        known = claimed(claim.from_update_id, claim.to_update_id) if claim.open_ids is None else claim.open_ids
        return _Look(claim._replace(open_ids=min(open_ids, known)), now + delay * (1 - JITTER), delay)

    async def _ranges(self, key: Key, claim: _Claim) -> AsyncIterator[tuple[int, int]]:
        """Yield the ranges of ids of the rows around a claim, those that join as one, so that there are few."""
        stop = claim.time + round(claim.duration_ms * 1000) + MARGIN + 1
        joined: tuple[int, int] | None = None
        async for _, first, last in self._store.rows(FAIR_PRICE, RANGE, *key, claim.time - MARGIN, stop):
            if first is None or last is None:
                continue
            if joined and joined[0] <= first <= joined[1] + 1:
                joined = joined[0], max(joined[1], last)
                continue
            if joined:
                yield joined
            joined = first, last
        if joined:
            yield joined

    async def _write(self, points: Sequence[Point]) -> None:
        if points:
            for rejection in await self._store.write(points):
                log.error("the store does not take a settled gap", reason=rejection.reason)
