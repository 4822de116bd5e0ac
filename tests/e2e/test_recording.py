"""A recording goes through the whole pipeline without one wrong value.

The oracles are independent of the product: a naive rebuild with `Fraction`s, and the exchange's own `bookTicker`.
"""

import gzip
import json
from bisect import bisect_left, insort
from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
from bands import coverage
from curve_vectors import curve_mid

LEVELS = 20
EACH = 100
"""Rows between two whose curve is worked out anew."""
DEPTH_BPS = {"0_1": Fraction("0.1"), "0_5": Fraction("0.5"), "1": Fraction(1)}
NOTIONALS = (10_000, 100_000)

exact = cache(Fraction)
"""Texts come again and again, and reading one takes longer than looking it up."""


@pytest.fixture(scope="module")
def frames(recording):
    with gzip.open(recording.path, "rt") as lines:
        return [json.loads(line.split(" ", 1)[1]) for line in lines]


@pytest.fixture(scope="module")
def snapshot(frames):
    return next(frame for frame in frames if "lastUpdateId" in frame)


@pytest.fixture(scope="module")
def books(frames, snapshot):
    """Return the first and last id of each diff after the snapshot, and the best levels of each side after it.

    By event time in microseconds. Levels are price and quantity, best first.
    """
    sides = {
        side: {exact(price): exact(quantity) for price, quantity in snapshot[name]}
        for side, name in (("b", "bids"), ("a", "asks"))
    }
    in_order = {side: sorted(levels) for side, levels in sides.items()}
    books = {}
    for diff in (frame["data"] for frame in frames if "@depth@" in frame.get("stream", "")):
        if diff["u"] <= snapshot["lastUpdateId"]:
            continue
        for side, levels in sides.items():
            for price, quantity in diff[side]:
                change(levels, in_order[side], exact(price), exact(quantity))
        first = diff["pu"] + 1 if "pu" in diff else diff["U"]
        best = in_order["b"][: -LEVELS - 1 : -1], in_order["a"][:LEVELS]
        bids, asks = (
            [(price, sides[side][price]) for price in prices] for side, prices in zip("ba", best, strict=True)
        )
        books[diff["E"] * 1000] = first, diff["u"], bids, asks
    return books


def change(levels, prices, price, quantity):
    """Give a level of a side this quantity; `prices` are those of all levels, in order."""
    if quantity and price not in levels:
        insort(prices, price)
    if quantity:
        levels[price] = quantity
    elif levels.pop(price, None):
        del prices[bisect_left(prices, price)]


@pytest.fixture(scope="module")
def rebuilt(books):
    """Return one row for each diff after the snapshot, by event time in microseconds."""
    return {time: (first, last, *bids[0], *asks[0]) for time, (first, last, bids, asks) in books.items()}


@pytest.fixture(scope="module")
def last_tickers(frames):
    """Return the exchange's own account of the top, by update id, in order."""
    tickers = [frame["data"] for frame in frames if frame.get("stream", "").endswith("@bookTicker")]
    return [(t["u"], tuple(map(float, (t["b"], t["B"], t["a"], t["A"])))) for t in tickers]


@pytest.fixture(scope="module")
def replayed(replay, rows_of, recording):
    summary, database = replay(recording.path)
    return summary, rows_of(database)


def test_every_row_equals_an_independent_rebuild_of_the_book(replayed, recording, rebuilt):
    summary, rows = replayed

    assert len(rebuilt) == recording.books
    assert (summary["books"], summary["prices"], summary["gaps"]) == (recording.books, recording.books, 0)
    assert [row["time"] for row in rows["fair_price"]] == sorted(rebuilt)
    for row in rows["fair_price"]:
        first, last, bid, bid_size, ask, ask_size = rebuilt[row["time"]]
        assert (row["first_update_id"], row["update_id"]) == (first, last)
        assert (row["bid"], row["bid_size"], row["ask"], row["ask_size"]) == tuple(
            map(float, (bid, bid_size, ask, ask_size))
        )
        assert row["mid"] == float((bid + ask) / 2)
        assert row["spread"] == float(ask - bid)
        assert row["weighted_mid"] == float((bid * ask_size + ask * bid_size) / (bid_size + ask_size))
        assert (row["status"], row["price"]) == ("ok" if row["curve_mid"] else "beyond_reach", row["curve_mid"])


def test_the_ranges_of_the_rows_join(replayed):
    _, rows = replayed

    assert all(row["first_update_id"] == before["update_id"] + 1 for before, row in pairwise(rows["fair_price"]))


