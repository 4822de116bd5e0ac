"""The curve mid: where the price curves of both sides meet on average, the near quantities counting most. Pure.

The formula of the CME CF real-time indices, for one book, without their cap of sizes and without a spacing (steps 3 to
5 in the methodology guide of CF Benchmarks). For a quantity v let bid(v) and ask(v) be the price of the level that
holds v, mid(v) = (bid(v) + ask(v)) / 2 and spread(v) = ask(v) / mid(v) - 1. All are constant between the cumulated
quantities of both sides, its pieces. The curves are followed to v*, the end of the last piece whose spread is at most
D; where no piece of the first twenty levels exceeds D, to where the shorter side of these ends. The price is

    integral of mid(v) w(v) / integral of w(v), v from 0 to v*, w(v) = e^(-v / (0.3 v*))

Summed by parts this is the mid plus half of each step from a level to the next one, weighted by the share of w that
lies behind the step; so the sides need no merging. Where already the best prices exceed D, it is the mid.

The price lies between ask / (1 + D) and bid / (1 - D), so it may well lie outside of bid and ask.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import exp, ldexp
from typing import NamedTuple

from converter.fair_price import BASIS_POINTS, Ratio
from converter.levels import Side

LEVELS = 20
"""Levels a side that are followed, however many more a book carries."""

STEEPNESS = -10 / 3
"""What w falls to between 0 and v*, as an exponent."""

REST = exp(STEEPNESS)

FRACTION = 64
"""Bits behind the smallest unit of a price that are kept of a sum of weights, so that only the result is rounded."""


class Curve(NamedTuple):
    """The curve mid, and the spread, in basis points, of the last piece that went into it; 0 where none did."""

    mid: float
    bps: float


def curve(bids: Side, asks: Side, most: Ratio, unit: int) -> Curve | None:
    """Return the curve mid of a book that is not crossed; `most` is D as a ratio.

    None where the curves go on, within D, to where prices are not known any more.
    """
    bid_ends, ask_ends = bids.ends[1 : LEVELS + 1], asks.ends[1 : LEVELS + 1]
    end = min(bid_ends[-1], ask_ends[-1])
    bid, ask = bisect_left(bid_ends, end), bisect_left(ask_ends, end)
    if _exceeds(bids.prices[bid], asks.prices[ask], most):
        end = _end(bids, asks, bid_ends, ask_ends, most)
        bid, ask = bisect_left(bid_ends, end), bisect_left(ask_ends, end)
    elif not (_ends(bids, bid_ends, end) or _ends(asks, ask_ends, end)):
        return None
    twice_mid = bids.prices[0] + asks.prices[0]
    if end == 0:
        return Curve(twice_mid / (2 * unit), 0.0)
    steps = _steps(bids.prices, bid_ends[:bid], end) + _steps(asks.prices, ask_ends[:ask], end)
    far_bid, far_ask = bids.prices[bid], asks.prices[ask]
    lean = (steps - (far_bid + far_ask - twice_mid) * REST) / (1 - REST)
    price = ((twice_mid << FRACTION) + int(ldexp(lean, FRACTION))) / (2 * unit << FRACTION)
    return Curve(price, BASIS_POINTS * (far_ask - far_bid) / (far_ask + far_bid))


def _exceeds(bid: int, ask: int, most: Ratio) -> bool:
    return (ask - bid) * most[1] > most[0] * (ask + bid)


def _end(bids: Side, asks: Side, bid_ends: list[int], ask_ends: list[int], most: Ratio) -> int:
    """Return the quantity at which the first piece that exceeds D begins; there has to be one."""
    bid = ask = end = 0
    while not _exceeds(bids.prices[bid], asks.prices[ask], most):
        end = min(bid_ends[bid], ask_ends[ask])
        bid += bid_ends[bid] == end
        ask += ask_ends[ask] == end
    return end


def _ends(side: Side, ends: list[int], end: int) -> bool:
    """Return whether the first twenty levels of a side end here, and not only what is known of them."""
    return ends[-1] == end and (len(ends) == LEVELS or side.is_complete)


def _steps(prices: Sequence[int], ends: list[int], end: int) -> float:
    """Return the sum of the steps behind these levels, each times e^(-v / (0.3 end)) at the v where it is taken."""
    rate = STEEPNESS / end
    return sum([(after - before) * exp(rate * at) for before, after, at in zip(prices, prices[1:], ends, strict=False)])
