"""The states of Stoikov's chain: how the best sizes lean, and how wide the spread is, at each instant. Pure.

A state's number is the bucket of its spread times the number of buckets of imbalance, plus the bucket of its imbalance.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import gcd, isnan

from standalone.evaluate.instants import Instants

NEEDED = ("bid", "spread", "bid_size", "ask_size")
"""The values that a state and the tick are worked out from."""

BUCKETS = 10
"""Of the imbalance Qb / (Qb + Qa), open below and closed above, so that those of a mirrored book are mirrored."""

SPREADS = 2
"""One tick, and more."""

STATES = BUCKETS * SPREADS
UNITS = 10**8
"""What prices are counted in to find the tick."""


def bucket(bid_size: Fraction, ask_size: Fraction) -> int:
    """Return the bucket of an imbalance, from 0; an imbalance at an edge belongs to the bucket below it."""
    edge = -(-BUCKETS * bid_size // (bid_size + ask_size))
    return max(int(edge), 1) - 1


def mirrored(state: int) -> int:
    """Return the state of the book whose sides are exchanged."""
    spread, imbalance = divmod(state, BUCKETS)
    return spread * BUCKETS + BUCKETS - 1 - imbalance


def tick_of(instants: Instants) -> Fraction | None:
    """Return the greatest step that all best prices are multiples of; None where there are none."""
    found = 0
    for name in ("bid", "spread"):
        for value in set(instants.values[name]):
            if not isnan(value):
                found = gcd(found, round(Fraction(repr(value)) * UNITS))
    return Fraction(found, UNITS) if found else None


def states(instants: Instants, tick: Fraction) -> Iterator[int | None]:
    """Yield the state at each instant; None where a size or the spread is not known or is zero."""
    for bid_size, ask_size, spread in zip(*(instants.values[name] for name in NEEDED[2:] + NEEDED[1:2]), strict=True):
        if isnan(bid_size) or isnan(ask_size) or isnan(spread) or not spread > 0:
            yield None
            continue
        ticks = round(spread / float(tick))
        imbalance = bucket(Fraction(repr(bid_size)), Fraction(repr(ask_size)))
        yield min(max(ticks, 1), SPREADS) * BUCKETS - BUCKETS + imbalance
