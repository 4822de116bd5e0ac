"""A book at the speed of the tickers: its ladder with a newer top put in."""

from collections.abc import Callable
from dataclasses import replace

from crawler.book.market_data import Top
from fairprice.messages import Book, Level
from standalone.evaluate.instants import LIVE, Values

Price = Callable[[Book], Values]


class LivePrices:
    """The values of the newest book of a symbol with the newest top in it, worked out when somebody asks."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._book: Book | None = None
        self._top: tuple[int, Top] | None = None
        self._known: Values | None = None

    def take_book(self, book: Book) -> None:
        """Take a book."""
        self._book, self._known = book, None

    def take_top(self, update_id: int, top: Top) -> None:
        """Take what a ticker says."""
        self._top, self._known = (update_id, top), None

    def forget(self) -> None:
        """Forget both."""
        self._book = self._top = self._known = None

    def values(self) -> Values:
        """Return the values by their names, each with `LIVE` in front."""
        if self._known is None:
            self._known = {LIVE + name: value for name, value in self._values().items()}
        return self._known

    def _values(self) -> Values:
        if self._book is None:
            return {}
        if self._top is None or self._top[0] <= self._book.update_id:
            return self._price(self._book)
        bid, ask = self._top[1]
        return self._price(with_top(self._book, bid, ask)) if bid and ask else {}


def with_top(book: Book, bid: Level, ask: Level) -> Book:
    """Return the book with these best levels, and without any that would be better; they are known wherever it ends."""
    best_bid, best_ask = float(bid[0]), float(ask[0])
    bids = [bid, *(level for level in book.bids if float(level[0]) < best_bid)]
    asks = [ask, *(level for level in book.asks if float(level[0]) > best_ask)]
    floor = bid[0] if book.floor is not None and best_bid < float(book.floor) else book.floor
    ceiling = ask[0] if book.ceiling is not None and best_ask > float(book.ceiling) else book.ceiling
    return replace(book, bids=bids, asks=asks, floor=floor, ceiling=ceiling)
