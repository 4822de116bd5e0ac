"""Stoikov's micro-price as a chain of states: how far the mid is expected to go from each of them. Pure.

    P  the chance to go from a state to another one within a step      r  the move of the mid expected in the step
    finite horizon  G_h = r + P r + ... + P^(h-1) r                    of h steps
    limit           G with G = r + P G and a mean of zero              solved as (I - P + 1 pi) G = r, pi P = pi

Stoikov, Quantitative Finance 18(12), 2018, section 3; with moves of any size and with changes of the spread alone it is
the same number as his series. Each transition counts also mirrored, sides exchanged and the move reversed, as his
theorem 3.1 asks: then the limit exists, and a book and its mirror image lean alike.

A state that was seen too rarely is taken for unknown: nothing is expected there, and it leads anywhere.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FEWEST = 30
"""Transitions from a state, mirrored ones included, below which it is unknown."""

Vector = list[float]
Matrix = list[Vector]


class Transition(NamedTuple):
    """From a state to another one, with a move of the mid, so many times."""

    state: int
    later: int
    move: float
    times: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`counts` of the transitions from each state, `matrix` is P, `drift` is r."""

    counts: Sequence[int]
    matrix: Sequence[Sequence[float]]
    drift: Sequence[float]

    def ahead(self, steps: int) -> Vector:
        """Return the move that is expected in so many steps from each state."""
        step, total = list(self.drift), [0.0] * len(self.drift)
        for _ in range(steps):
            total = [sum(both) for both in zip(total, step, strict=True)]
            step = _times(self.matrix, step)
        return total

    def limit(self) -> Vector:
        """Return the move that is expected in the long run from each state, beside what is expected from all."""
        stationary = self.stationary()
        places = range(len(self.drift))
        left = [
            [float(row == column) - self.matrix[row][column] + stationary[column] for column in places]
            for row in places
        ]
        return solved(left, list(self.drift))

    def stationary(self) -> Vector:
        """Return how much of the time the chain is in each state."""
        places = range(len(self.drift))
        left = [[float(row == column) - self.matrix[column][row] + 1.0 for column in places] for row in places]
        return solved(left, [1.0 for _ in places])


def chain(
    transitions: Iterable[Transition], states: int, mirrored: Callable[[int], int], fewest: int = FEWEST
) -> Chain:
    """Return the chain of so many states; raises `ValueError` where none was seen often enough."""
    counts = [[0] * states for _ in range(states)]
    moves = [0.0] * states
    for state, later, move, times in transitions:
        for first, last, moved in ((state, later, move), (mirrored(state), mirrored(later), -move)):
            counts[first][last] += times
            moves[first] += moved * times
    totals = [sum(row) for row in counts]
    known = [total if total >= fewest else 0 for total in totals]
    if not any(known):
        raise ValueError("no state was seen often enough")
    anywhere = [total / sum(known) for total in known]
    matrix = [[count / total for count in row] if total else anywhere for row, total in zip(counts, known, strict=True)]
    drift = [move / total if total else 0.0 for move, total in zip(moves, known, strict=True)]
    return Chain(totals, matrix, drift)


def solved(left: Matrix, right: Vector) -> Vector:
    """Return x with left x = right, by Gauss with the greatest pivots; raises `ValueError` where there is not one x."""
    rows = [[*row, value] for row, value in zip(left, right, strict=True)]
    size = len(rows)
    for place in range(size):
        pivot = max(range(place, size), key=lambda row: abs(rows[row][place]))
        if abs(rows[pivot][place]) < 1e-12:
            raise ValueError("states that never meet: there is no limit")
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for row in (row for row in range(size) if row != place):
            factor = rows[row][place] / rows[place][place]
            rows[row] = [value - factor * other for value, other in zip(rows[row], rows[place], strict=True)]
    return [rows[place][size] / rows[place][place] for place in range(size)]


def _times(matrix: Sequence[Sequence[float]], vector: Vector) -> Vector:
    return [sum(map(float.__mul__, row, vector)) for row in matrix]
