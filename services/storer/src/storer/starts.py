"""Finds what is missing before a crawler that knew of no earlier run, from rows alone.

Such a crawler, whose folder of state was lost or that has taken over a symbol from another one, tells with which book
it starts, and that is stored. Where the rows before it end earlier, what lies between is claimed, as the crawler itself
would have done had it known. A start is done with when the store holds that claim, so whoever does the same again,
another storer or this one after a restart, writes nothing more.
"""

from typing import NamedTuple

import structlog

from fairprice.gaps import begins_anew, uncovered
from fairprice.messages import Gap
from fairprice.runtime.clock import Clock
from storer.measurements import FAIR_PRICE, GAP, START, TICK, gap_point
from storer.settlement import FIRST_LOOK_BACK, RANGE, Settled
from storer.stores.port import NEVER, Key, Store

REASON = "no_state"

PATIENCE = 600_000_000
"""Microseconds of stored time for which rows from before a start may still be on their way, where there are none."""

CLAIM = ("from_update_id", "to_update_id")

log = structlog.get_logger(__name__)


class Row(NamedTuple):
    """A row with a range of ids: of a price, or the one with which a crawler started."""

    time: int
    first_update_id: int
    update_id: int


class Starts:
    """The starts of all symbols of a store; `settled` knows the time of what is stored."""

    def __init__(self, store: Store, settled: Settled, *, clock: Clock) -> None:
        self._store = store
        self._settled = settled
        self._clock = clock
        self._done: set[tuple[Key, Row]] = set()

    async def round(self) -> None:
        """Look once at all starts that are not done with; raises `StoreUnavailable`."""
        since = max(0, self._settled.now(self._clock.wall()) - FIRST_LOOK_BACK)
        done: set[tuple[Key, Row]] = set()
        for key in await self._store.keys(START, since, NEVER):
            async for row in self._store.rows(START, RANGE, *key, since, NEVER):
                start = Row(*row)
                if (key, start) in self._done or await self._look(key, start):
                    done.add((key, start))
        self._done = done

    async def _look(self, key: Key, start: Row) -> bool:
        """Claim what is missing before a start; return whether it was claimed before, or nothing is missing.

        Prices come in order: those before a start are there when one from then on is.
        """
        before = await self._store.last(FAIR_PRICE, RANGE, *key, start.time)
        if before is None and self._settled.now(self._clock.wall()) - start.time <= PATIENCE:
            return False
        newest = await self._store.last(FAIR_PRICE, RANGE, *key, NEVER)
        if newest is None or newest[0] < start.time:
            return False
        gap = missing(key, Row(*before), start) if before else None
        if gap is None or await self._is_claimed(key, gap):
            return True
        for rejection in await self._store.write([gap_point(gap)]):
            log.error("the store does not take the gap before a start", reason=rejection.reason)
        return False

    async def _is_claimed(self, key: Key, gap: Gap) -> bool:
        """Return whether the store's claims tell all ids of a gap; of one that runs backwards, whether it is there."""
        rows = self._store.rows(GAP, CLAIM, *key, 0, gap.to_time + TICK)  # one that is wider begins earlier
        claims = [(first, last) async for _, first, last in rows]
        ids = gap.from_update_id, gap.to_update_id
        return ids in claims or not uncovered(*ids, claims)


def missing(key: Key, before: Row, start: Row) -> Gap | None:
    """Return the gap between the last row before a start and the start; it runs backwards where ids began anew.

    None where nothing is missing, and where the row is of an early version, which kept no ids.
    """
    if before.update_id is None:
        return None
    first, last = before.update_id + 1, start.first_update_id - 1
    is_anew = begins_anew(start.update_id, start.time, last_id=before.update_id, last_time=before.time)
    return Gap(*key, first, last, before.time, start.time, REASON) if first <= last or is_anew else None
