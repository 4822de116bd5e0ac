"""The curve mid against vectors made apart from it, and what is true of every book."""

import json
from decimal import Decimal
from fractions import Fraction
from math import nextafter

import curve_vectors
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tables import each_row

from converter.pricing import Pricer
from fairprice.messages import Book, Price

Rows = list[list[str]]


def price_of(bids: Rows, asks: Rows, *, bps: str = "1", floor: str | None = None, ceiling: str | None = None) -> Price:
    book = Book("binance", "BTCUSDT", 1, 2, 3_000_000, None, 3_000_001, "a", bids, asks, floor, ceiling)
    return Pricer("curve_mid", (), (Decimal(1),), Decimal(bps)).price(book, 4)


def curve_of(bids: Rows, asks: Rows, **options: str) -> tuple[float | None, float | None]:
    values = price_of(bids, asks, **options).values
    return values["curve_mid"], values["curve_bps"]


# --- the vectors ---

VECTORS = json.loads(curve_vectors.FILE.read_text())


def test_the_file_is_what_its_generator_writes():
    assert curve_vectors.FILE.read_text() == curve_vectors.text()


@each_row("vector", VECTORS, ids=lambda vector: vector["id"])
def test_every_vector_is_met_to_the_last_bit(vector):
    options = {name: vector[name] for name in ("bps", "floor", "ceiling") if name in vector}
    price = price_of(vector["bids"], vector["asks"], **options)
    assert (price.status, price.price) == (vector["status"], vector["curve_mid"])
    assert (price.values["curve_mid"], price.values["curve_bps"]) == (vector["curve_mid"], vector["curve_bps"])


def test_one_step_by_hand():
    """Half of the bids' step counts with what e^(-v / 0.9) has behind 1 of what it has up to 3: 0.301..."""
    bids, asks = [["100.00", "1"], ["99.99", "2"]], [["100.01", "5"]]
    share = (0.32919298780790557 - 0.035673993347252395) / (1 - 0.035673993347252395)
    assert curve_of(bids, asks, bps="2") == (pytest.approx(100.005 - 0.005 * share, rel=1e-15), 10_000 * 0.02 / 200)


# --- properties ---


@st.composite
def side(draw: st.DrawFn, ticks: st.SearchStrategy[int], most: int = 30) -> Rows:
    return [
        [str(Decimal(tick).scaleb(-2)), str(Decimal(draw(st.integers(1, 5000))).scaleb(-3))]
        for tick in draw(st.lists(ticks, min_size=1, max_size=most, unique=True))
    ]


BIDS, ASKS = side(st.integers(99_900, 100_000)), side(st.integers(100_001, 100_101))
WIDTHS = st.sampled_from(["0.05", "0.5", "1", "3", "10", "10000"])
BOUNDS = st.none() | st.integers(0, 110)


@given(BIDS, ASKS, WIDTHS, BOUNDS, BOUNDS)
def test_every_book_gives_what_the_formula_gives(bids, asks, bps, below, above):
    floor = None if below is None else str(Decimal(100_000 - below).scaleb(-2))
    ceiling = None if above is None else str(Decimal(100_001 + above).scaleb(-2))
    price = price_of(bids, asks, bps=bps, floor=floor, ceiling=ceiling)
    if price.values["mid"] is None:
        assert (price.values["curve_mid"], price.values["curve_bps"]) == (None, None)
        return
    wanted = curve_vectors.curve_mid(bids, asks, bps=bps, floor=floor, ceiling=ceiling)
    got = price.values["curve_mid"], price.values["curve_bps"]
    if wanted is None:
        assert (*got, price.status) == (None, None, "beyond_reach")
    else:
        assert nextafter(got[0], 0) <= wanted[0] <= nextafter(got[0], 1e9)
        assert got[1] == float(wanted[1])


@given(BIDS, ASKS, WIDTHS)
def test_it_lies_within_d_of_both_best_prices_but_not_always_between_them(bids, asks, bps):
    """No piece's mid is above bid / (1 - D) or below ask / (1 + D); where the best prices exceed D, it is the mid."""
    values = price_of(bids, asks, bps=bps).values
    most = float(bps) / 10_000
    if values["curve_bps"] == 0:
        assert values["curve_mid"] == values["mid"]
    elif most < 1:
        highest, lowest = values["bid"] / (1 - most), values["ask"] / (1 + most)
        assert lowest * (1 - 1e-15) <= values["curve_mid"] <= highest * (1 + 1e-15)
    assert values["curve_bps"] <= float(bps)


