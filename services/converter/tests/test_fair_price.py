"""Every formula against the published vectors, hand-computed cases, and exact fractions as an independent oracle."""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tables import each_row

from converter.pricing import Pricer
from fairprice.errors import InvalidMarketData
from fairprice.estimates import ESTIMATES
from fairprice.messages import CONFIGURED_VALUE, Book, Price

VECTORS = Path(__file__).parent / "fair_price_vectors.json"

Rows = list[list[str]]


def price_of(
    bids: Rows,
    asks: Rows,
    *,
    estimator: str = "weighted_mid",
    bps: tuple[str, ...] = (),
    notionals: tuple[str, ...] = ("1",),
    floor: str | None = None,
    ceiling: str | None = None,
) -> Price:
    book = Book("binance", "BTCUSDT", 1, 2, 3_000_000, None, 3_000_001, "a", bids, asks, floor, ceiling)
    return Pricer(estimator, map(Decimal, bps), map(Decimal, notionals)).price(book, 4)


def rows(*levels: str) -> Rows:
    return [level.split("@")[::-1] for level in levels]


def name(number: str) -> str:
    return number.replace(".", "_")


# --- the vectors ---


def vectors() -> list[Any]:
    return list(json.loads(VECTORS.read_text())["books"])


def double(exact: dict[str, Any] | None) -> float | None:
    return None if exact is None else exact["f64"]


@each_row("vector", vectors(), ids=itemgetter("id"))
def test_every_published_book_is_priced_to_the_last_bit(vector):
    expected = vector["expected"]
    impacts, bands = expected.get("impact_quote", []), expected.get("depth_within_bps", [])
    got = price_of(
        vector["bids"],
        vector["asks"],
        bps=tuple(band["bps"] for band in bands),
        notionals=tuple(each["notional"] for each in impacts) or ("1",),
    )
    wanted = {
        "mid": double(expected["mid"]),
        "weighted_mid": double(expected["weighted_mid"]),
        "spread": double(expected["raw_spread"]),
        "spread_bps": double(expected["spread_bps"]),
        "imbalance": double(expected["imbalance_rho"]),
    }
    for side in ("bid", "ask"):
        best = expected[f"best_{side}"]
        wanted[side], wanted[f"{side}_size"] = map(double, best) if best else (None, None)
        wanted.update({f"impact_{side}_{name(each['notional'])}": double(each[f"impact_{side}"]) for each in impacts})
        wanted.update({f"depth_{side}_{name(band['bps'])}bps": double(band[f"{side}_base"]) for band in bands})
    if impacts:
        wanted["impact_mid"] = double(impacts[0]["impact_mid"])
    assert got.status == expected["status"]
    assert got.price == wanted["weighted_mid"]
    assert {key: got.values[key] for key in wanted} == wanted


@each_row("vector", vectors(), ids=itemgetter("id"))
def test_the_impact_mid_of_every_published_notional_is_exact(vector):
    for each in vector["expected"].get("impact_quote", []):
        got = price_of(vector["bids"], vector["asks"], estimator="impact_mid", notionals=(each["notional"],))
        assert got.values["impact_mid"] == double(each["impact_mid"])
        assert got.price == got.values["impact_mid"]


# --- computed by hand ---

THICK = rows("1@100", "10@99"), rows("1@101", "10@102")


@each_row(
    ("bids", "asks", "wanted"),
    [
        (rows("1@100"), rows("1@101"), {"mid": 100.5, "weighted_mid": 100.5, "imbalance": 0.0, "spread": 1.0}),
        (rows("3@100"), rows("1@101"), {"weighted_mid": 100.75, "imbalance": 0.5, "bid_size": 3.0, "ask_size": 1.0}),
        (rows("9@10.00"), rows("27@10.02"), {"weighted_mid": 10.005, "imbalance": -0.5, "spread": 0.02}),
        (rows("9@10.00"), rows("1@10.01", "27@10.02"), {"weighted_mid": 10.009, "ask": 10.01}),
        (rows("1@60000.01"), rows("1@60000.02"), {"mid": 60000.015, "spread": 0.01}),
        (rows("0@100.02", "3@100"), rows("1@100.03"), {"bid": 100.0, "mid": 100.015}),
        (rows("1@9995"), rows("1@10005"), {"spread_bps": 10.0}),
    ],
)
def test_the_top_of_the_book_by_hand(bids, asks, wanted):
    values = price_of(bids, asks).values
    assert {key: values[key] for key in wanted} == wanted


