"""A book with a newer top put in, and what is made of it when somebody asks."""

from dataclasses import replace

import pytest

from crawler.book.market_data import Top
from fairprice.messages import Book
from standalone.evaluate.live import LivePrices, with_top

BOOK = Book(
    "binance", "BTCUSDT", 1, 10, 0, None, 0, "test",
    [["100.0", "1"], ["99.0", "2"], ["98.0", "3"]], [["101.0", "4"], ["102.0", "5"], ["103.0", "6"]], "98.0", "103.0",
    None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("top", "bids", "asks", "bounds"),
    [
        (("100.0", "101.0"), ["100.0", "99.0", "98.0"], ["101.0", "102.0", "103.0"], ("98.0", "103.0")),
        (
            ("100.5", "100.9"),
            ["100.5", "100.0", "99.0", "98.0"],
            ["100.9", "101.0", "102.0", "103.0"],
            ("98.0", "103.0"),
        ),
        (("98.5", "100.0"), ["98.5", "98.0"], ["100.0", "101.0", "102.0", "103.0"], ("98.0", "103.0")),
        (("101.5", "102.5"), ["101.5", "100.0", "99.0", "98.0"], ["102.5", "103.0"], ("98.0", "103.0")),
        (("97.0", "98.0"), ["97.0"], ["98.0", "101.0", "102.0", "103.0"], ("97.0", "103.0")),
        (("103.0", "104.0"), ["103.0", "100.0", "99.0", "98.0"], ["104.0"], ("98.0", "104.0")),
    ],
)
def test_a_newer_top_takes_the_place_of_all_that_would_be_better(top, bids, asks, bounds):
    bid, ask = top
    found = with_top(BOOK, [bid, "7"], [ask, "8"])

    assert [price for price, _ in found.bids] == bids
    assert [price for price, _ in found.asks] == asks
    assert (found.bids[0], found.asks[0]) == ([bid, "7"], [ask, "8"])
    assert (found.floor, found.ceiling) == bounds


def test_a_book_that_is_known_as_a_whole_stays_so():
    found = with_top(replace(BOOK, floor=None, ceiling=None), ["90.0", "7"], ["110.0", "8"])

    assert (found.floor, found.ceiling) == (None, None)


def test_values_are_of_the_newest_book_with_the_newest_top_and_worked_out_once():
    asked = []

    def price(book):
        asked.append(book)
        return {"mid": float(book.bids[0][0])}

    live = LivePrices(price)
    assert live.values() == {}
    live.take_top(9, Top(["95.0", "1"], ["96.0", "1"]))
    live.take_book(BOOK)
    assert live.values() == live.values() == {"live_mid": 100.0}, "the ticker is older than the book"
    live.take_top(11, Top(["99.5", "1"], ["100.5", "1"]))
    assert live.values() == {"live_mid": 99.5}
    live.take_top(12, Top(None, ["100.5", "1"]))
    assert live.values() == {}
    assert len(asked) == 2
    live.forget()
    assert live.values() == {}
