"""A price at the speed of the tickers is of the newest book with the newest top, and worked out once."""

from crawler.book.market_data import Top
from fairprice.messages import Book, Quote
from standalone.evaluate.live import LivePrices

BOOK = Book(
    "binance", "BTCUSDT", 1, 10, 0, None, 0, "test",
    [["100.0", "1"], ["99.0", "2"], ["98.0", "3"]], [["101.0", "4"], ["102.0", "5"], ["103.0", "6"]], "98.0", "103.0",
    None,
)  # fmt: skip


def test_values_are_of_the_newest_book_with_the_newest_top_and_worked_out_once():
    asked = []

    def price(of):
        asked.append(of)
        return {"mid": float(of.bids[0][0]) if of.bids else None}

    live = LivePrices(price)
    assert live.values() == {}
    live.take_top(9, Top(["95.0", "1"], ["96.0", "1"]))
    live.take_book(BOOK)
    assert live.values() == live.values() == {"live_mid": 100.0}, "the ticker is older than the book"
    live.take_top(11, Top(["99.5", "1"], ["100.5", "1"]))
    assert live.values() == {"live_mid": 99.5}
    live.take_top(12, Top(None, ["100.5", "1"]))
    assert live.values() == {"live_mid": None}
    assert [type(of) for of in asked] == [Book, Quote, Quote]
    assert [price for price, _ in asked[1].bids] == ["99.5", "99.0", "98.0"]
    live.forget()
    assert live.values() == {}