def test_an_order_that_ends_with_a_level_pays_that_levels_average_and_one_unit_more_goes_deeper():
    bids, asks = rows("10@100", "10@99"), rows("8@125", "10@126")
    values = price_of(bids, asks, notionals=("1000", "1001")).values
    assert (values["impact_bid_1000"], values["impact_ask_1000"], values["impact_mid"]) == (100.0, 125.0, 112.5)
    assert values["impact_bid_1001"] == float(Fraction(1001) / (10 + Fraction(1, 99)))
    assert values["impact_ask_1001"] == float(Fraction(1001) / (8 + Fraction(1, 126)))


def test_a_level_exactly_on_the_edge_of_a_band_is_inside():
    values = price_of(rows("1@49999", "2@49950"), rows("1@50001", "2@50050"), bps=("10", "9.99")).values
    assert (values["depth_bid_10bps"], values["depth_ask_10bps"]) == (3.0, 3.0)
    assert (values["depth_bid_9_99bps"], values["depth_ask_9_99bps"]) == (1.0, 1.0)


def test_an_edge_between_two_steps_of_the_scale_is_not_rounded_outwards():
    """The mid is 1.000000005, so the edges of 10 bps are 0.999000004995 and 1.001000005005."""
    bids, asks = (
        rows("1@1.00000000", "2@0.99900001", "4@0.99900000"),
        rows("1@1.00000001", "2@1.00100000", "4@1.00100001"),
    )
    values = price_of(bids, asks, bps=("10",)).values
    assert (values["depth_bid_10bps"], values["depth_ask_10bps"]) == (3.0, 3.0)


def test_an_edge_is_exact_where_no_double_is():
    """The edges of 10 bps are 99.9 and 100.1: a level 1e-38 beyond them is outside."""
    tiny = "0" * 36 + "1"
    bids = rows("1@99.99", "2@99.9", f"4@99.8{'9' * 37}")
    asks = rows("1@100.01", "2@100.1", f"4@100.1{tiny}")
    values = price_of(bids, asks, bps=("10",)).values
    assert (values["depth_bid_10bps"], values["depth_ask_10bps"]) == (3.0, 3.0)


def test_a_band_wider_than_the_price_itself_holds_the_whole_side():
    assert price_of(*THICK, bps=("20000",)).values["depth_bid_20000bps"] == 11.0


def test_numbers_with_any_count_of_decimals_are_exact():
    values = price_of([["1." + "0" * 39 + "1", "0." + "0" * 39 + "3"]], rows("1@2"), notionals=("1",)).values
    assert values["bid_size"] == 3e-40
    assert values["mid"] == 1.5
    assert values["impact_bid_1"] is None


# --- statuses ---


@each_row(
    ("bids", "asks", "options", "status"),
    [
        ([], [], {}, "empty"),
        (rows("0@100"), [], {}, "empty"),
        ([], rows("1@101"), {}, "no_bids"),
        (rows("1@100"), rows("0@101"), {}, "no_asks"),
        (rows("1@99"), rows("1@101"), {"floor": "100"}, "beyond_reach"),
        (rows("1@99"), rows("1@101"), {"ceiling": "100.99"}, "beyond_reach"),
        (rows("1@99"), rows("1@101"), {"floor": "99", "ceiling": "101"}, "ok"),
        (rows("1@102"), rows("1@101"), {"floor": "103"}, "beyond_reach"),
        (rows("1@99"), [], {"floor": "100"}, "no_asks"),
        ([], rows("1@101"), {"floor": "100"}, "beyond_reach"),
        ([], [], {"floor": "100"}, "no_asks"),
        ([], [], {"floor": "100", "ceiling": "101"}, "beyond_reach"),
        (rows("1@101"), rows("1@100"), {}, "crossed"),
        (rows("1@100"), rows("1@100"), {}, "locked"),
        (rows("1@100"), rows("1@101"), {"notionals": ("102",)}, "ok"),
        (rows("9@100"), rows("1@101"), {"notionals": ("102",), "estimator": "impact_mid"}, "insufficient_depth"),
        (rows("9@100"), rows("1@100"), {"notionals": ("102",), "estimator": "impact_mid"}, "insufficient_depth"),
        (
            rows("9@100"),
            rows("1@101"),
            {"notionals": ("102",), "estimator": "impact_mid", "ceiling": "101"},
            "feed_truncated",
        ),
        (
            rows("1@100", "1@99"),
            rows("1@101"),
            {"notionals": ("300",), "estimator": "impact_mid", "floor": "99"},
            "insufficient_depth",
        ),
        (
            rows("9@100"),
            rows("1@101"),
            {"notionals": ("102",), "estimator": "impact_mid", "ceiling": "110"},
            "feed_truncated",
        ),
        (rows("1@100", "9@90"), rows("9@101"), {"notionals": ("102",), "estimator": "impact_mid"}, "ok"),
        (
            rows("1@100", "9@90"),
            rows("9@101"),
            {"notionals": ("102",), "estimator": "impact_mid", "floor": "95"},
            "feed_truncated",
        ),
    ],
)
def test_a_status_says_why_there_is_no_price(bids, asks, options, status):
    price = price_of(bids, asks, **options)
    assert price.status == status
    assert (price.price is None) == (status not in {"ok", "locked"})


