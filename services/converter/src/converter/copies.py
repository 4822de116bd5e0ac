"""Knows a copy of a book that was priced already: what another crawler has published, or what comes again. Pure.

All values of a row have to come from one book, so only the first copy is priced. A copy has the key of a row, and adds
no id to it: ids that nobody priced are never passed over, and ids that begin anew have new times. Nor does it bring a
model where the row has none: a crawler that was started two minutes ago must not take it from the rows of another one.
"""

from collections import OrderedDict

from fairprice.messages import Book

ROWS = 100
"""Rows remembered of a symbol: ten seconds of a busy one, many times what two crawlers are apart. What is forgotten is
priced again and writes the same row."""

SYMBOLS = 5000

Priced = tuple[int, int, bool]
"""A first and a last update id, and whether there was a model."""


class Copies:
    """The newest rows of each symbol, by event time; of symbols those heard last."""

    def __init__(self, rows: int = ROWS, symbols: int = SYMBOLS) -> None:
        self._rows = rows
        self._symbols = symbols
        self._priced: OrderedDict[tuple[str, str], dict[int, Priced]] = OrderedDict()

    def is_copy(self, book: Book) -> bool:
        """Return whether a row of this time covers the book's ids, and its model if it has one."""
        rows = self._priced.get((book.venue, book.symbol))
        row = rows.get(book.event_time) if rows else None
        if row is None or (book.model and not row[2]):
            return False
        return row[0] <= book.first_update_id and book.update_id <= row[1]

    def add(self, book: Book) -> None:
        """Note that the book's price takes the place of what was there."""
        key = book.venue, book.symbol
        rows = self._priced.setdefault(key, {})
        self._priced.move_to_end(key)
        rows.pop(book.event_time, None)
        rows[book.event_time] = book.first_update_id, book.update_id, book.model is not None
        if len(rows) > self._rows:
            del rows[next(iter(rows))]
        if len(self._priced) > self._symbols:
            self._priced.popitem(last=False)

    def forget(self) -> None:
        """Forget everything: what was to be published may not have been."""
        self._priced.clear()
