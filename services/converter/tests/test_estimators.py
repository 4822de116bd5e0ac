"""The table of estimators: each row has a function and a vector, and looks at no more than it says."""

import re
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

import estimator_vectors
import pytest
from estimator_vectors import VECTORS, Vector
from hypothesis import given
from hypothesis import strategies as st

from converter import estimators, pricing
from converter.estimators import ESTIMATORS
from converter.pricing import Pricer
from fairprice import estimates
from fairprice.estimates import DEFAULT, ESTIMATES
from fairprice.messages import PRICE_VALUES, Book, Model, Price

ROOT = Path(__file__).parents[3]


def price_of(
    estimator: str, bids: list[list[str]], asks: list[list[str]], floor: str | None = None, model: Model | None = None
) -> Price:
    book = Book("binance", "BTCUSDT", 1, 2, 3, None, 4, "a", bids, asks, floor, None, model)
    return Pricer(estimator, (), [Decimal(100)]).price(book, 5)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.estimator)
def test_an_estimator_gives_what_its_vector_says(vector: Vector):
    price = price_of(vector.estimator, vector.bids, vector.asks, model=vector.model)
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


@pytest.mark.parametrize("name", [name for name, estimate in ESTIMATES.items() if estimate.needs == "model"])
def test_an_estimator_that_needs_a_model_says_so_where_there_is_none(name):
    price = price_of(name, [["100", "1"]], [["101", "1"]])
    assert (price.status, price.price) == ("learning", None)


def test_the_readme_lists_the_rows():
    rows = [f"| `{name}` | {each.needs} | {each.meaning} |" for name, each in ESTIMATES.items()]
    assert "\n".join(["| name | needs | meaning |", "|---|---|---|", *rows, "\n"]) in (ROOT / "README.md").read_text()


def test_the_estimator_of_the_walk_through_works_as_it_is_written(monkeypatch):
    """`docs/adding-an-estimator.md`: its function, its row and its vector, put where it says."""
    text = (ROOT / "docs" / "adding-an-estimator.md").read_text()
    function, row, vector = (dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    written = dict(vars(estimators))
    exec(function, written)
    (name, estimate), *_ = eval("{" + row + "}", vars(estimates)).items()
    (found,) = eval("[" + vector + "]", vars(estimator_vectors))
    assert found.estimator == name
    monkeypatch.setitem(ESTIMATES, name, estimate)
    monkeypatch.setattr(pricing, "PRICE_VALUES", (*PRICE_VALUES, name))
    monkeypatch.setitem(ESTIMATORS, name, written[name])
    price = price_of(name, found.bids, found.asks)
    assert (price.status, price.price) == ("ok", float(found.value))
    assert price_of(name, found.bids[:1], found.asks).status == "insufficient_depth"