def test_a_crossed_book_keeps_both_bests_and_the_negative_spread_and_nothing_else():
    values = price_of(rows("2@101"), rows("3@100"), bps=("10",)).values
    kept = {key: value for key, value in values.items() if value is not None}
    assert kept == {"bid": 101.0, "bid_size": 2.0, "ask": 100.0, "ask_size": 3.0, "spread": -1.0}


def test_a_one_sided_book_keeps_the_side_that_lives():
    values = price_of(rows("2@101"), [], notionals=("50",)).values
    assert {key: value for key, value in values.items() if value is not None} == {"bid": 101.0, "bid_size": 2.0}


def test_a_best_that_is_not_proven_is_not_told():
    values = price_of(rows("2@99"), rows("3@101"), floor="100").values
    assert {key: value for key, value in values.items() if value is not None} == {"ask": 101.0, "ask_size": 3.0}


def test_how_many_levels_a_book_carries_tells_nothing_about_how_far_it_is_known():
    """Twenty levels that were cut are twenty levels that were cut, whatever anybody is set to."""
    bids, asks = rows(*(f"1@{9999 - n}" for n in range(20))), rows("1@10001")
    cut = price_of(bids, asks, bps=("5", "20"), notionals=("300000",), floor="9980").values
    assert (cut["depth_bid_5bps"], cut["depth_bid_20bps"], cut["impact_bid_300000"]) == (5.0, 20.0, None)
    higher = price_of(bids, asks, bps=("5", "20.1"), floor="9980").values
    assert (higher["depth_bid_5bps"], higher["depth_bid_20_1bps"]) == (5.0, None)
    assert price_of(bids, asks, bps=("20.1",)).values["depth_bid_20_1bps"] == 20.0


def test_a_top_that_is_all_that_is_known_gives_what_needs_the_top_only():
    """The ticker confirmed the best prices, so floor and ceiling are at them although the snapshot's reach is left."""
    bids, asks = rows("3@100", "9@99"), rows("1@101", "9@102")
    price = price_of(bids, asks, bps=("10", "100"), notionals=("100", "400"), floor="100", ceiling="101")
    assert (price.status, price.price) == ("ok", 100.75)
    assert {key: value for key, value in price.values.items() if value is not None} == {
        "bid": 100.0, "bid_size": 3.0, "ask": 101.0, "ask_size": 1.0, "spread": 1.0, "spread_bps": 10_000 / 100.5,
        "imbalance": 0.5, "mid": 100.5, "weighted_mid": 100.75,
        "impact_bid_100": 100.0, "impact_ask_100": 101.0, "impact_mid": 100.5,
        "curve_mid": 100.5, "curve_bps": 0.0,
        "depth_bid_10bps": 0.0, "depth_ask_10bps": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "status"),
    [("mid", "ok"), ("weighted_mid", "ok"), ("impact_mid", "feed_truncated"), ("curve_mid", "beyond_reach")],
)
def test_the_status_speaks_of_the_estimator_that_is_the_price(estimator, status):
    bids, asks = rows("3@100.00", "1@99.99"), rows("1@100.01", "1@100.02")
    price = price_of(bids, asks, estimator=estimator, notionals=("400",), floor="100.00", ceiling="100.01")
    assert price.status == status
    assert price.price == price.values[estimator]
    assert price.values["mid"] == 100.005


def test_a_depth_band_beyond_floor_or_ceiling_is_unknown():
    bids, asks = rows("1@9999"), rows("1@10001")
    at_edge = price_of(bids, asks, bps=("10",), floor="9990", ceiling="10010").values
    assert (at_edge["depth_bid_10bps"], at_edge["depth_ask_10bps"]) == (1.0, 1.0)
    inside = price_of(bids, asks, bps=("10",), floor="9990.00000001", ceiling="10009.99999999").values
    assert (inside["depth_bid_10bps"], inside["depth_ask_10bps"]) == (None, None)


