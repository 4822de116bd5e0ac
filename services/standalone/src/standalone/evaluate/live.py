"""A symbol's price at the speed of the tickers, made as the live view makes it, when somebody asks."""

from collections.abc import Callable

from crawler.book.market_data import Top
from crawler.book.quote import quote_of
from fairprice.messages import Book, Quote
from standalone.evaluate.instants import LIVE, Values


class LivePrices:
    """The values of the newest book of a symbol with the newest ticker's top put in."""

    def __init__(self, price: Callable[[Book | Quote], Values]) -> None:
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
        return self._price(quote_of(self._book, *self._top, received_time=0))
