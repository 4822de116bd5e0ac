"""Intervals of what is worked out from sums, by drawing blocks of time again and again. Pure.

Errors at neighbouring instants are alike, so what is drawn is whole blocks, with replacement, as many as there are:
what is worked out from the sums of such draws spreads as the figure would from one such time to another.

Blocks that do not overlap: Carlstein, Annals of Statistics 14(3), 1986; blocks at all: Künsch, the same 17(3), 1989.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import quantiles
from typing import NamedTuple

REPLICAS = 1000

USUAL_LENGTH = 100
"""Places of a block: ten seconds."""

LEAST_BLOCKS = 10
"""With fewer an interval would say more about the draws than about the market."""

MOST_BLOCKS = 500
"""With more, longer blocks are taken: they are no worse, and so the work does not grow with the period."""

Randomness = Callable[[], float]
"""Numbers of [0, 1), like `random.Random.random`."""

Lots = Callable[[str], Randomness]
"""Returns what is drawn from for a purpose, always the same: so no figure changes with what else is drawn."""

Sums = tuple[float, ...]
Statistic = Callable[[Sums], float | None]
"""Works a figure out from sums; None where they do not determine it."""


class Interval(NamedTuple):
    """A figure, and where 95 % of the draws lie."""

    value: float
    low: float
    high: float


class Blocks:
    """Sums of terms by blocks of so many places of the grid.

    `terms` holds, of each place, the terms that are summed; places ascend.
    """

    def __init__(self, places: Sequence[int], terms: Iterable[Sums], length: int) -> None:
        sums: list[list[float]] = []
        block = None
        for place, term in zip(places, terms, strict=True):
            if place // length != block:
                block = place // length
                sums.append([0.0] * len(term))
            last = sums[-1]
            for number, value in enumerate(term):
                last[number] += value
        self.count = len(sums)
        self._columns = list(zip(*sums, strict=True))

    def total(self) -> Sums:
        """Return the sums of all."""
        return tuple(map(sum, self._columns))

    def drawn(self, numbers: Sequence[int]) -> Sums:
        """Return the sums of these blocks."""
        return tuple(sum(map(column.__getitem__, numbers)) for column in self._columns)


class Draws:
    """The blocks that are drawn, the same for all that have as many of them."""

    def __init__(self, random: Lots, replicas: int = REPLICAS) -> None:
        self._random = random
        self._replicas = replicas
        self._known: dict[int, list[list[int]]] = {}

    def interval(self, blocks: Blocks, statistic: Statistic) -> Interval | None:
        """Return the statistic with its interval; None where the sums, or nearly all draws, do not determine it."""
        value = statistic(blocks.total())
        drawn = [statistic(blocks.drawn(numbers)) for numbers in self._of(blocks.count)]
        known = [each for each in drawn if each is not None]
        if value is None or len(known) < self._replicas // 2:
            return None
        cuts = quantiles(known, n=40, method="inclusive")
        return Interval(value, cuts[0], cuts[-1])

    def _of(self, count: int) -> list[list[int]]:
        if count not in self._known:
            random = self._random(f"{count} blocks")
            self._known[count] = [[int(random() * count) for _ in range(count)] for _ in range(self._replicas)]
        return self._known[count]


def block_length(places: Sequence[int], horizon: int) -> int:
    """Return how many places a block should have, for pairs that reach so many places ahead."""
    span = places[-1] - places[0] + 1 if places else 0
    return max(USUAL_LENGTH, 2 * horizon, -(-span // MOST_BLOCKS))
