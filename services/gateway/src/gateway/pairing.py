"""Finds to each order book the price that was made of it, so that what is shown together is of one moment.

Books and prices come over two exchanges of the broker, and either may be ahead. Of books only the last one of a message
is looked at, so most prices may never see their book.
"""

from collections import OrderedDict
from typing import NamedTuple

from gateway.quote import Quote
from gateway.run import Position

CAPACITY = 16
"""Books and prices of a symbol that wait for each other at most: 1.6 s at ten books a second."""


class Pair(NamedTuple):
    """A price and the order book that it was made of, None where that one is not known; `made_at` is in seconds."""

    quote: Quote
    book: bytes | None
    made_at: float


class Pairing:
    """What of one symbol's books and prices belongs together; `newest` only ever moves on.

    The newest prices wait for their books, since a later book will be among them. Of books the oldest wait, and the
    newest: however late the prices are, they reach the oldest first.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.newest: Pair | None = None
        self._capacity = capacity
        self._quotes: OrderedDict[Position, Quote] = OrderedDict()
        self._books: OrderedDict[Position, bytes] = OrderedDict()

    def take_quote(self, quote: Quote, now: float) -> None:
        """Take a price that is newer than all before it, received at `now` (seconds, monotonic)."""
        position = (quote.event_time, quote.update_id)
        while self._books and next(iter(self._books)) < position:
            self._books.popitem(last=False)
        if book := self._books.pop(position, None):
            self._join(position, Pair(quote, book, now))
            return
        self._quotes[position] = quote
        if len(self._quotes) > self._capacity:
            self._quotes.popitem(last=False)

    def take_book(self, position: Position, line: bytes, now: float) -> None:
        """Take a book, received at `now`; one that is no newer than the newest pair says nothing."""
        if self.newest and position <= (self.newest.quote.event_time, self.newest.quote.update_id):
            return
        if quote := self._quotes.get(position):
            self._join(position, Pair(quote, line, now))
        elif not self._books or position > next(reversed(self._books)):
            if len(self._books) >= self._capacity:
                self._books.popitem()
            self._books[position] = line

    def _join(self, position: Position, pair: Pair) -> None:
        self.newest = pair
        while self._quotes and next(iter(self._quotes)) <= position:
            self._quotes.popitem(last=False)
