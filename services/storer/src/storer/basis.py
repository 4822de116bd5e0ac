"""Stores how far the venues of a symbol lie apart, from rows of prices alone: the second witness of a price.

Each second of the exchanges' time has one point for each venue but the reference: the basis of the last trusted mids in
it. It is a function of the rows, so storers that work out the same, in any order and twice, write the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from fairprice.basis import basis_bps, reference
from fairprice.errors import StoreUnavailable
from fairprice.messages import PRICED
from storer.measurements import BASIS, FAIR_PRICE, Point
from storer.stores.port import Store

SECOND = 1_000_000
"""Microseconds."""

BLOCK = 10 * SECOND
"""Microseconds that are worked out together."""

BEFORE = 12
"""Blocks before a symbol's first one that are worked out, too: a storer that was killed may not have come to them."""

LONGEST = 360
"""Blocks that are read at once."""

Block = tuple[str, int]
"""A symbol and the number of a block."""

Mids = Mapping[int, float]
"""The mid by the second, in microseconds."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Touched:
    """Blocks into which prices were stored since they were worked out.

    One is worked out when a whole round has passed without a price for it, and again after a price that came late.
    """

    _fresh: set[Block] = field(default_factory=set)
    _waiting: set[Block] = field(default_factory=set)
    _symbols: set[str] = field(default_factory=set)

    def note(self, points: Iterable[Point]) -> None:
        """Note that these were stored."""
        self._fresh.update((point.symbol, point.time // BLOCK) for point in points if point.measurement == FAIR_PRICE)

    def quiet(self) -> set[Block]:
        """Begin a round: return the blocks into which nothing came since the one before."""
        quiet = self._waiting - self._fresh
        self._waiting = self._fresh | self._before()
        self._fresh = set()
        return quiet

    def again(self, blocks: Iterable[Block]) -> None:
        """Take blocks back that could not be worked out."""
        self._waiting.update(blocks)

    def _before(self) -> set[Block]:
        """Return the blocks before the first ones of symbols that were not seen before."""
        firsts: dict[str, int] = {}
        for symbol, block in self._fresh:
            if symbol not in self._symbols:
                firsts[symbol] = min(block, firsts.get(symbol, block))
        self._symbols.update(firsts)
        return {(symbol, first - number) for symbol, first in firsts.items() for number in range(1, BEFORE + 1)}


class BasisRecord:
    """Works the basis out of what a store keeps."""

    def __init__(self, store: Store, touched: Touched) -> None:
        self._store = store
        self._touched = touched

    async def round(self) -> None:
        """Work out what is quiet now; raises `StoreUnavailable`, then it is done the next time."""
        blocks = self._touched.quiet()
        try:
            await self._work_out(blocks)
        except StoreUnavailable:
            self._touched.again(blocks)
            raise

    async def _work_out(self, blocks: set[Block]) -> None:
        if not blocks:
            return
        numbers = [number for _, number in blocks]
        keys = await self._store.keys(FAIR_PRICE, min(numbers) * BLOCK, (max(numbers) + 1) * BLOCK)
        venues: defaultdict[str, list[str]] = defaultdict(list)
        for venue, symbol in keys:
            venues[symbol].append(venue)
        for symbol, start, stop in periods(block for block in blocks if len(venues[block[0]]) > 1):
            mids = {venue: await self._mids(venue, symbol, start, stop) for venue in venues[symbol]}
            if points := list(basis_points(symbol, mids)):
                for rejection in await self._store.write(points):
                    log.error("the store does not take a basis", reason=rejection.reason)

    async def _mids(self, venue: str, symbol: str, start: int, stop: int) -> Mids:
        """Return the last trusted mid of each second in [start, stop) that has one."""
        rows = self._store.rows(FAIR_PRICE, ("status", "mid"), venue, symbol, start, stop)
        return {time // SECOND * SECOND: mid async for time, status, mid in rows if status in PRICED and mid}


def periods(blocks: Iterable[Block]) -> Iterator[tuple[str, int, int]]:
    """Yield the times [start, stop), in microseconds, that blocks of a symbol cover, neighbours joined."""
    joined: tuple[str, int, int] | None = None
    for symbol, number in sorted(blocks):
        if joined and joined[0] == symbol and joined[2] == number and number - joined[1] < LONGEST:
            joined = symbol, joined[1], number + 1
            continue
        if joined:
            yield joined[0], joined[1] * BLOCK, joined[2] * BLOCK
        joined = symbol, number, number + 1
    if joined:
        yield joined[0], joined[1] * BLOCK, joined[2] * BLOCK


def basis_points(symbol: str, mids: Mapping[str, Mids]) -> Iterator[Point]:
    """Yield the points of the seconds in which several venues have a mid, each against the first of these by name."""
    for second in sorted(set().union(*mids.values())):
        found = {venue: of_venue[second] for venue, of_venue in mids.items() if second in of_venue}
        against = reference(found)
        for venue in sorted(found.keys() - {against}):
            basis = basis_bps(found[venue], found[against])
            yield Point(BASIS, second, venue, symbol, {"basis_bps": basis, "against": against})
