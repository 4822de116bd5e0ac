"""How often the mid lies, when a band's time has come, inside of the band. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from standalone.evaluate.bootstrap import LEAST_BLOCKS, Blocks, Draws, Interval, Sums, block_length
from standalone.evaluate.instants import STEP, Instants
from standalone.evaluate.pairs import joined, leans, moves
from standalone.evaluate.score import SECOND

STATED = 0.9
"""The coverage that bands are made for."""

_LOW = re.compile(r"band_([0-9]+)s_low")


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of so many pairs the part in which the mid was inside a horizon of so many microseconds later."""

    horizon: int
    pairs: int
    share: Interval


def bands(names: Iterable[str]) -> list[int]:
    """Return the horizons, in microseconds, of the bands among the names of values."""
    return [int(found[1]) * SECOND for name in names if (found := _LOW.fullmatch(name))]


def ends(horizon: int) -> tuple[str, str]:
    """Return the names of the lower and the upper end of the band of a horizon."""
    seconds = horizon // SECOND
    return f"band_{seconds}s_low", f"band_{seconds}s_high"


def coverage(instants: Instants, horizon: int, draws: Draws) -> Coverage | None:
    """Return how often the newest mid was inside; each band goes with the newest mid. None where pairs are too few."""
    low, high = (instants.values[name] for name in ends(horizon))
    move = moves(instants.mid, instants.segments, horizon // STEP)
    below, above = (joined(instants, leans(end, instants.own), move) for end in (low, high))
    if below.places != above.places:
        return None  # one end without the other is no band
    terms: list[Sums] = [
        (1.0, float(least <= moved <= most))
        for least, most, moved in zip(below.leans, above.leans, below.moves, strict=True)
    ]
    blocks = Blocks(below.places, terms, block_length(below.places, horizon // STEP))
    share = draws.interval(blocks, _share) if blocks.count >= LEAST_BLOCKS else None
    return Coverage(horizon, below.count, share) if share else None


def _share(sums: Sums) -> float:
    pairs, inside = sums
    return inside / pairs
