"""The estimators: a function for each row of `fairprice.estimates`, which bears the row's name. Pure.

    mid           (Pb + Pa) / 2
    weighted mid  (Pb Qa + Pa Qb) / (Qb + Qa)
    impact mid    the middle of the two impact prices
    curve mid     see `converter.curve`
    forecast mid  see `converter.forecast`

Each returns the double nearest to the exact value, or, where the book does not determine it, the status that says why.
It is asked only about books with two sides that are not crossed.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from converter.curve import Curve
from converter.fair_price import Ratio
from converter.levels import Scaled, Side
from fairprice.estimates import ESTIMATES


class Known(NamedTuple):
    """What an estimator may look at; all numbers are integers, `unit` times their value.

    `fills` are the impact prices of the first notional, selling and buying; None where the known levels do not fill it.
    `curve` is None where it goes on beyond them. `expected` is the expected mid itself, None without a model.
    """

    bid: Scaled
    ask: Scaled
    bids: Side
    asks: Side
    fills: tuple[Ratio | None, Ratio | None]
    curve: Curve | None
    unit: int
    expected: Ratio | None


Estimator = Callable[[Known], float | str]


def mid(known: Known) -> float:
    """Return the middle between the best prices: Stoikov, Quantitative Finance 18(12), 2018, equation 1."""
    return (known.bid[0] + known.ask[0]) / (2 * known.unit)


def weighted_mid(known: Known) -> float:
    """Return the mid weighted by the other side's size; it lies between bid and ask and leans to the smaller queue.

    Stoikov, Quantitative Finance 18(12), 2018, equations 2 and 3.
    """
    (bid, bid_size), (ask, ask_size) = known.bid, known.ask
    return (bid * ask_size + ask * bid_size) / ((bid_size + ask_size) * known.unit)


def impact_mid(known: Known) -> float | str:
    """Return the middle of the two impact prices of the first notional, as exchanges make mark prices of them."""
    bid, ask = known.fills
    if bid and ask:
        return (bid[0] * ask[1] + ask[0] * bid[1]) / (2 * bid[1] * ask[1] * known.unit)
    unfilled = [side for fill, side in ((bid, known.bids), (ask, known.asks)) if not fill]
    return "insufficient_depth" if any(side.reach is None for side in unfilled) else "feed_truncated"


def curve_mid(known: Known) -> float | str:
    """Return the curve mid: CF Benchmarks' methodology guide of the CME CF real-time indices, for one book."""
    return known.curve.mid if known.curve else "beyond_reach"


def forecast_mid(known: Known) -> float | str:
    """Return where the mid is expected a second later, or as far ahead as the setting says.

    Gould & Bonart, arXiv 1512.03492: the imbalance of the best sizes predicts the next move; how far is estimated from
    the moves of the last two minutes, by least squares.
    """
    return known.expected[0] / known.expected[1] if known.expected else "learning"


ESTIMATORS: Mapping[str, Estimator] = {name: globals()[name] for name in ESTIMATES}
