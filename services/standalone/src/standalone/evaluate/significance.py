"""Whether a difference of errors is more than chance, and whether leans have the right size. Pure."""

from collections.abc import Iterator, Sequence
from math import sqrt
from operator import mul

from standalone.evaluate.bootstrap import Sums

ROUNDING = 1e-12
"""Part of a sum of squares below which what is left of it is rounding."""


def diebold_mariano(places: Sequence[int], differences: Sequence[float], lags: int) -> float | None:
    """Return the mean of the differences over its standard error: about a standard normal where there is none.

    Diebold and Mariano, Journal of Business & Economic Statistics 13(3), 1995. The variance is that of Newey and West,
    Econometrica 55(3), 1987, with so many lags, which has to be the horizon at least, since windows overlap; products
    across a hole are left out (Parzen 1963). None where nothing varies.
    """
    count = len(differences)
    mean = sum(differences) / count if count else 0.0
    runs = [[each - mean for each in run] for run in _runs(places, differences)]
    variance = sum(sum(map(mul, run, run)) for run in runs)
    for lag in range(1, lags + 1):
        weight = 2 * (1 - lag / (lags + 1))
        variance += weight * sum(sum(map(mul, run, run[lag:])) for run in runs)
    return mean * count / sqrt(variance) if variance > 0 else None


def mincer_zarnowitz(sums: Sums) -> float | None:
    """Return the slope of moves on leans, with an intercept: 1 where leans have the right size, 0 where they say none.

    `sums` are the number of pairs, and of leans, moves, squared leans, and products. Mincer and Zarnowitz, "The
    evaluation of economic forecasts", 1969. None where leans do not vary.
    """
    count, leans, moves, squares, products = sums
    spread = count * squares - leans * leans
    return (count * products - leans * moves) / spread if spread > ROUNDING * count * squares else None


def _runs(places: Sequence[int], values: Sequence[float]) -> Iterator[list[float]]:
    """Yield the values of places that follow each other."""
    run: list[float] = []
    before = None
    for place, value in zip(places, values, strict=True):
        if run and before is not None and place != before + 1:
            yield run
            run = []
        run.append(value)
        before = place
    yield run
