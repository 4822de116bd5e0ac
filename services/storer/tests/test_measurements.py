"""How events become points."""

from dataclasses import replace

import exchange_data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprice.errors import InvalidLine
from fairprice.messages import PRICE_VALUES, Book, Depth, Gap, Model, Price, Start, Status, encode
from storer.measurements import (
    Point,
    audit_point,
    book_queue_points,
    depth_point,
    fair_price_point,
    gap_point,
    is_sampled,
    order_book_point,
    price_points,
)

SECOND = 1_000_000
KEY = ("binance", "BTCUSDT")

BOOK = Book("binance", "BTCUSDT", 4, 7, 9 * SECOND, 8 * SECOND, 1, "a", [["100.5", "2"], ["99", "0.1"]], [], None, None)
PRICE = Price(
    "binance", "BTCUSDT", 4, 7, 9 * SECOND, 9 * SECOND + 1, 9 * SECOND + 2500, "mid", "ok", 1.5,
    {**dict.fromkeys(PRICE_VALUES, 2.5), "depth_bid_10bps": None},
)  # fmt: skip


MODEL = Model(0, 1.5, -2.5, 4.5, 7.25, None, 1192, 1187, 1147, 0)
MINUTE = 60 * SECOND


def points_of(line, *, levels, interval):
    return [*book_queue_points(line, levels=levels, interval=interval)]


def test_a_price_is_stored_with_everything_that_it_says():
    point = fair_price_point(PRICE)
    assert (point.measurement, point.time, point.venue, point.symbol) == (
        "fair_price", 9 * SECOND, "binance", "BTCUSDT",
    )  # fmt: skip
    assert point.fields == {
        "price": 1.5,
        **dict.fromkeys(PRICE_VALUES, 2.5),
        "depth_bid_10bps": None,
        "first_update_id": 4,
        "update_id": 7,
        "estimator": "mid",
        "status": "ok",
        "latency_ms": 2.5,
    }


def test_a_replayed_price_has_no_latency():
    assert fair_price_point(replace(PRICE, priced_time=None)).fields["latency_ms"] is None


def test_a_book_is_stored_with_all_its_levels_and_absent_ones_are_empty():
    point = order_book_point(BOOK, 2)
    assert (point.measurement, point.time) == ("order_book", 9 * SECOND)
    assert point.fields == {"update_id": 7}
    assert point.decimals == {
        "bid_price_00": "100.5", "bid_size_00": "2", "bid_price_01": "99", "bid_size_01": "0.1",
        "ask_price_00": None, "ask_size_00": "0", "ask_price_01": None, "ask_size_01": "0",
    }  # fmt: skip


def test_a_book_with_more_levels_than_wanted_is_cut():
    assert list(order_book_point(BOOK, 1).decimals) == ["bid_price_00", "bid_size_00", "ask_price_00", "ask_size_00"]


