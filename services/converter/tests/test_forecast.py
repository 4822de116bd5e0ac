"""Where the mid is expected, and its bands: against fractions, and where there are none."""

from decimal import Decimal
from fractions import Fraction

import pytest
from curve_vectors import rows
from hypothesis import given
from hypothesis import strategies as st

from converter.pricing import Pricer
from fairprice.messages import Book, Model

BANDS = {"1s": ("band_1s_low", "band_1s_high"), "10s": ("band_10s_low", "band_10s_high")}
NAMES = ("forecast_mid", *BANDS["1s"], *BANDS["10s"])
MODEL = Model(1_723_161_380_000_000, 1.5, 2.25, -4.125, 7.3125, 28.25, 1192, 1187, 1147, 1097)


def price_of(bids, asks, model=MODEL, *, estimator="forecast_mid", seconds=1.0, floor=None):
    book = Book("binance", "BTCUSDT", 1, 2, 3, None, 4, "a", bids, asks, floor, None, model)
    return Pricer(estimator, (), [Decimal(100)], Decimal(1), seconds).price(book, 5)


def values_of(*args, **choices):
    values = price_of(*args, **choices).values
    return [values[name] for name in NAMES]


def expected(bid, ask, beta):
    """Return the expected mid of a top, `[price, size]` each, exactly."""
    (bid_price, bid_size), (ask_price, ask_size) = map(Fraction, bid), map(Fraction, ask)
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    return (bid_price + ask_price) / 2 + Fraction(beta) * imbalance


def test_a_forecast_and_its_bands_are_what_is_worked_out_by_hand():
    assert values_of(rows("3@100"), rows("1@101")) == [101.625, 94.3125, 108.9375, 70.1875, 126.6875]


@pytest.mark.parametrize(("seconds", "beta"), [(0.5, 1.5), (1.0, 2.25), (5.0, -4.125)])
def test_the_setting_chooses_how_far_ahead_and_leaves_the_bands_alone(seconds, beta):
    forecast, *bands = values_of(rows("3@100"), rows("1@101"), seconds=seconds)
    assert forecast == 100.5 + beta / 2
    assert bands == values_of(rows("3@100"), rows("1@101"))[1:]


ticks = st.integers(1, 10**12).map(lambda number: f"{number // 100}.{number % 100:02}")
quantities = st.integers(1, 10**13).map(lambda number: f"{number // 10**8}.{number % 10**8:08}")
betas = st.floats(-1e6, 1e6)
widths = st.floats(0, 1e6)


@given(ticks, st.integers(0, 10**6), quantities, quantities, st.tuples(betas, betas, betas, widths, widths))
def test_every_value_is_the_double_nearest_to_the_exact_one(price, spread, bid_size, ask_size, learnt):
    bid, ask = [price, bid_size], [f"{Decimal(price) + Decimal(spread) / 100}", ask_size]
    model = Model(0, *learnt, 9, 9, 9, 9)
    half, near, far = (expected(bid, ask, beta) for beta in learnt[:3])
    width, wide = map(Fraction, learnt[3:])
    exact = [near, near - width, near + width, far - wide, far + wide]
    assert values_of([bid], [ask], model) == list(map(float, exact))
    assert values_of([bid], [ask], model, seconds=0.5)[0] == float(half)


@given(ticks, quantities, quantities, betas)
def test_sides_that_change_their_sizes_turn_the_forecast_around(price, one, other, beta):
    model = Model(0, beta, beta, beta, None, None, 9, 9, 9, 9)
    ask = str(Decimal(price) + 1)
    there = price_of([[price, one]], [[ask, other]], model).price
    back = price_of([[price, other]], [[ask, one]], model).price
    assert there + back == pytest.approx(float(Fraction(price) + Fraction(ask)), rel=1e-12, abs=1e-9)


def test_it_looks_at_the_top_and_the_model_only():
    near = values_of(rows("3@100", "9@99"), rows("1@101", "7@102"))
    assert near == values_of(rows("3@100"), rows("1@101"), floor="100")


def test_a_model_that_has_seen_too_little_gives_a_forecast_and_no_band():
    young = Model(0, 1.5, 2.25, -4.125, None, None, 9, 8, 7, 6)
    assert values_of(rows("3@100"), rows("1@101"), young) == [101.625, None, None, None, None]


@pytest.mark.parametrize(
    ("bids", "asks", "status"),
    [
        pytest.param(rows("3@100"), rows("1@101"), "learning", id="without a model"),
        pytest.param(rows("3@101"), rows("1@100"), "crossed", id="crossed"),
        pytest.param([], rows("1@100"), "no_bids", id="one side"),
        pytest.param([], [], "empty", id="no side"),
    ],
)
def test_where_there_is_no_forecast_the_status_says_why(bids, asks, status):
    model = None if status == "learning" else MODEL
    price = price_of(bids, asks, model)
    assert (price.status, price.price) == (status, None)
    assert [price.values[name] for name in NAMES] == [None] * 5


def test_of_a_locked_book_there_is_a_forecast():
    price = price_of(rows("3@100"), rows("1@100"))
    assert (price.status, price.price) == ("locked", 101.125)


def test_another_price_than_the_forecast_does_not_wait_for_a_model():
    price = price_of(rows("3@100"), rows("1@101"), None, estimator="mid")
    assert (price.status, price.price, price.values["forecast_mid"]) == ("ok", 100.5, None)


def test_the_largest_numbers_of_the_wire_do_no_harm():
    largest = Model(0, 1e100, -1e100, 1e100, 1e100, 1e100, 9, 9, 9, 9)
    digits = "9" * 40
    values = values_of([[digits, digits]], [[digits + ".5", "0." + "0" * 39 + "1"]], largest)
    assert values == pytest.approx([-1e100, -2e100, 0.0, 0.0, 2e100], abs=1e80)
