"""Where a model expects the mid, and between which bounds. Pure.

    expected mid   M + beta I           M the mid, I = (Qb - Qa) / (Qb + Qa) the imbalance of the best sizes
    band           expected mid -+ w    w the half width: nine of ten moves are expected to be no larger

beta and w are those of the book's own model, so a price stays a function of its book. beta is a matter of how much the
market moves and not of the spread, so the expected mid lies outside of bid and ask nearly always. Nobody can trade on
it: a taker pays many times as much in fees.
"""

from converter.fair_price import Ratio
from converter.levels import Scaled

FORECASTS = (0.5, 1.0, 5.0)
"""The seconds ahead of which a model has a beta."""


def expected_mid(bid: Scaled, ask: Scaled, beta: float, unit: int) -> Ratio:
    """Return the expected mid as an exact ratio; `beta` is in quote units."""
    numerator, denominator = beta.as_integer_ratio()
    sizes = bid[1] + ask[1]
    lean = 2 * unit * numerator * (bid[1] - ask[1])
    return (bid[0] + ask[0]) * denominator * sizes + lean, 2 * unit * denominator * sizes


def band(centre: Ratio, half_width: float) -> tuple[float, float]:
    """Return the two ends of a band, each the double nearest to the exact one; `half_width` is in quote units."""
    numerator, denominator = half_width.as_integer_ratio()
    middle, below = centre[0] * denominator, centre[1] * denominator
    width = numerator * centre[1]
    return (middle - width) / below, (middle + width) / below
