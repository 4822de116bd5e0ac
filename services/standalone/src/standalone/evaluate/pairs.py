"""Pairs of what an estimator says at an instant and what became of it: leans and moves. Pure.

A move is how much a mid changes from an instant to the one a horizon later. A lean is by how much the estimator would
have it change. The error of "the mid stays" is the move, that of the estimator the move less the lean.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from standalone.evaluate.instants import STEP, Instants

Column = Sequence[float]
"""A number an instant, NaN where there is none."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Leans and moves in quote units; `places` are the numbers of their instants on the grid, which ascend."""

    places: Sequence[int]
    leans: Sequence[float]
    moves: Sequence[float]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.places)


def leans(estimates: Column, mids: Column) -> Column:
    """Return how far each estimate is from each mid."""
    return array("d", [estimate - mid for estimate, mid in zip(estimates, mids, strict=True)])


def moves(mids: Column, segments: Sequence[int], steps: int) -> Column:
    """Return the change of each mid in so many steps, NaN where its segment ends before."""
    pairs = zip(mids, mids[steps:], segments, segments[steps:], strict=False)
    known = [later - mid if segment == later_one else nan for mid, later, segment, later_one in pairs]
    return array("d", known + [nan] * (len(mids) - len(known)))


def joined(instants: Instants, lean: Column, move: Column) -> Pairs:
    """Return the pairs of the instants that have both."""
    places, both_leans, both_moves = array("q"), array("d"), array("d")
    for time, each_lean, each_move in zip(instants.times, lean, move, strict=True):
        if not (isnan(each_lean) or isnan(each_move)):
            places.append(time // STEP)
            both_leans.append(each_lean)
            both_moves.append(each_move)
    return Pairs(places, both_leans, both_moves)
