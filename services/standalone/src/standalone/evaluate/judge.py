"""Measures estimators and bands of one symbol. Pure."""

from collections.abc import Callable, Iterator

from standalone.evaluate import controls
from standalone.evaluate.bands import Coverage, coverage
from standalone.evaluate.bootstrap import LEAST_BLOCKS, Blocks, Draws, Interval, Lots, Statistic, Sums, block_length
from standalone.evaluate.instants import LIVE, STEP, Instants
from standalone.evaluate.pairs import Column, Pairs, joined, leans, moves
from standalone.evaluate.score import SECOND, Score, TooFew
from standalone.evaluate.significance import diebold_mariano, mincer_zarnowitz

LATE = SECOND
"""Microseconds by which the control `late` comes late."""

Terms = Callable[[Pairs], Iterator[Sums]]
"""What is summed of each pair."""


class Judge:
    """Judges the estimators of one symbol; with `has_tickers` the newest mid is not that of the book."""

    def __init__(self, instants: Instants, random: Lots, *, has_tickers: bool) -> None:
        self._instants = instants
        self._random = random
        self._draws = Draws(random)
        self._has_tickers = has_tickers

    def score(self, estimator: str, horizon: int) -> Score | TooFew:
        """Judge one estimator at one horizon: microseconds, a multiple of the step."""
        instants, steps = self._instants, horizon // STEP
        estimates = instants.estimates(estimator, horizon)
        lean = leans(estimates, instants.own)
        move = moves(instants.mid, instants.segments, steps)
        pairs = joined(instants, lean, move)
        moved = sum(1 for each in pairs.moves if each)
        squared, absolute = self._interval(pairs, horizon, _squares), self._interval(pairs, horizon, _absolutes)
        if squared is None or absolute is None:
            return TooFew(estimator, horizon, pairs.count, moved, _blocks(pairs, horizon, _squares).count)
        lot = self._random(f"{estimator} shuffled at {horizon}")
        late = joined(instants, controls.late(lean, instants.segments, LATE // STEP), move)
        return Score(
            estimator,
            horizon,
            pairs.count,
            moved,
            squared,
            absolute,
            self._interval(pairs, horizon, _products, mincer_zarnowitz),
            diebold_mariano(pairs.places, [mid - own for mid, own in _squares(pairs)], 2 * steps),
            self._as_it_is(estimates, move, horizon),
            self._own_mid(lean, horizon),
            self._live(estimator, move, horizon),
            {
                "shuffled": self._interval(controls.shuffled(pairs, lot), horizon, _squares),
                "late_1s": self._interval(late, horizon, _squares),
                "halves_swapped": self._interval(controls.halves_swapped(pairs), horizon, _squares),
            },
        )

    def coverage(self, horizon: int) -> Coverage | None:
        """Return how often the band of this horizon held the mid; None where pairs are too few."""
        return coverage(self._instants, horizon, self._draws)

    def _as_it_is(self, estimates: Column, move: Column, horizon: int) -> Interval | None:
        if not self._has_tickers:
            return None
        pairs = joined(self._instants, leans(estimates, self._instants.mid), move)
        return self._interval(pairs, horizon, _squares)

    def _own_mid(self, lean: Column, horizon: int) -> Interval | None:
        if not self._has_tickers:
            return None
        own = moves(self._instants.own, self._instants.segments, horizon // STEP)
        return self._interval(joined(self._instants, lean, own), horizon, _squares)

    def _live(self, estimator: str, move: Column, horizon: int) -> Interval | None:
        if LIVE + estimator not in self._instants.values:
            return None
        return self._as_it_is(self._instants.estimates(LIVE + estimator, horizon), move, horizon)

    def _interval(
        self, pairs: Pairs, horizon: int, terms: Terms, statistic: Statistic | None = None
    ) -> Interval | None:
        blocks = _blocks(pairs, horizon, terms)
        return self._draws.interval(blocks, statistic or _ratio) if blocks.count >= LEAST_BLOCKS else None


def _blocks(pairs: Pairs, horizon: int, terms: Terms) -> Blocks:
    return Blocks(pairs.places, terms(pairs), block_length(pairs.places, horizon // STEP))


def _squares(pairs: Pairs) -> Iterator[Sums]:
    """Yield the squared errors of the mid and of the estimator."""
    return ((move * move, (move - lean) * (move - lean)) for lean, move in zip(pairs.leans, pairs.moves, strict=True))


def _absolutes(pairs: Pairs) -> Iterator[Sums]:
    """Yield the absolute errors of the mid and of the estimator."""
    return ((abs(move), abs(move - lean)) for lean, move in zip(pairs.leans, pairs.moves, strict=True))


def _products(pairs: Pairs) -> Iterator[Sums]:
    """Yield what `mincer_zarnowitz` takes the sums of."""
    return ((1.0, lean, move, lean * lean, lean * move) for lean, move in zip(pairs.leans, pairs.moves, strict=True))


def _ratio(sums: Sums) -> float | None:
    """Return the estimator's error in units of the mid's; None where the mid never moved."""
    mid, estimator = sums
    return estimator / mid if mid else None
