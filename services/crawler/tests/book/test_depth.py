"""The whole known book within distances of the mid: against plain fractions, level by level."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.book.chain import ChainTime
from crawler.book.depth import Depths
from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.reach import Reach
from fairprice.messages import Book, Depth

DISTANCES = tuple(map(Decimal, ("0.5", "1", "10", "500")))
SECOND = 1_000_000
START = 1_789_000_000 * SECOND
WHOLE = Reach()

prices = st.integers(0, 15).map(lambda number: f"{8.3 + number * 0.04:.2f}")
"""From 8.30 to 8.90: of bids around 9, some beyond the last distance."""

quantities = st.sampled_from(["0.00", "0.01", "1.50", "12345.67"])
levels = st.lists(st.tuples(prices, quantities).map(list), max_size=12)


def expected(bids, asks, distances=DISTANCES):
    """Quantity and value within each distance of the mid, as fractions, of books as `{price: quantity}`."""
    mid = (max(map(Fraction, bids)) + min(map(Fraction, asks))) / 2
    found = {}
    for distance in distances:
        low, high = (mid * (1 + sign * Fraction(distance) / 10_000) for sign in (-1, 1))
        name = f"{distance:f}bps".replace(".", "_")
        for side, book in (("bid", bids), ("ask", asks)):
            numbers = [(Fraction(price), Fraction(quantity)) for price, quantity in book.items()]
            within = [(price, quantity) for price, quantity in numbers if low <= price <= high]
            found[f"{side}_quantity_{name}"] = float(sum(quantity for _, quantity in within))
            found[f"{side}_value_{name}"] = float(sum(price * quantity for price, quantity in within))
    return found


def diff(number, bids, asks=(), time=START):
    return Diff("BTCUSDT", number, number, time, [list(level) for level in bids], [list(level) for level in asks])


def read(depths, bids, asks, reach=WHOLE):
    return depths.read(max(bids, key=Decimal), min(asks, key=Decimal), reach)


def changed(book, levels):
    return {price: quantity for price, quantity in (book | dict(levels)).items() if Decimal(quantity)}


@given(st.lists(st.tuples(levels, levels, st.booleans()), min_size=1, max_size=8))
def test_every_reading_equals_the_sum_of_all_levels(steps):
    depths = Depths(DISTANCES, 1.0)
    bids, asks = {"9.00": "1.00"}, {"9.01": "1.00"}
    depths.begin([["9.00", "1.00"]], [["9.01", "1.00"]])
    for number, (bid_changes, ask_changes, is_read) in enumerate(steps):
        high = [[f"{18 - Decimal(price):.2f}", quantity] for price, quantity in ask_changes]
        bids, asks = changed(bids, bid_changes), changed(asks, high)
        depths.follow(diff(number, bid_changes, high))
        if is_read:
            assert read(depths, bids, asks) == expected(bids, asks)
    assert read(depths, bids, asks) == expected(bids, asks)


def test_a_level_at_the_very_distance_counts_and_one_a_tick_beyond_does_not():
    bids, asks = {"9999.5": "1", "9999": "2", "9998.9": "4"}, {"10000.5": "1", "10001": "2", "10001.1": "4"}
    depths = Depths((Decimal(1),), 1.0)
    depths.begin(bids.items(), asks.items())
    values = read(depths, bids, asks)
    assert (values["bid_quantity_1bps"], values["ask_quantity_1bps"]) == (3, 3)
    assert values["ask_value_1bps"] == 10000.5 + 2 * 10001
    depths.follow(diff(1, [["9999", "0"]]))
    assert read(depths, bids, asks)["bid_quantity_1bps"] == 1


def test_what_is_beyond_the_reach_is_not_known():
    bids, asks = {"100.0": "1", "99.9": "2"}, {"100.2": "1", "100.3": "2"}
    depths = Depths(tuple(map(Decimal, (10, 15, 100))), 1.0)
    depths.begin(bids.items(), asks.items())
    values = read(depths, bids, asks, Reach("99.9", None))
    assert [values[f"bid_quantity_{distance}bps"] for distance in (10, 15, 100)] == [1, 1, None]
    assert [values[f"bid_value_{distance}bps"] for distance in (10, 15, 100)] == [100, 100, None]
    assert [values[f"ask_quantity_{distance}bps"] for distance in (10, 15, 100)] == [1, 1, 3]
    assert read(depths, bids, asks, Reach("99.9", "100.25"))["ask_quantity_15bps"] is None


@pytest.mark.parametrize("reach", [Reach("100.1", None), Reach(None, "100.1")])
def test_without_a_mid_there_is_no_depth(reach):
    bids, asks = {"100.0": "1"}, {"100.2": "1"}
    depths = Depths(DISTANCES, 1.0)
    depths.begin(bids.items(), asks.items())
    assert read(depths, bids, asks, reach) is None


UNUSUAL = [[["99.0", "0." + "0" * 8 + "1"]], [["99." + "0" * 9, "1"]], [["99.0", "1"], ["99.00", "2"]]]


@pytest.mark.parametrize("levels", UNUSUAL, ids=["finer quantity", "finer price", "one price in two ways"])
def test_a_book_with_numbers_as_no_exchange_writes_them_has_no_depth(levels):
    depths = Depths((Decimal(500),), 1.0)
    depths.begin([["100.0", "5"]], [["101.0", "1"]])
    assert depths.read("100.0", "101.0", WHOLE)
    depths.follow(diff(1, levels))
    assert depths.read("100.0", "101.0", WHOLE) is None
    depths.follow(diff(2, [[levels[0][0], "0"]]))
    assert depths.read("100.0", "101.0", WHOLE) is None
    depths.begin([["100.0", "5"]], [["101.0", "1"]])
    assert depths.read("100.0", "101.0", WHOLE)


def test_a_book_that_begins_with_finer_numbers_has_a_finer_scale_and_takes_a_price_as_it_comes():
    depths = Depths((Decimal(500),), 1.0)
    depths.begin([["100.0", "0." + "0" * 20 + "7"]], [["101.0", "1"]])
    assert depths.read("100.0", "101.0", WHOLE)["bid_quantity_500bps"] == 7e-21
    depths.follow(diff(1, [["100.00", "7"]]))
    assert depths.read("100.0", "101.0", WHOLE)["bid_quantity_500bps"] == 7


def test_what_waits_is_bounded_where_the_clock_stands_still():
    depths = Depths((Decimal(500),), 1.0)
    depths.begin([["100.0", "1"]], [["101.0", "1"]])
    for number in range(500):
        depths.follow(diff(number, [["100.0", str(number)]]))
    assert len(depths._bids) == 1
    assert depths.read("100.0", "101.0", WHOLE)["bid_quantity_500bps"] == number


def test_the_first_diff_of_each_interval_is_sampled_and_no_book_with_an_empty_side():
    depths = Depths((Decimal(500),), 1.0)
    depths.begin([["100.0", "1"]], [["101.0", "1"]])
    bids, asks = [["100.0", "1"]], [["101.0", "1"]]

    def is_sampled(milliseconds, before, bids=bids):
        times = ChainTime(START + milliseconds * 1000, START + before * 1000, is_certain=True)
        return depths.sample(times, bids, asks, WHOLE) is not None

    assert [is_sampled(1000, 999), is_sampled(1001, 1000), is_sampled(1999, 1001), is_sampled(3500, 1999)] == [
        True, False, False, True,
    ]  # fmt: skip
    assert not is_sampled(4000, 3500, bids=[])


# In a feed


def feed():
    depths = Depths((Decimal(500),), 1.0)
    return Feed("binance", "BTCUSDT", "one", levels=1, is_alone=True, depths=depths, compare_seconds=None)


def snapshot(update_id, quantity="1.0", *, complete=True):
    bids, asks = [["100.0", quantity], ["99.0", "1.0"]], [["101.0", "1.0"]]
    return Snapshot("BTCUSDT", update_id, bids, asks, complete, complete)


def of_each_kind(outputs):
    books = [output.update_id for output in outputs if isinstance(output, Book)]
    depths = [
        (output.update_id, output.event_time, output.values["bid_quantity_500bps"])
        for output in outputs
        if isinstance(output, Depth)
    ]
    return books, depths


def test_the_depth_of_all_levels_follows_the_book_that_it_describes():
    one = feed()
    outputs = one.receive_diff(diff(10, [], time=START), 0) + one.receive_snapshot(snapshot(9))
    for number, time in ((11, START + 10), (12, START + SECOND), (13, START + SECOND + 10)):
        outputs += one.receive_diff(diff(number, [["98.0", f"{number}.0"]], time=time), 0)
    assert of_each_kind(outputs) == ([10, 11, 12, 13], [(10, START, 2), (12, START + SECOND, 14)])
    kinds = [type(output) for output in outputs if isinstance(output, Book | Depth)]
    assert kinds == [Book, Depth, Book, Book, Depth, Book]


def test_a_book_that_never_leaves_takes_its_depth_along():
    one = feed()
    one.receive_diff(diff(10, [], time=START), 0)
    one.receive_snapshot(snapshot(9))
    one.receive_ticker(Ticker("BTCUSDT", 12, b"", lambda _: Top(["100.0", "7.0"], ["101.0", "1.0"])))
    one.receive_ticker(Ticker("BTCUSDT", 13, b"", lambda _: Top(["100.0", "7.0"], ["101.0", "1.0"])))
    assert of_each_kind(one.receive_diff(diff(11, [["98.0", "1.0"]], time=START + SECOND), 0))[1] != []
    assert of_each_kind(one.receive_diff(diff(12, [["98.0", "2.0"]], time=START + 2 * SECOND), 0)) == ([], [])


def test_a_fresh_snapshot_in_the_background_takes_the_place_of_all_levels():
    one = feed()
    one.receive_diff(diff(10, [], time=START), 0)
    one.receive_snapshot(snapshot(9, complete=False))
    one.receive_diff(diff(11, [["98.0", "5.0"]], time=START + 10), 0)
    one.receive_snapshot(snapshot(11, "3.0"))
    _, [(_, _, quantity)] = of_each_kind(one.receive_diff(diff(12, [], time=START + SECOND), 0))
    assert quantity == 3 + 1


def test_two_feeds_that_begin_apart_publish_the_same_depths():
    def depths_of(one, numbers, first):
        outputs = one.receive_diff(diff(first, [], time=START + first * SECOND), 0)
        levels = [["100.0", "1.0"], *([f"{50 + number}.0", "1.0"] for number in range(9, first))]
        outputs += one.receive_snapshot(Snapshot("BTCUSDT", first - 1, levels, [["101.0", "1.0"]], True, True))
        for number in numbers:
            level = [f"{50 + number}.0", "1.0"]
            outputs += one.receive_diff(diff(number, [level], time=START + number * SECOND), 0)
        return {output.update_id: output.values for output in outputs if isinstance(output, Depth)}

    early, late = depths_of(feed(), range(10, 40), 9), depths_of(feed(), range(21, 40), 20)
    assert late.items() >= {number: early[number] for number in range(21, 40)}.items()
