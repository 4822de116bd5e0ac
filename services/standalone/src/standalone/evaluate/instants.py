"""A market at the instants of a grid: at each of them what was known then, nothing that came later. Pure.

An instant takes the last ticker and the last book up to and including itself, so events that crowd into busy moments
weigh no more than quiet ones. Instants of one segment follow each other without a hole; a pair of instants of different
segments tells nothing. A segment ends where ids are missing, where something was lost, after ten seconds in which
nothing came, and where there is no mid.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from math import nan

STEP = 100_000
"""Microseconds between two instants."""

SILENCE = 10_000_000
"""Microseconds without any event of the symbol after which nobody knows whether it was quiet or not recorded."""

LIVE = "live_"
"""What the names of values begin with that were made of a book with the newest top put in."""

Values = Mapping[str, float | None]


def made_for(estimator: str, horizon: int) -> str:
    """Return the name of the values of an estimator that were made for one horizon, microseconds."""
    return f"{estimator}_{horizon // 1000}ms"


class Instants:
    """Columns with a number an instant, NaN where there is none.

    `times` are microseconds, `segments` numbers of segments, `mid` is the newest mid that anybody could know, `own` the
    mid of the book that `values` were made of: estimates and ends of bands by their names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.times = array("q")
        self.segments = array("q")
        self.mid = array("d")
        self.own = array("d")
        self.values = {name: array("d") for name in names}

    def __len__(self) -> int:
        return len(self.times)

    def estimates(self, estimator: str, horizon: int) -> "array[float]":
        """Return the estimates for a horizon of so many microseconds: those made for it, or else those for any."""
        return self.values.get(made_for(estimator, horizon), self.values[estimator])

    def add(self, time: int, segment: int, mid: float, own: float, values: Values) -> None:
        """Add an instant behind the others."""
        self.times.append(time)
        self.segments.append(segment)
        self.mid.append(mid)
        self.own.append(own)
        for name, column in self.values.items():
            value = values.get(name)
            column.append(nan if value is None else value)

    def forget_after(self, time: int) -> None:
        """Drop the instants behind this time."""
        kept = bisect_right(self.times, time)
        for integers in (self.times, self.segments):
            del integers[kept:]
        for column in (self.mid, self.own, *self.values.values()):
            del column[kept:]


class Sampler:
    """Makes instants of the events of one symbol, told in the order in which they came; all times in microseconds.

    With `has_tickers` the newest mid is that of the tickers, else that of the newest book. `live` is asked at each
    instant for what is known beside the book's values.
    """

    def __init__(self, names: Iterable[str], *, has_tickers: bool, live: Callable[[], Values] = dict) -> None:
        self.instants = Instants(names)
        self.books = 0
        self.tickers = 0
        self.breaks = 0
        self._has_tickers = has_tickers
        self._live = live
        self._time: int | None = None
        self._mid: float | None = None
        self._book: Values = {}
        self._book_time = 0
        self._update_id: int | None = None
        self._segment = 0

    def ticker(self, time: int, mid: float | None) -> None:
        """Take the mid of a ticker; None where a side is empty."""
        self._advance(time)
        self.tickers += 1
        self._mid = mid

    def book(self, time: int, first_update_id: int, update_id: int, values: Values) -> None:
        """Take what was made of a book; the ids are those that it adds to the one before it."""
        self._advance(time)
        if self._update_id is not None and first_update_id != self._update_id + 1:
            self.instants.forget_after(self._book_time)  # the book of before was not the exchange's any more
            self._break()
        self.books += 1
        self._update_id, self._book, self._book_time = update_id, values, time
        if not self._has_tickers:
            self._mid = values.get("mid")

    def lose(self, time: int) -> None:
        """Note that something may be missing from here on."""
        self._advance(time)
        self._mid, self._book = None, {}
        self._break()

    def _advance(self, time: int) -> None:
        """Go on to this time: what was known holds up to it."""
        since, self._time = self._time, time if self._time is None else max(time, self._time)
        if since is None:
            return
        if time - since > SILENCE:
            self._mid = None if self._has_tickers else self._mid
            self._break()
            return
        for instant in range(-(-since // STEP) * STEP, time, STEP):
            self._add(instant)

    def _add(self, instant: int) -> None:
        own = self._book.get("mid")
        if self._mid is None or own is None:
            self._segment += 1
        else:
            self.instants.add(instant, self._segment, self._mid, own, {**self._book, **self._live()})

    def _break(self) -> None:
        self.breaks += 1
        self._segment += 1
