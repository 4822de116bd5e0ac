"""A recording goes through the whole pipeline without one wrong value.

The oracles are independent of the product: a naive rebuild with `Fraction`s, and the exchange's own `bookTicker`.
"""

import gzip
import json
from decimal import Decimal
from fractions import Fraction

import pytest


@pytest.fixture(scope="module")
def frames(recording):
    with gzip.open(recording.path, "rt") as lines:
        return [json.loads(line.split(" ", 1)[1]) for line in lines]


@pytest.fixture(scope="module")
def rebuilt(frames):
    """Return one row for each diff after the snapshot, by event time in microseconds."""
    snapshot = next(frame for frame in frames if "lastUpdateId" in frame)
    sides = {
        side: {Decimal(price): Fraction(quantity) for price, quantity in snapshot[name]}
        for side, name in (("b", "bids"), ("a", "asks"))
    }
    rows = {}
    for diff in (frame["data"] for frame in frames if "@depth@" in frame.get("stream", "")):
        if diff["u"] <= snapshot["lastUpdateId"]:
            continue
        for side, levels in sides.items():
            for price, quantity in diff[side]:
                levels[Decimal(price)] = Fraction(quantity)
                if not levels[Decimal(price)]:
                    del levels[Decimal(price)]
        bid, ask = max(sides["b"]), min(sides["a"])
        first = diff["pu"] + 1 if "pu" in diff else diff["U"]
        rows[diff["E"] * 1000] = (first, diff["u"], Fraction(bid), sides["b"][bid], Fraction(ask), sides["a"][ask])
    return rows


@pytest.fixture(scope="module")
def last_tickers(frames):
    """Return the exchange's own account of the top, by update id, in order."""
    tickers = [frame["data"] for frame in frames if frame.get("stream", "").endswith("@bookTicker")]
    return [(t["u"], tuple(map(float, (t["b"], t["B"], t["a"], t["A"])))) for t in tickers]


@pytest.fixture(scope="module")
def replayed(play_into, recording, tmp_path_factory):
    return play_into(tmp_path_factory.mktemp("replayed") / "max.db", recording.path, "max")


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
        assert (row["status"], row["price"]) == ("ok", row["weighted_mid"])


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


def test_sampled_books_are_the_first_of_each_second(replayed, rebuilt):
    _, rows = replayed

    seconds = {}
    for time in sorted(rebuilt):
        seconds.setdefault(time // 1_000_000, time)
    assert [row["time"] for row in rows["order_book"]] == list(seconds.values())
    for row in rows["order_book"]:
        _, last, bid, bid_size, ask, ask_size = rebuilt[row["time"]]
        assert row["update_id"] == last
        assert (row["bid_price_00"], row["bid_size_00"]) == (float(bid), float(bid_size))
        assert (row["ask_price_00"], row["ask_size_00"]) == (float(ask), float(ask_size))


def test_replaying_gives_the_same_rows_at_every_speed(replayed, played, recording):
    _, fast = replayed
    _, slow = played(recording.path, "100")

    assert fast == slow
