"""Observations of a market, what came of each a while later, and what is kept of both for each block of time. Pure.

The outcome of an observation is the mid that holds `span` later: that of the last book which is not later than that.
It is known as soon as a book comes which is. A pair of the two belongs to the block in which the outcome lies.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from math import frexp, ldexp
from typing import NamedTuple

BLOCK = 10_000_000
"""Microseconds of the exchange's time. No span is longer, so an observation lies in its outcome's block or in the one
before."""

STEPS = 64
"""Sizes of moves that are told apart between one and its double."""

NO_MOVE = -(2**17)
"""The step of the size 0; that of the least positive float is higher."""


Band = tuple[float, float]
"""The lowest and the highest mid that it holds; a plain tuple is made in a third of the time."""


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


class _Collected:
    """The pairs of a block under way, as plain numbers: there are hundreds of each symbol."""

    __slots__ = ("imbalances", "moves")

    def __init__(self) -> None:
        self.imbalances = array("d")
        self.moves = array("d")


class Pairs:
    """The pairs of one horizon, kept for so many `blocks`; `span` is in microseconds.

    Sizes are kept only where they are wanted. `inside` and `outside` count the outcomes that lay, or did not, in the
    band that was published with their observation.
    """

    def __init__(self, span: int, blocks: int, *, sizes: bool) -> None:
        self.inside = 0
        self.outside = 0
        self.span = span
        self._has_sizes = sizes
        self._waiting: deque[tuple[int, float, float, Band | None]] = deque()
        self._blocks: deque[Block] = deque(maxlen=blocks)
        self._begin_block(0)

    def restart(self) -> None:
        """Forget what was observed; the counts stay."""
        self._waiting.clear()
        self._blocks.clear()
        self._begin_block(0)

    def observe(self, time: int, mid: float, imbalance: float, band: Band | None) -> None:
        """Take an observation, later than those before, and the band that is published with it, if there is one."""
        self._waiting.append((time, mid, imbalance, band))

    def settle(self, time: int, before: float | None, now: float | None) -> None:
        """Take the mid that holds from `time` on and the one that held until then; None: there is none, no outcome."""
        waiting, latest = self._waiting, time - self.span
        while waiting and waiting[0][0] <= latest:
            seen, mid, imbalance, band = waiting.popleft()
            outcome = now if seen == latest else before
            if outcome is None:
                continue
            if seen + self.span >= self._end:
                self._next_block((seen + self.span) // BLOCK)
            pairs = self._inner if seen >= self._begin else self._crossing
            pairs.imbalances.append(imbalance)
            pairs.moves.append(outcome - mid)
            if band:
                if band[0] <= outcome <= band[1]:
                    self.inside += 1
                else:
                    self.outside += 1

    def before(self, number: int) -> Iterator[Block]:
        """Yield the blocks that are kept, the oldest first; to be asked when all pairs before this block are known."""
        if self._end <= number * BLOCK:
            self._next_block(number)
        return iter(self._blocks)

    def _next_block(self, number: int) -> None:
        if self._inner.moves or self._crossing.moves:
            inner = _sums(self._inner, sizes=self._has_sizes)
            crossing = _sums(self._crossing, sizes=self._has_sizes)
            self._blocks.append(Block(self._begin // BLOCK, crossing.plus(inner), inner))
        self._begin_block(number)

    def _begin_block(self, number: int) -> None:
        self._begin, self._end = number * BLOCK, (number + 1) * BLOCK
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
