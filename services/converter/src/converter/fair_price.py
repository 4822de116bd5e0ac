"""The formulas: exact rational arithmetic on scaled integers, one rounding at the very end.

Prices and quantities come as integers, `unit` times their value. Python's division of two integers returns the double
nearest to the exact quotient, so every result is the best double there is. What estimators add is in `estimators`.
The formulas and their names:

    imbalance     (Qb - Qa) / (Qb + Qa)             from -1 (only asks) to 1 (only bids)
    impact price  N / (sum q + (N - sum p q) / p)   sums over the levels that an order worth N takes whole, p the
                                                    price of the level that it takes in part; exchanges define their
                                                    "impact margin notional" so
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from converter.levels import BID, Scaled, Side

BASIS_POINTS = 10_000

Ratio = tuple[int, int]
"""Numerator and positive denominator; what it is a ratio of is said where it is used."""


def spread(bid: Scaled, ask: Scaled, unit: int) -> float:
    """Return ask minus bid in quote units; negative when the book is crossed."""
    return (ask[0] - bid[0]) / unit


def spread_bps(bid: Scaled, ask: Scaled) -> float:
    """Return the spread in basis points of the mid."""
    return 2 * BASIS_POINTS * (ask[0] - bid[0]) / (ask[0] + bid[0])


def imbalance(bid: Scaled, ask: Scaled) -> float:
    """Return the imbalance of the two best sizes, from -1 (only asks) to 1 (only bids)."""
    return (bid[1] - ask[1]) / (bid[1] + ask[1])


def impact(levels: Iterable[Scaled], notional: int) -> Ratio | None:
    """Return the average price, times `unit`, of a market order worth exactly `notional`; None if they cannot fill it.

    `notional` is in quote units times the square of `unit`, as products of price and quantity are.
    """
    left, base = notional, 0
    for price, quantity in levels:
        value = price * quantity
        if value >= left:
            return notional * price, base * price + left
        left -= value
        base += quantity
    return None


def average(fill: Ratio, unit: int) -> float:
    """Return the impact price itself."""
    return fill[0] / (fill[1] * unit)


def band_edge(twice_mid: int, bps: Ratio, towards: int) -> int:
    """Return the last price, times `unit`, at most `bps` basis points below (`towards` 1) or above (-1) the mid."""
    numerator, denominator = bps
    ten_thousand = BASIS_POINTS * denominator
    return towards * -(twice_mid * (numerator - towards * ten_thousand) // (2 * ten_thousand))


def depth(side: Side, edge: int) -> int:
    """Return the base quantity, times `unit`, of a side's levels up to and including the edge."""
    if side.towards == BID:
        return side.ends[-1 - bisect_left(side.prices[::-1], edge)]
    return side.ends[bisect_right(side.prices, edge)]