def test_what_needs_depth_is_told_as_far_as_anybody_knows_and_else_null(replayed, recording, books, snapshot):
    """Within the snapshot's prices the published levels are the book; beyond them the top is all that is known."""
    _, rows = replayed
    reach = {"bid": Fraction(snapshot["bids"][-1][0]), "ask": Fraction(snapshot["asks"][-1][0])}

    within = 0
    for number, row in enumerate(rows["fair_price"]):
        _, _, bids, asks = books[row["time"]]
        known = {"bid": bids[0][0] >= reach["bid"], "ask": asks[0][0] <= reach["ask"]}
        within += all(known.values())
        mid = (bids[0][0] + asks[0][0]) / 2
        bounds = {}
        for side, levels, sign in (("bid", bids, 1), ("ask", asks, -1)):
            bound = min(sign * levels[0][0], max(sign * levels[-1][0], sign * reach[side])) * sign
            bounds[side] = str(bound)
            expected = depth_values(side, sign, levels, bound, mid)
            assert {name: row[name] for name in expected} == expected
            if not known[side]:  # a band that ends before the top is known to be empty
                assert {row[f"depth_{side}_{name}bps"] for name in DEPTH_BPS} <= {None, 0.0}
        if number % EACH == 0:  # with fractions a curve takes milliseconds
            written = ([[str(price), str(size)] for price, size in levels] for levels in (bids, asks))
            curve = curve_mid(*written, floor=bounds["bid"], ceiling=bounds["ask"]) or (None, None)
            assert (row["curve_mid"], row["curve_bps"]) == tuple(value and float(value) for value in curve)
    assert within == recording.inside


def depth_values(side, sign, levels, bound, mid):
    """Return depth and impact prices of a side by their definitions, of its levels down (`sign` 1) to the bound."""
    levels = [level for level in levels if sign * (level[0] - bound) >= 0]
    edges = {name: mid * (1 - sign * bps / 10_000) for name, bps in DEPTH_BPS.items()}
    depths = {
        f"depth_{side}_{name}bps": (
            float(sum(quantity for price, quantity in levels if sign * (price - edge) >= 0))
            if sign * (edge - bound) >= 0
            else None
        )
        for name, edge in edges.items()
    }
    return depths | {f"impact_{side}_{notional}": average(levels, Fraction(notional)) for notional in NOTIONALS}


def average(levels, notional):
    """Return the mean price of an order worth so much, None where the levels do not fill it."""
    left, base = notional, Fraction(0)
    for price, quantity in levels:
        taken = min(quantity, left / price)
        left -= taken * price
        base += taken
        if not left:
            return float(notional / base)
    return None


def test_every_top_equals_the_last_ticker_of_the_exchange(replayed, recording, last_tickers):
    _, rows = replayed

    position, compared = -1, 0
    for row in rows["fair_price"]:
        while position + 1 < len(last_tickers) and last_tickers[position + 1][0] <= row["update_id"]:
            position += 1
        if position >= 0:
            compared += 1
            assert (row["bid"], row["bid_size"], row["ask"], row["ask_size"]) == last_tickers[position][1]
    assert compared == recording.books


def test_sampled_books_are_the_first_of_each_second(replayed, rebuilt, frames):
    """Of all that the exchange sent, also before the snapshot: where one begins does not matter."""
    _, rows = replayed

    seconds = {}
    for time in (frame["data"]["E"] * 1000 for frame in frames if "@depth@" in frame.get("stream", "")):
        seconds.setdefault(time // 1_000_000, time)
    assert [row["time"] for row in rows["order_book"]] == [time for time in seconds.values() if time in rebuilt]
    for row in rows["order_book"]:
        _, last, bid, bid_size, ask, ask_size = rebuilt[row["time"]]
        assert row["update_id"] == last
        assert (row["bid_price_00"], row["bid_size_00"]) == (float(bid), float(bid_size))
        assert (row["ask_price_00"], row["ask_size_00"]) == (float(ask), float(ask_size))


def test_the_bands_of_a_real_recording_hold_what_they_say(replayed, recording):
    """Those of 25 seconds and of a minute have not learnt anything yet."""
    _, rows = replayed
    is_long = recording.is_real and recording.is_whole

    prices = [(row["time"], row) for row in rows["fair_price"]]
    for name in ("1s", "10s"):
        bands, share = coverage(prices, name)
        assert (bands > 2000 and 0.85 <= share <= 0.95) if is_long else bands == 0
    learnt = [row for row in rows["fair_price"] if row["forecast_mid"] is not None]
    assert bool(learnt) == is_long
    assert {row["time"] - rows["fair_price"][0]["time"] >= 120_000_000 for row in learnt} <= {True}
    assert len(rows.get("model", [])) == len(
        {row["time"] // 60_000_000 for row in learnt} - {learnt[0]["time"] // 60_000_000} if learnt else []
    )


def test_replaying_gives_the_same_rows_at_every_speed(replayed, played, recording):
    _, fast = replayed
    _, slow = played(recording.path, "100")

    assert fast == slow
