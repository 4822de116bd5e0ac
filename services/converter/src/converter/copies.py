"""Knows a book that adds nothing to what was priced: another crawler's copy of it, or one that comes again. Pure.

All values of a row have to come from one book, so only the first copy is priced. Ids that nobody priced are never
passed over, and ids that begin anew have new times. Nor is a copy that brings a model where its row has none: a crawler
that was started two minutes ago must not take it from the rows of another one.

Two stream servers may cut the same market into diffs at different ids. The state at an id is the same, whoever tells
it: a book that ends where a row of another time does is passed over as well, or it would be there twice. Where two
books that end at different ids have one time, and so one row, the one that ends later stays, and its row begins where
the other one's does: the ids of both are in it. So two crawlers that miss nothing leave no hole, in whatever order they
come.
"""

from collections import OrderedDict

from fairprice.messages import Book

ROWS = 100
"""Rows remembered of a symbol: ten seconds of a busy one, many times what two crawlers are apart. What is forgotten is
priced again and writes the same row."""

RUNS = 8
"""Unbroken runs of ids remembered of a symbol: where one crawler has a hole, the other may still bring what lies before
it."""

SYMBOLS = 5000

CUT_TIME = 1_000_000
"""Microseconds between the times that two stream servers give the state at one id, at most: a window of a slow stream.
Ids that begin anew are proven no sooner."""

Ids = tuple[int, int]
"""A first and a last update id."""

Row = tuple[int, int, bool]
"""A first and a last update id, and whether there was a model."""


class Copies:
    """The newest rows of each symbol; of symbols those heard last."""

    def __init__(self, rows: int = ROWS, symbols: int = SYMBOLS) -> None:
        self._rows = rows
        self._symbols = symbols
        self._priced: OrderedDict[tuple[str, str], _Rows] = OrderedDict()

    def is_copy(self, book: Book) -> bool:
        """Return whether rows that stand cover the book's ids, and one of them tells the same state or a later one."""
        rows = self._priced.get((book.venue, book.symbol))
        return rows is not None and rows.have(book)

    def add(self, book: Book) -> int:
        """Note that the book's price takes the place of what was there; return the first id of its row."""
        key = book.venue, book.symbol
        rows = self._priced.setdefault(key, _Rows(self._rows))
        self._priced.move_to_end(key)
        if len(self._priced) > self._symbols:
            self._priced.popitem(last=False)
        return rows.put(book)

    def forget(self) -> None:
        """Forget everything: what was to be published may not have been."""
        self._priced.clear()


class _Rows:
    """The newest rows of one symbol, by event time, and the newest unbroken runs of ids that rows cover."""

    __slots__ = ("_ends", "_kept", "_rows", "_runs")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._rows: dict[int, Row] = {}
        self._ends: dict[int, int] = {}
        """By last id the time of its row."""
        self._runs: list[Ids] = []

    def have(self, book: Book) -> bool:
        first, last = book.first_update_id, book.update_id
        row = self._rows.get(book.event_time)
        if row and row[1] == last and book.model and not row[2]:
            return False
        if row and row[0] <= first and last <= row[1]:
            return True
        told = self._ends.get(last)
        if told is not None and abs(book.event_time - told) > CUT_TIME:
            told = None
        if told is not None and self._rows[told][0] <= first:
            return True
        is_covered = any(begin <= first and last <= end for begin, end in self._runs)
        return is_covered and (told is not None or (row is not None and last < row[1]))

    def put(self, book: Book) -> int:
        time, first, last = book.event_time, book.first_update_id, book.update_id
        before = self._rows.pop(time, None)
        if before:
            self._ends.pop(before[1], None)
            if self._joins(before, first, last):
                first = min(first, before[0])
            else:
                self._runs = [run for run in self._runs if not _touch(run, before[0], before[1])]  # it was part of one
        self._rows[time] = first, last, book.model is not None
        self._ends[last] = time
        self._extend(first, last)
        if len(self._rows) > self._kept:
            _, oldest, _ = self._rows.pop(next(iter(self._rows)))
            self._ends.pop(oldest, None)
        return first

    def _joins(self, before: Row, first: int, last: int) -> bool:
        """Return whether a row from the first id of the one `before` to this last one claims only what is covered."""
        known = max((end for begin, end in self._runs if begin <= before[0] <= end), default=before[1])
        return last >= before[1] and first <= known + 1

    def _extend(self, first: int, last: int) -> None:
        joined = [run for run in self._runs if _touch(run, first, last)]
        others = [run for run in self._runs if run not in joined]
        run = min([first, *(begin for begin, _ in joined)]), max([last, *(end for _, end in joined)])
        self._runs = [*others[1 - RUNS :], run]


def _touch(run: Ids, first: int, last: int) -> bool:
    """Return whether ids are in a run or right beside it."""
    return first <= run[1] + 1 and last >= run[0] - 1
