"""What the last two minutes of one symbol's books say of its next seconds. Pure.

Each book is an observation: its mid, and the imbalance of its best sizes; what the mid has moved a while later is its
outcome. The model that holds for a block of ten seconds of the exchange's time is made of the pairs of the twelve
blocks before it, the newer ones weighing more (half-life 60 s):

    beta          sum(imbalance * move) / (sum(imbalance^2) + 9)      how far a full imbalance moves the mid
    half width    the size that nine of ten moves to come should not exceed, by the sizes of those that were seen

It is a function of the books in these twelve blocks and of nothing else: of the oldest block only the pairs count that
lie in it with both ends. So crawlers that joined at different times have the same model, to the last bit, as soon as
each has all of these books. To keep it so, weights are integers, everything is added in the order of the books, and
there is no model at all while one of the books may be missing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from crawler.book.pairs import BLOCK, Band, Course, Pairs, Sums, end_of
from fairprice.messages import Model

BLOCKS = 12

WEIGHTS = tuple(round(2**20 * 2 ** (-age / 6)) for age in range(BLOCKS))
"""Of the pairs of a block, the newest block first. Integers, since machines may differ in the last bit of a power."""

SHRINKAGE = 9.0
"""Added to the squares of the imbalances, as if 30 observations of a mean square of 0.3 had seen no move."""

COVERAGE = 9, 10
"""Numerator and denominator of the share of moves to come that a band is to hold."""

OVERLAP = 3, 2
"""Moves that overlap tell as much as half as many again that do not (Lo and MacKinlay, Review of Financial Studies 1,
1988, on the variances of both)."""

FEWEST = 30
"""Observations below which nobody can say where 90 % of the moves end."""

SPACING = 10_000
"""Microseconds of the exchange's time of which the first book alone is observed, so that what waits is bounded."""


TOGETHER = 100
"""Books whose pairs are made in one go, or at the end of a block: one by one it takes three times as long."""


class MarketModel:
    """The model of one symbol, fed with each book that is published, in order."""

    def __init__(self) -> None:
        self.half_second = Pairs(500_000, BLOCKS)
        self.second = Pairs(1_000_000, BLOCKS, _near)
        self.five_seconds = Pairs(5_000_000, BLOCKS)
        self.ten_seconds = Pairs(10_000_000, BLOCKS, _far)
        self._horizons = (self.half_second, self.second, self.five_seconds, self.ten_seconds)
        self.restart()

    def restart(self) -> None:
        """Begin anew with the next book: of those before it one may be missing."""
        self._since: int | None = None
        self._time = 0
        self._block = 0
        self._model: Model | None = None
        self._models: dict[int, Model] = {}
        self._course = Course()
        self._unsettled = 0
        for pairs in self._horizons:
            pairs.restart()

    @property
    def ready_time(self) -> int | None:
        """The exchange's time from which on there is a model, if no book is missing until then; None: nobody knows."""
        return None if self._since is None else self._ready * BLOCK

    @property
    def is_learnt(self) -> bool:
        """Whether the last book had a model."""
        return self._model is not None

    @property
    def seconds_left(self) -> float | None:
        """How much longer it takes, by the exchange's clock, until there is a model; None: nobody knows."""
        return None if self._since is None else max(0, self._ready * BLOCK - self._time) / 1_000_000

    @property
    def _ready(self) -> int:
        """The first block with twelve whole ones before it."""
        return -(-(self._since or 0) // BLOCK) + BLOCKS

    def follow(self, time: int, mid: float | None, imbalance: float) -> Model | None:
        """Take the next book, and return the model that holds for it.

        `time` is the exchange's; one that is not later than the last begins anew. `imbalance` is that of the best
        sizes, (bid - ask) / (bid + ask). A book without one of its sides has no mid.
        """
        if self._since is None or time <= self._time:
            self.restart()
            self._since = time
        if time // BLOCK != self._block:
            self._begin_block(time)
        elif self._unsettled >= TOGETHER:
            self._settle(time)
        self._unsettled += 1
        self._course.add(time, mid)
        if mid is not None and time // SPACING != self._time // SPACING:
            self._course.observe(time, mid, imbalance)
        self._time = time
        return self._model

    def _begin_block(self, time: int) -> None:
        """Learn from the blocks before: all their pairs are known."""
        self._block = time // BLOCK
        self._settle(time)
        self._model = self._learn() if self._block >= self._ready else None
        recent = {number: model for number, model in self._models.items() if number == self._block - 1}
        self._models = recent | ({self._block: self._model} if self._model else {})

    def _settle(self, time: int) -> None:
        for pairs in self._horizons:
            pairs.settle(self._course, time, self._models)
        self._course.forget(time, self.ten_seconds.span)
        self._unsettled = 0

    def _learn(self) -> Model:
        half_second, second, five_seconds, ten_seconds = [self._weighed(pairs) for pairs in self._horizons]
        return Model(
            self._block * BLOCK,
            _beta(half_second),
            _beta(second),
            _beta(five_seconds),
            _half_width(second, self.second.span),
            _half_width(ten_seconds, self.ten_seconds.span),
            _count(half_second),
            _count(second),
            _count(five_seconds),
            _count(ten_seconds),
        )

    def _weighed(self, pairs: Pairs) -> list[tuple[int, Sums]]:
        """Return the pairs of the twelve blocks before this one, the oldest first, and the weight of each block's."""
        ages = [(self._block - block.number, block) for block in pairs.before(self._block)]
        return [(WEIGHTS[age - 1], block.inner if age == BLOCKS else block.all) for age, block in ages if age <= BLOCKS]


Weighed = Sequence[tuple[int, Sums]]


def _beta(blocks: Weighed) -> float:
    products = squares = 0.0
    for weight, sums in blocks:
        products += weight * sums.products
        squares += weight * sums.squares
    return products / (squares + WEIGHTS[0] * SHRINKAGE)


def _half_width(blocks: Weighed, span: int) -> float | None:
    """Return the end of the first step up to which the wanted share of the weight lies.

    The k-th of n independent numbers is not exceeded by the next one with the probability k / (n + 1), and there are
    few independent moves of ten seconds in two minutes: so of what was seen somewhat more than 90 % have to lie within.
    """
    if _count(blocks) < FEWEST:
        return None
    weight = sum(weight * sums.pairs for weight, sums in blocks)

    def held(step: int) -> int:
        return sum([weight * bisect_right(sums.sizes, step) for weight, sums in blocks])

    kept = [sums.sizes for _, sums in blocks if sums.sizes]
    steps = range(min(sizes[0] for sizes in kept), max(sizes[-1] for sizes in kept) + 1)
    independent = OVERLAP[0] * BLOCKS * BLOCK // (OVERLAP[1] * span)
    wanted = -(-weight * COVERAGE[0] * (independent + 1) // (COVERAGE[1] * independent))
    return end_of(steps[bisect_left(steps, wanted, key=held)])


def _count(blocks: Weighed) -> int:
    return sum(sums.pairs for _, sums in blocks)


def _near(model: Model) -> Band:
    return model.beta_1s, model.half_width_1s


def _far(model: Model) -> Band:
    return model.beta_5s, model.half_width_10s
