"""A published book with the newest best bid and ask in it, and how often there is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.book.market_data import Ticker, Top
from crawler.book.quote import AT_ONCE, LEAST_PAUSE, MOST, Pace, Waiting, quote_of
from fairprice.messages import Book, Model

MODEL = Model(0, 2.0, 4.0, 8.0, 1.5, 16.0, 1195, 1190, 1150, 1100)
BIDS = [["100.0", "1"], ["99.0", "2"], ["98.0", "3"]]
ASKS = [["101.0", "1"], ["102.0", "2"], ["103.0", "3"]]


def book(floor="98.0", ceiling="103.0"):
    return Book("binance", "BTCUSDT", 96, 100, 5000, 4000, 5001, "one", BIDS, ASKS, floor, ceiling, MODEL)


def put_in(bid, ask, **bounds):
    return quote_of(book(**bounds), 107, Top(bid, ask), 5077)


def test_a_quote_names_its_book_and_its_ticker():
    quote = put_in(["100.0", "9"], ["101.0", "8"])
    assert (quote.venue, quote.symbol, quote.crawler, quote.model) == ("binance", "BTCUSDT", "one", MODEL)
    assert (quote.first_update_id, quote.update_id, quote.event_time) == (96, 100, 5000)
    assert (quote.ticker_id, quote.received_time) == (107, 5077)


def test_the_same_best_prices_get_the_new_sizes():
    quote = put_in(["100.0", "9"], ["101.0", "8"])
    assert quote.bids == [["100.0", "9"], *BIDS[1:]]
    assert quote.asks == [["101.0", "8"], *ASKS[1:]]
    assert (quote.floor, quote.ceiling) == ("98.0", "103.0")


def test_better_prices_come_before_those_of_the_book():
    quote = put_in(["100.5", "9"], ["100.7", "8"])
    assert quote.bids == [["100.5", "9"], *BIDS]
    assert quote.asks == [["100.7", "8"], *ASKS]


def test_what_is_better_than_the_new_best_is_gone():
    quote = put_in(["98.5", "9"], ["102.0", "8"])
    assert quote.bids == [["98.5", "9"], ["98.0", "3"]]
    assert quote.asks == [["102.0", "8"], ["103.0", "3"]]


def test_a_price_that_has_run_through_the_book_leaves_the_other_side_without_what_it_took():
    quote = put_in(["103.5", "9"], ["104.0", "8"])
    assert quote.bids == [["103.5", "9"], *BIDS]
    assert quote.asks == [["104.0", "8"]]
    assert quote.ceiling == "104.0", "the best ask is known, whatever lies before it in the old book"


def test_bounds_give_way_to_a_best_level_beyond_them():
    quote = put_in(["97.0", "9"], ["101.0", "8"])
    assert (quote.bids, quote.floor, quote.ceiling) == ([["97.0", "9"]], "97.0", "103.0")


def test_a_side_that_is_known_to_the_end_stays_so():
    quote = put_in(["97.0", "9"], ["104.0", "8"], floor=None, ceiling=None)
    assert (quote.floor, quote.ceiling) == (None, None)


def test_a_side_that_the_exchange_says_is_empty_is_empty():
    quote = put_in(None, ["101.0", "8"])
    assert (quote.bids, quote.floor) == ([], None)
    assert quote.asks == [["101.0", "8"], *ASKS[1:]]
    assert (put_in(["100.0", "9"], None).asks, put_in(["100.0", "9"], None).ceiling) == ([], None)


prices = st.integers(900, 1100).map(lambda tenths: f"{tenths / 10:.1f}")


@given(prices, prices)
def test_levels_are_in_order_and_the_best_are_the_tickers(bid, ask):
    quote = put_in([bid, "9"], [ask, "8"])
    bids, asks = ([float(price) for price, _ in side] for side in (quote.bids, quote.asks))
    assert bids == sorted({*bids}, reverse=True)
    assert asks == sorted({*asks})
    assert (quote.bids[0][0], quote.asks[0][0]) == (bid, ask)
    assert float(quote.floor) <= bids[0]
    assert float(quote.ceiling) >= asks[0]


# ---- how often


def ticker(update_id, symbol="BTCUSDT"):
    return Waiting(Ticker(symbol, update_id, b"", lambda _: Top(None, None)), update_id * 10)


def taken(pace, now):
    return [(each.ticker.symbol, each.ticker.update_id) for each in pace.take(now)]


def test_the_first_ticker_is_due_at_once_and_the_next_after_the_interval():
    pace = Pace(0.01)
    pace.add(ticker(1))
    assert taken(pace, 5.0) == [("BTCUSDT", 1)]
    pace.add(ticker(2))
    assert taken(pace, 5.009) == []
    assert pace.pause(5.004) == pytest.approx(0.006)
    assert taken(pace, 5.01) == [("BTCUSDT", 2)]
    assert len(pace) == 0


def test_of_those_that_wait_the_newest_is_taken_whatever_came_last():
    pace = Pace(0.01)
    for update_id in (1, 3, 2, 3):
        pace.add(ticker(update_id))
    assert taken(pace, 0.0) == [("BTCUSDT", 3)]
    assert taken(pace, 1.0) == []


def test_symbols_do_not_wait_for_each_other():
    pace = Pace(0.01)
    pace.add(ticker(1, "A"))
    pace.take(0.0)
    pace.add(ticker(2, "A"))
    pace.add(ticker(1, "B"))
    assert taken(pace, 0.001) == [("B", 1)]
    assert len(pace) == 1


def test_more_than_there_may_be_in_all_wait_longer_and_none_is_forgotten():
    pace, symbols = Pace(0.01), [f"S{number}" for number in range(100)]
    counts = dict.fromkeys(symbols, 0)
    for millisecond in range(1000):
        for symbol in symbols:
            pace.add(ticker(millisecond, symbol))
        for symbol, _ in taken(pace, millisecond / 1000):
            counts[symbol] += 1
    assert sum(counts.values()) == pytest.approx(MOST, abs=AT_ONCE)
    assert min(counts.values()) >= 19
    assert max(counts.values()) <= 21


def test_after_a_pause_no_more_than_a_burst_leaves_at_once():
    pace = Pace(0.01)
    pace.take(0.0)
    for number in range(AT_ONCE + 5):
        pace.add(ticker(1, f"S{number}"))
    assert len(pace.take(60.0)) == AT_ONCE
    assert pace.pause(60.0) == pytest.approx(max(1 / MOST, LEAST_PAUSE))
    assert len(pace.take(60.003)) == 5


def test_a_clock_that_stands_gives_no_more():
    pace = Pace(0.01, most=10)
    for number in range(AT_ONCE + 1):
        pace.add(ticker(1, f"S{number}"))
    assert len(pace.take(3.0)) == AT_ONCE
    assert pace.take(3.0) == []
    assert pace.pause(3.0) == pytest.approx(0.1)
    assert len(pace.take(3.1)) == 1