def test_a_narrow_band_is_known_although_a_wider_one_is_not_whatever_their_order():
    values = price_of(rows("1@9999"), rows("1@10001"), bps=("100", "5"), floor="9990").values
    assert (values["depth_bid_5bps"], values["depth_bid_100bps"]) == (1.0, None)


@pytest.mark.parametrize(
    "bids", [rows("1@0"), rows("0@0.00"), rows("1@100", "1@0"), rows("1@100", "2@100.0"), rows("1@9", "2@8", "3@9")]
)
def test_absurd_rows_are_refused(bids):
    with pytest.raises(InvalidMarketData):
        price_of(bids, rows("1@101"))
    with pytest.raises(InvalidMarketData):
        price_of(rows("1@0.001"), bids)


def test_a_removed_row_at_a_live_price_is_no_duplicate():
    assert price_of(rows("0@100", "2@100"), rows("1@101")).values["bid_size"] == 2.0


def test_names_follow_the_contract():
    values = price_of(*THICK, bps=("0.5", "1E+1"), notionals=("1E+4", "2.50")).values
    configured = [key for key in values if CONFIGURED_VALUE.fullmatch(key)]
    assert configured == [
        "depth_bid_0_5bps", "depth_bid_10bps", "depth_ask_0_5bps", "depth_ask_10bps",
        "impact_bid_10000", "impact_ask_10000", "impact_bid_2_5", "impact_ask_2_5",
    ]  # fmt: skip


# --- properties, with exact fractions as the oracle ---

DECIMALS = st.integers(0, 9)


@st.composite
def side(draw: st.DrawFn, low: int, high: int) -> Rows:
    ticks = draw(st.lists(st.integers(low, high), min_size=1, max_size=8, unique=True))
    return [
        [written(tick, 2, draw(DECIMALS)), written(draw(st.integers(0, 5000)), 3, draw(DECIMALS))] for tick in ticks
    ]


def written(number: int, decimals: int, more: int) -> str:
    text = str(Decimal(number).scaleb(-decimals))
    return text + "0" * more if "." in text else text


BOOKS = st.tuples(side(9_000, 10_050), side(9_950, 11_000))


def live(levels: Rows, *, best: Any) -> list[tuple[Fraction, Fraction]]:
    exact = [(Fraction(price), Fraction(quantity)) for price, quantity in levels if Fraction(quantity)]
    return sorted(exact, reverse=best is max)


def oracle_impact(levels: list[tuple[Fraction, Fraction]], notional: Fraction) -> Fraction | None:
    """Buy or sell level by level and divide money by coins."""
    money, coins = Fraction(0), Fraction(0)
    for price, quantity in levels:
        taken = min(quantity, (notional - money) / price)
        money, coins = money + taken * price, coins + taken
        if money == notional:
            return money / coins
    return None


def nearest(exact: Fraction | None) -> float | None:
    return None if exact is None else float(exact)


@given(BOOKS, st.integers(1, 2_000_000), st.integers(1, 200_000))
def test_every_value_is_the_double_nearest_to_the_exact_one(book, notional_cents, bps_hundredths):
    notional, bps = Decimal(notional_cents) / 100, Decimal(bps_hundredths) / 100
    got = price_of(*book, bps=(str(bps),), notionals=(str(notional),)).values
    bids, asks = live(book[0], best=max), live(book[1], best=min)
    assume(bids and asks and bids[0][0] <= asks[0][0])
    (pb, qb), (pa, qa) = bids[0], asks[0]
    middle = (pb + pa) / 2
    impact_bid, impact_ask = oracle_impact(bids, Fraction(notional)), oracle_impact(asks, Fraction(notional))
    width = middle * Fraction(bps) / 10_000
    wanted = {
        "bid": pb, "ask": pa, "bid_size": qb, "ask_size": qa, "spread": pa - pb,
        "spread_bps": (pa - pb) / middle * 10_000,
        "imbalance": (qb - qa) / (qb + qa),
        "mid": middle,
        "weighted_mid": qb / (qb + qa) * pa + (1 - qb / (qb + qa)) * pb,
        "impact_mid": (impact_bid + impact_ask) / 2 if impact_bid and impact_ask else None,
    }  # fmt: skip
    assert {key: got[key] for key in wanted} == {key: nearest(value) for key, value in wanted.items()}
    configured = {key: value for key, value in got.items() if CONFIGURED_VALUE.fullmatch(key)}
    assert list(configured.values()) == [
        nearest(sum((q for p, q in bids if p >= middle - width), Fraction(0))),
        nearest(sum((q for p, q in asks if p <= middle + width), Fraction(0))),
        nearest(impact_bid),
        nearest(impact_ask),
    ]