def test_a_gap_is_stored_where_it_begins():
    point = gap_point(Gap("binance", "BTCUSDT", 8, 12, 3 * SECOND, 4 * SECOND + 500, "disconnect"))
    assert (point.measurement, point.time // 1000) == ("gap", 3000)
    fields = {"from_update_id": 8, "to_update_id": 12, "duration_ms": 1000.5, "reason": "disconnect"}
    assert point.fields == {**fields, "open_ids": 5}, "nobody has looked yet who else had them"


def test_gaps_behind_one_book_take_each_other_s_place_only_if_they_claim_the_same():
    longest, *others = [Gap(*KEY, 8, last, 3 * SECOND, 4 * SECOND, "restart") for last in (300, 12, 2)]
    assert len({gap_point(each).time for each in (longest, *others)}) == 3
    assert gap_point(replace(longest, to_time=5 * SECOND)).time == gap_point(longest).time


def test_a_gap_that_runs_backwards_counts_as_one_id():
    assert gap_point(Gap(*KEY, 1000, 12, 3 * SECOND, 4 * SECOND, "id_reset")).fields["open_ids"] == 1


def test_a_line_of_a_queue_of_prices_is_a_price_or_refused():
    assert [*price_points(encode(PRICE))] == [fair_price_point(PRICE)]
    for line in (encode(BOOK), b"{}", b'{"type":"trade"}'):
        with pytest.raises(InvalidLine):
            [*price_points(line)]


def test_a_start_is_stored_with_the_ids_of_the_first_book():
    start = Start("binance", "BTCUSDT", 5, 7, 9 * SECOND, "a")
    assert points_of(encode(start), levels=2, interval=SECOND) == [
        Point("start", 9 * SECOND, "binance", "BTCUSDT", {"first_update_id": 5, "update_id": 7})
    ]


def test_a_line_of_a_queue_of_books_is_a_book_a_gap_or_an_audit():
    gap, audit = Gap("binance", "BTCUSDT", 8, 12, 3 * SECOND, 4 * SECOND, "disconnect"), exchange_data.audit(1)
    assert points_of(encode(BOOK), levels=2, interval=SECOND) == [order_book_point(BOOK, 2)]
    assert points_of(encode(gap), levels=2, interval=SECOND) == [gap_point(gap)]
    assert points_of(encode(audit), levels=2, interval=SECOND) == [audit_point(audit)]


def test_the_depth_of_a_whole_book_is_stored_beside_the_books():
    depth = Depth("binance", "BTCUSDT", 7, 9 * SECOND, "a", {"bid_quantity_5bps": 1.5, "ask_value_5bps": None})
    assert points_of(encode(depth), levels=2, interval=SECOND) == [depth_point(depth)]
    assert depth_point(depth).fields == {"bid_quantity_5bps": 1.5, "update_id": 7}


def test_in_a_queue_of_books_a_book_between_two_samples_and_the_word_of_a_crawler_are_passed_over():
    status = Status("binance", "BTCUSDT", 9 * SECOND, "a", "TRADING", is_halted=False, problem=None)
    assert points_of(encode(BOOK), levels=2, interval=2 * SECOND) == []
    assert points_of(encode(status), levels=2, interval=SECOND) == []


def test_the_model_of_the_first_book_of_a_minute_is_stored_beside_the_book():
    first = replace(BOOK, event_time=MINUTE + 5, previous_event_time=MINUTE - 1, model=MODEL)
    book, model = points_of(encode(first), levels=2, interval=SECOND)
    assert book == order_book_point(first, 2)
    assert (model.measurement, model.time, model.venue, model.symbol) == ("model", MINUTE + 5, "binance", "BTCUSDT")
    assert model.fields == {
        "beta_500ms": 1.5, "beta_1s": -2.5, "beta_5s": 4.5, "half_width_1s": 7.25, "half_width_10s": None,
        "observations_500ms": 1192.0, "observations_1s": 1187.0, "observations_5s": 1147.0, "observations_10s": 0.0,
    }  # fmt: skip
    assert all(value is None or isinstance(value, float) for value in model.fields.values())


@pytest.mark.parametrize("spaced", [False, True])
def test_a_model_is_stored_whether_its_book_is_or_not_and_no_other_than_the_first_of_a_minute(spaced):
    def stored(book):
        line = encode(book).replace(b",", b", ") if spaced else encode(book)
        return [point.measurement for point in points_of(line, levels=2, interval=90 * SECOND)]

    assert stored(replace(BOOK, event_time=MINUTE + 5, previous_event_time=MINUTE - 1, model=MODEL)) == ["model"]
    assert stored(replace(BOOK, event_time=MINUTE + 5, previous_event_time=MINUTE, model=MODEL)) == []
    assert stored(replace(BOOK, event_time=MINUTE + 5, previous_event_time=MINUTE - 1)) == []
    assert stored(replace(BOOK, event_time=3 * MINUTE, previous_event_time=MINUTE)) == ["order_book"]


def test_a_book_of_another_encoder_is_sampled_and_checked_alike():
    spaced = encode(BOOK).replace(b",", b", ")
    assert points_of(spaced, levels=2, interval=SECOND) == [order_book_point(BOOK, 2)]
    assert points_of(spaced, levels=2, interval=2 * SECOND) == []
    for line in (encode(BOOK), spaced):
        with pytest.raises(InvalidLine, match="'bids'"):
            points_of(line.replace(b'"2"', b'"two"'), levels=2, interval=SECOND)


@pytest.mark.parametrize("line", [encode(PRICE), b"{}", b'{"type":"trade"}'])
def test_anything_else_in_a_queue_of_books_is_refused(line):
    with pytest.raises(InvalidLine):
        points_of(line, levels=2, interval=SECOND)


@pytest.mark.parametrize(
    ("event_time", "previous", "interval", "sampled"),
    [
        (10 * SECOND, 10 * SECOND - 1, SECOND, True),
        (10 * SECOND + 1, 10 * SECOND, SECOND, False),
        (11 * SECOND - 1, 10 * SECOND, SECOND, False),
        (15 * SECOND + 7, 10 * SECOND, SECOND, True),
        (10 * SECOND + 1, None, SECOND, True),
        (10 * SECOND + 1, 10 * SECOND, 0, True),
    ],
)
def test_the_first_book_of_an_interval_is_sampled(event_time, previous, interval, sampled):
    assert is_sampled(event_time, previous, interval) is sampled


@given(st.lists(st.integers(0, 300), min_size=1, unique=True).map(sorted), st.integers(1, 50))
def test_each_interval_that_has_books_has_exactly_one_sample(times, interval):
    previous = [None, *times[:-1]]
    sampled = [time for time, before in zip(times, previous, strict=True) if is_sampled(time, before, interval)]
    assert sampled == [min(t for t in times if t // interval == k) for k in sorted({t // interval for t in times})]