@given(BIDS, ASKS)
def test_a_mirrored_book_has_the_mirrored_price(bids, asks):
    """Reflect every price at 1000: what was p becomes 2000 - p, bids become asks. D is relative, so none is set."""
    mirrored = [[[str(2000 - Decimal(price)), size] for price, size in rows] for rows in (asks, bids)]
    here, there = curve_of(bids, asks, bps="10000")[0], curve_of(*mirrored, bps="10000")[0]
    assert here == pytest.approx(2000 - there, rel=1e-15)


@given(BIDS, ASKS, st.integers(-3, 6), st.integers(-5, 9), WIDTHS)
def test_scales_of_prices_and_of_quantities_do_not_matter(bids, asks, price_shift, size_shift, bps):
    shifted = [
        [[f"{Decimal(price).scaleb(price_shift):f}", f"{Decimal(size).scaleb(size_shift):f}"] for price, size in rows]
        for rows in (bids, asks)
    ]
    (price, width), (shifted_price, shifted_width) = curve_of(bids, asks, bps=bps), curve_of(*shifted, bps=bps)
    assert shifted_price == pytest.approx(price * 10.0**price_shift, rel=1e-15)
    assert shifted_width == width


@given(BIDS, ASKS, st.integers(0, 9), WIDTHS)
def test_a_finer_tick_does_not_matter(bids, asks, more, bps):
    finer = [[[price + "0" * more, size + "0" * more] for price, size in rows] for rows in (bids, asks)]
    assert curve_of(*finer, bps=bps) == curve_of(bids, asks, bps=bps)


@given(BIDS, ASKS, st.integers(1, 10))
def test_a_level_in_two_halves_a_tiny_step_apart_is_one_level(bids, asks, step):
    """What counts is where the quantity lies, not how many levels it makes."""
    best = max(range(len(bids)), key=lambda index: Decimal(bids[index][0]))
    assume(len(bids) < 20)
    price, size = bids[best]
    half = str(Decimal(size) / 2)
    halves = [[price, half], [str(Decimal(price) - Decimal(step).scaleb(-20)), half]]
    split = [*bids[:best], *bids[best + 1 :], *halves]
    whole = curve_of(bids, asks, bps="10000")
    assert curve_of(split, asks, bps="10000") == pytest.approx(whole, rel=1e-15, abs=1e-12)


@given(side(st.integers(99_900, 100_000), 60), side(st.integers(100_001, 100_101), 60), WIDTHS, st.integers(20, 60))
def test_levels_beyond_the_twentieth_do_not_matter(bids, asks, bps, levels):
    bids.sort(key=lambda row: -Decimal(row[0]))
    asks.sort(key=lambda row: Decimal(row[0]))
    cut = curve_of(
        bids[:levels],
        asks[:levels],
        bps=bps,
        floor=bids[levels - 1][0] if len(bids) > levels else None,
        ceiling=asks[levels - 1][0] if len(asks) > levels else None,
    )
    assert cut == curve_of(bids, asks, bps=bps)


@given(BIDS, ASKS, WIDTHS, BOUNDS, BOUNDS)
def test_what_is_told_of_a_book_that_is_known_in_part_is_true_of_the_whole(bids, asks, bps, below, above):
    """No level lies exactly at these bounds: there a book would be taken to have been cut."""
    floor = None if below is None else f"{Decimal(100_000 - below).scaleb(-2)}" + "5"
    ceiling = None if above is None else f"{Decimal(100_001 + above).scaleb(-2)}" + "5"
    told = curve_of(bids, asks, bps=bps, floor=floor, ceiling=ceiling)
    assert told in {(None, None), curve_of(bids, asks, bps=bps)}


def test_thin_bids_pull_the_price_below_the_best_bid():
    price, _ = curve_of([["100.000", "0.001"], ["99.993", "9"]], [["100.001", "9"]])
    assert price < 100.0


def test_the_width_of_the_curve_is_a_fraction_that_is_compared_exactly():
    """1 bps of the mid 10,000 is 1: ask - mid is exactly that."""
    bids, asks = [["9999", "1"], ["9998", "1"]], [["10001", "2"]]
    assert curve_of(bids, asks, bps="1") == (10_000.0, 1.0)
    assert curve_of(bids, asks, bps="0.9999999999") == (10_000.0, 0.0)
    assert curve_of(bids, asks, bps="2")[0] < float(Fraction(10_000))