@given(BOOKS, st.randoms(use_true_random=False))
def test_the_order_of_levels_is_irrelevant(book, random):
    bids, asks = ([*rows_] for rows_ in book)
    options = {"bps": ("1", "50", "500"), "notionals": ("50", "500"), "floor": "95.5", "ceiling": "105"}
    before = price_of(bids, asks, **options)
    random.shuffle(bids)
    random.shuffle(asks)
    assert price_of(bids, asks, **options) == before


@given(BOOKS, st.sampled_from([*ESTIMATES]), st.none() | st.integers(9_000, 10_050))
def test_a_mirrored_book_has_mirrored_prices(book, estimator, bound):
    """Reflect every price at 100: what was p becomes 200 - p, bids become asks."""
    options = {"estimator": estimator, "bps": ("30",), "notionals": ("100000000",)}
    mirrored = [[[str(200 - Decimal(price)), quantity] for price, quantity in rows_] for rows_ in reversed(book)]
    floor, ceiling = (None, None) if bound is None else (written(bound, 2, 0), written(20_000 - bound, 2, 0))
    here, there = price_of(*book, floor=floor, **options), price_of(*mirrored, ceiling=ceiling, **options)
    swap = {"no_bids": "no_asks", "no_asks": "no_bids"}
    assert there.status == swap.get(here.status, here.status)
    one, other = here.values, there.values
    assert (one["bid_size"], one["ask_size"]) == (other["ask_size"], other["bid_size"])
    assert one["spread"] == other["spread"]
    if one["imbalance"] is not None:
        assert one["imbalance"] == -other["imbalance"]
        assert one["weighted_mid"] == pytest.approx(200 - other["weighted_mid"], rel=1e-14)
        if one["mid"] == 100:
            assert one["depth_bid_30bps"] == other["depth_ask_30bps"]


@given(BOOKS, st.booleans(), st.booleans(), st.sampled_from([*ESTIMATES]))
def test_a_price_is_null_exactly_when_the_status_says_why(book, has_floor, has_ceiling, estimator):
    price = price_of(
        *book,
        estimator=estimator,
        notionals=("300",),
        floor="99" if has_floor else None,
        ceiling="101" if has_ceiling else None,
    )
    assert (price.price is None) == (price.status not in {"ok", "locked"})
    assert price.price == price.values[estimator]
    if price.status == "ok":
        assert price.values["bid"] < price.values["ask"]
        assert price.values["bid"] <= price.values["weighted_mid"] <= price.values["ask"]


@given(BOOKS, st.integers(1, 8), st.integers(9_700, 9_990), st.integers(10_010, 10_300), st.integers(1, 400))
def test_what_a_cut_book_tells_is_true_of_the_whole_one(book, levels, floor, ceiling, bps):
    """Whatever the published part of a book tells is what the full book would have told."""
    options = {"bps": (str(bps),), "notionals": ("200", "2000")}
    whole_bids, whole_asks = (
        sorted((row for row in rows_ if Decimal(row[1])), key=lambda row: Decimal(row[0]) * sign)
        for rows_, sign in zip(book, (-1, 1), strict=True)
    )
    floor_text = bound_of(whole_bids, levels, written(floor, 2, 0), max)
    ceiling_text = bound_of(whole_asks, levels, written(ceiling, 2, 0), min)
    seen = price_of(whole_bids[:levels], whole_asks[:levels], floor=floor_text, ceiling=ceiling_text, **options)
    if seen.status in {"ok", "locked"}:
        true = price_of(whole_bids, whole_asks, **options)
        known = {name for name, value in seen.values.items() if value is not None}
        assert {name: seen.values[name] for name in known} == {name: true.values[name] for name in known}


def bound_of(whole: Rows, levels: int, reach: str, nearer: Callable[..., str]) -> str:
    """Return how far a side is told that carries so many levels of those inside its reach."""
    return nearer(reach, whole[levels - 1][0], key=Decimal) if len(whole) > levels else reach
