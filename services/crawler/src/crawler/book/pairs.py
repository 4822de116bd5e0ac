"""Observations of a market, what came of each a while later, and what is kept of both for each block of time. Pure.

The outcome of an observation is the mid that holds `span` later: that of the last book which is not later than that.
It is known as soon as a book comes which is. A pair of the two belongs to the block in which the outcome lies.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import frexp, isnan, ldexp, nan
from typing import NamedTuple

from fairprice.messages import Model

BLOCK = 10_000_000
"""Microseconds of the exchange's time. No span is longer, so an observation lies in its outcome's block or in the one
before."""

STEPS = 64
"""Sizes of moves that are told apart between one and its double."""

NO_MOVE = -(2**17)
"""The step of the size 0; that of the least positive float is higher."""


Band = tuple[float, float | None]
"""Beta and half width: the outcome is expected within the latter of mid + beta * imbalance; None: there is none."""


class Sums(NamedTuple):
    """What is kept of so many pairs.

    The sums of imbalance times move and of the imbalance's square, and in order the step of each move's size.
    """

    pairs: int
    products: float
    squares: float
    sizes: "array[int]"

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        sizes = array("i", sorted(self.sizes + other.sizes))
        return Sums(self.pairs + other.pairs, self.products + other.products, self.squares + other.squares, sizes)


class Block(NamedTuple):
    """All pairs of a block, and those whose observation lies in it, too."""

    number: int
    all: Sums
    inner: Sums


class Course:
    """The mids of the books, and the observations among them, as far back as somebody needs them."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.mids: list[float] = []
        self.seen_times: list[int] = []
        self.seen_mids: list[float] = []
        self.imbalances: list[float] = []

    def add(self, time: int, mid: float | None) -> None:
        """Add the mid that holds from `time` on, later than those before; None: there is none."""
        self.times.append(time)
        self.mids.append(nan if mid is None else mid)

    def observe(self, time: int, mid: float, imbalance: float) -> None:
        """Add an observation."""
        self.seen_times.append(time)
        self.seen_mids.append(mid)
        self.imbalances.append(imbalance)

    def outcomes(self, first: int, last: int, span: int) -> list[float]:
        """Return the mids `span` after these observations, NaN where there was none."""
        times, mids = self.times, self.mids
        at, end = bisect_right(times, self.seen_times[first] + span), len(times)
        found = []
        for time in self.seen_times[first:last]:
            while at < end and times[at] <= time + span:
                at += 1
            found.append(mids[at - 1])
        return found

    def forget(self, settled: int, span: int) -> None:
        """Drop what is of no use any more when all outcomes before `settled` are known; `span` is the longest one."""
        old = max(0, bisect_right(self.times, settled) - 1)
        del self.times[:old], self.mids[:old]
        old = bisect_left(self.seen_times, settled - span)
        del self.seen_times[:old], self.seen_mids[:old], self.imbalances[:old]


class _Collected:
    """The pairs of a block under way."""

    __slots__ = ("imbalances", "moves")

    def __init__(self) -> None:
        self.imbalances = array("d")
        self.moves = array("d")


class Pairs:
    """The pairs of one horizon, kept for so many `blocks`; `span` is in microseconds.

    Sizes are kept, and bands judged, only where `band_of` tells of a model which band goes with it: `inside` and
    `outside` count the outcomes, as far as they are settled, that lay, or did not, in the band of their observation.
    """

    def __init__(self, span: int, blocks: int, band_of: Callable[[Model], Band] | None = None) -> None:
        self.span = span
        self.inside = 0
        self.outside = 0
        self._band_of = band_of
        self._blocks: deque[Block] = deque(maxlen=blocks)
        self.restart()

    def restart(self) -> None:
        """Forget all pairs; the counts stay."""
        self._settled = 0
        self._blocks.clear()
        self._begin_block(0)

    def settle(self, course: Course, until: int, models: Mapping[int, Model]) -> None:
        """Take the pairs whose outcomes are due before `until`, up to which all books are known.

        `models` are those that were published, by block.
        """
        times, span = course.seen_times, self.span
        first, end = bisect_left(times, self._settled - span), bisect_left(times, until - span)
        while first < end:
            begin = times[first] + span - (times[first] + span) % BLOCK
            is_inner = times[first] >= begin
            last = min(end, bisect_left(times, begin + BLOCK - span if is_inner else begin))
            if begin != self._begin:
                self._next_block(begin)
            self._take(course, first, last, models.get(times[first] // BLOCK), is_inner=is_inner)
            first = last
        self._settled = until

    def before(self, number: int) -> Iterator[Block]:
        """Yield the blocks that are kept, the oldest first; to be asked when all pairs before this block are known."""
        if self._begin < number * BLOCK:
            self._next_block(number * BLOCK)
        return iter(self._blocks)

    def _take(self, course: Course, first: int, last: int, model: Model | None, *, is_inner: bool) -> None:
        """Take pairs of one block whose observations lie in one block, too."""
        imbalances = course.imbalances[first:last]
        outcomes = course.outcomes(first, last, self.span)
        moves = [outcome - mid for outcome, mid in zip(outcomes, course.seen_mids[first:last], strict=True)]
        if any(map(isnan, moves)):
            imbalances = [each for each, move in zip(imbalances, moves, strict=True) if not isnan(move)]
            moves = [move for move in moves if not isnan(move)]
        pairs = self._inner if is_inner else self._crossing
        pairs.imbalances.extend(imbalances)
        pairs.moves.extend(moves)
        if self._band_of and model:
            beta, width = self._band_of(model)
            if width is not None:
                inside = sum([abs(move - beta * each) <= width for each, move in zip(imbalances, moves, strict=True)])
                self.inside += inside
                self.outside += len(moves) - inside

    def _next_block(self, begin: int) -> None:
        if self._inner.moves or self._crossing.moves:
            inner = _sums(self._inner, sizes=self._band_of is not None)
            crossing = _sums(self._crossing, sizes=self._band_of is not None)
            self._blocks.append(Block(self._begin // BLOCK, crossing.plus(inner), inner))
        self._begin_block(begin)

    def _begin_block(self, begin: int) -> None:
        self._begin = begin
        self._inner, self._crossing = _Collected(), _Collected()


def step_of(size: float) -> int:
    """Return the number of the step that a size, not negative, lies on."""
    if not size:
        return NO_MOVE
    mantissa, exponent = frexp(size)
    return (exponent - 1) * STEPS + int(mantissa * (2 * STEPS))


def end_of(step: int) -> float:
    """Return the least size beyond a step; of the size 0, itself."""
    if step == NO_MOVE:
        return 0.0
    exponent, part = divmod(step, STEPS)
    return ldexp((part + STEPS + 1) / STEPS, exponent - 1)


def _sums(pairs: _Collected, *, sizes: bool) -> Sums:
    """Add up in the order of the pairs, as Python's own `sum` would not in every version."""
    products = squares = 0.0
    for imbalance, move in zip(pairs.imbalances, pairs.moves, strict=True):
        products += imbalance * move
        squares += imbalance * imbalance
    steps = sorted([step_of(abs(move)) for move in pairs.moves]) if sizes else []
    return Sums(len(pairs.moves), products, squares, array("i", steps))
