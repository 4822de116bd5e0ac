"""The table of estimators. Pure.

A row's name is a value of `FAIRPRICE_ESTIMATOR`, a field of price events, a column of what is stored, a row on the page
and a line on the dashboards: all of them take it from here. The function that works it out bears the same name and
lives in `converter.estimators`; `docs/adding-an-estimator.md` is the way to one more.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Estimate(NamedTuple):
    """A row: `needs` is what of a book the estimator looks at, `meaning` what it is, for people."""

    needs: Literal["top", "levels", "model"]
    meaning: str


ESTIMATES: Mapping[str, Estimate] = {
    "mid": Estimate("top", "middle of best bid and best ask"),
    "weighted_mid": Estimate("top", "the mid weighted by the opposite sizes; many call it microprice"),
    "impact_mid": Estimate(
        "levels", "middle of the average prices at which the first impact notional could be sold and bought"
    ),
    "curve_mid": Estimate("levels", "middle of what it costs to buy and to sell, averaged over the near quantities"),
    "forecast_mid": Estimate(
        "model", "where the mid is expected in a second, by what the imbalance meant in the last two minutes"
    ),
}

DEFAULT = "curve_mid"
"""The estimator that is the price unless somebody chooses another one."""
