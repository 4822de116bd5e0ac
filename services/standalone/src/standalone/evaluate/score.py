"""What is found of one estimator at one horizon."""

from collections.abc import Mapping
from dataclasses import dataclass

from standalone.evaluate.bootstrap import Interval

SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Score:
    """One estimator at one horizon of so many microseconds, against "the newest mid stays".

    `squared` and `absolute` are ratios of the sums of errors: below 1 the estimator is better. `dm` and `slope` are
    those of `significance`; `pairs` and `moves` are counts, a move being a change other than zero.
    `as_it_is` is `squared` of the estimate itself instead of its lean on the newest mid, `own_mid` that of book against
    book, which flatters, `live` that of the estimate made of the book with the newest top put in; all None where the
    newest mid is the book's. `controls` are `squared`, too, by their names.
    """

    estimator: str
    horizon: int
    pairs: int
    moves: int
    squared: Interval
    absolute: Interval
    slope: Interval | None
    dm: float | None
    as_it_is: Interval | None
    own_mid: Interval | None
    live: Interval | None
    controls: Mapping[str, Interval | None]


@dataclass(frozen=True, slots=True)
class TooFew:
    """Nothing can be said: there are so many pairs, in so many blocks, and so many moves among them."""

    estimator: str
    horizon: int
    pairs: int
    moves: int
    blocks: int
