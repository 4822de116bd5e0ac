"""A book and a value for each estimator, worked out by hand or with fractions: `docs/adding-an-estimator.md`."""

from fractions import Fraction
from typing import NamedTuple

from curve_vectors import Rows, curve_mid, rows

from fairprice.messages import Model


class Vector(NamedTuple):
    """`value` is the estimate of a book whose sides are whole; the notional of impact prices is 100.

    `model` is that of the book, for estimators that need one.
    """

    estimator: str
    bids: Rows
    asks: Rows
    value: Fraction
    model: Model | None = None


def model(beta_1s: float) -> Model:
    """Return a model of which only this is looked at."""
    return Model(0, 0.0, beta_1s, 0.0, None, None, 0, 0, 0, 0)


CURVED = rows("1@100.000", "2@99.998"), rows("3@100.002", "1@100.003")

VECTORS = [
    Vector("mid", rows("1@100"), rows("3@101"), Fraction("100.5")),
    Vector("weighted_mid", rows("3@100"), rows("1@101"), Fraction("100.75")),
    Vector("impact_mid", rows("1@50", "9@40"), rows("0.5@80", "9@120"), (100 / Fraction("2.25") + Fraction(100)) / 2),
    Vector("curve_mid", *CURVED, (curve_mid(*CURVED) or (Fraction(0),))[0]),
    Vector("forecast_mid", rows("3@100"), rows("1@101"), Fraction("101.75"), model(beta_1s=2.5)),
]  # fmt: skip
