"""The table of estimators: each row has a function and a vector, and looks at no more than it says."""

from decimal import Decimal
from pathlib import Path

import pytest
from estimator_vectors import VECTORS, Vector
from hypothesis import given
from hypothesis import strategies as st

from converter.estimators import ESTIMATORS
from converter.pricing import Pricer
from fairprice.estimates import DEFAULT, ESTIMATES
from fairprice.messages import Book, Price

ROOT = Path(__file__).parents[3]


def price_of(estimator: str, bids: list[list[str]], asks: list[list[str]], floor: str | None = None) -> Price:
    book = Book("binance", "BTCUSDT", 1, 2, 3, None, 4, "a", bids, asks, floor, None)
    return Pricer(estimator, (), [Decimal(100)]).price(book, 5)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.estimator)
def test_an_estimator_gives_what_its_vector_says(vector: Vector):
    price = price_of(vector.estimator, vector.bids, vector.asks)
    assert (price.status, price.price) == ("ok", float(vector.value))


def test_each_row_has_a_function_with_a_docstring_and_a_vector():
    assert set(ESTIMATES) == set(ESTIMATORS) == {vector.estimator for vector in VECTORS}
    assert DEFAULT in ESTIMATES
    assert all(function.__doc__ for function in ESTIMATORS.values())


@given(st.lists(st.integers(1, 99), min_size=1, max_size=5), st.integers(1, 9))
def test_an_estimator_that_needs_the_top_only_is_deaf_to_what_lies_behind_it(sizes, tops):
    bids = [["100", str(tops)], *([str(99 - step), str(size)] for step, size in enumerate(sizes))]
    asks = [["101", "2"], *([str(102 + step), str(size)] for step, size in enumerate(reversed(sizes)))]
    for name in (name for name, estimate in ESTIMATES.items() if estimate.needs == "top"):
        assert price_of(name, bids, asks, floor="100").price == price_of(name, bids[:1], asks[:1]).price is not None


def test_the_readme_lists_the_rows():
    rows = [f"| `{name}` | {each.needs} | {each.meaning} |" for name, each in ESTIMATES.items()]
    assert "\n".join(["| name | needs | meaning |", "|---|---|---|", *rows, "\n"]) in (ROOT / "README.md").read_text()
