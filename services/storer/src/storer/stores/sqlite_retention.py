"""Removal of the oldest rows of a SQLite file, as InfluxDB's retention does it; bars stay.

Each write removes at most twice as many rows as it brings, or a minute of one symbol, so that no write takes long and
more goes than comes. All rows of a symbol's minute go together: the gaps beside what is left are those of its prices.
The minute has its bar before. Pages that become free are used again, so the file stops growing; it does not shrink.

Age is counted from the newest price, or from this machine's clock where that is behind it: neither a clock nor a price
that is far ahead makes rows old.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from fairprice.sqlite_keys import following_key
from storer.measurements import FAIR_PRICE, MEASUREMENTS, Point
from storer.stores.port import Key
from storer.stores.sql import quoted
from storer.stores.sqlite_bars import HOUR, MINUTE, has_what_bars_need, make_bar

LEAST = 1000
"""Rows that a write may remove however few it brings."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Microseconds for which rows are kept, and bytes in use from which on the oldest go earlier; 0 is no bound.

    The newest hour stays whatever the size is.
    """

    age: int = 0
    size: int = 0


KEEP_ALL = Bounds()


class Retention:
    """Which rows of a file have to go; used in the thread of the connection only, inside a transaction."""

    def __init__(self, bounds: Bounds, wall: Callable[[], int]) -> None:
        self._bounds = bounds
        self._wall = wall
        self._tables: set[str] = set()
        self._oldest: dict[Key, int] = {}
        """The minute of the oldest row of each symbol that has any."""
        self._newest = 0
        self._has_looked = False
        self._has_told = False

    def remove(self, connection: sqlite3.Connection, points: Sequence[Point]) -> None:
        """Note the points that were stored and remove what is due, within the bounds of one write."""
        if not points or self._bounds == KEEP_ALL:
            return
        if not self._has_looked:
            self._look(connection)
        self._note(points)
        room = max(LEAST, 2 * len(points))
        while room > 0 and (key := self._due(connection)):
            room -= max(1, self._remove_minute(connection, key))

    def forget(self) -> None:
        """Look at the file again before anything else is removed: another one is there, or a transaction was undone."""
        self._has_looked = False

    def _look(self, connection: sqlite3.Connection) -> None:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._tables = MEASUREMENTS & found
        self._oldest.clear()
        for key in {key for table in self._tables for key in _keys(connection, table)}:
            self._look_at(connection, key)
            if FAIR_PRICE in found:
                self._newest = max(self._newest, _edge(connection, FAIR_PRICE, "max", key) or 0)
        self._has_looked = True

    def _look_at(self, connection: sqlite3.Connection, key: Key) -> None:
        first = [time for table in self._tables if (time := _edge(connection, table, "min", key)) is not None]
        if first:
            self._oldest[key] = min(first) // MINUTE * MINUTE
        else:
            self._oldest.pop(key, None)

    def _note(self, points: Sequence[Point]) -> None:
        for point in points:
            self._tables.add(point.measurement)
            key, minute = (point.venue, point.symbol), point.time // MINUTE * MINUTE
            if self._oldest.setdefault(key, minute) > minute:
                self._oldest[key] = minute
            if point.measurement == FAIR_PRICE and point.time > self._newest:
                self._newest = point.time

    def _due(self, connection: sqlite3.Connection) -> Key | None:
        """Return the symbol that has the oldest row, where that has to go."""
        key = min(self._oldest, key=self._oldest.__getitem__, default=None)
        if key is None:
            return None
        oldest, now = self._oldest[key], min(self._newest, self._wall())
        if self._bounds.age and oldest + MINUTE <= now - self._bounds.age:
            return key
        if self._bounds.size and oldest + HOUR < now and _bytes_in_use(connection) > self._bounds.size:
            self._tell(oldest)
            return key
        return None

    def _remove_minute(self, connection: sqlite3.Connection, key: Key) -> int:
        begin = self._oldest[key]
        if has_what_bars_need(connection):
            make_bar(connection, key, begin)
        removed = 0
        for table in self._tables:
            query = f"DELETE FROM {quoted(table)} WHERE venue = ? AND symbol = ? AND time < ?"  # noqa: S608  quoted
            removed += connection.execute(query, (*key, begin + MINUTE)).rowcount
        self._look_at(connection, key)
        return removed

    def _tell(self, oldest: int) -> None:
        if not self._has_told:
            self._has_told = True
            log.warning(
                "the database is full: its oldest rows go before their time; bars stay. Allow more with "
                "FAIRPRICE_STORE_MAX_SIZE, or follow fewer symbols",
                bytes=self._bounds.size,
                hours_kept=(self._newest - oldest) // HOUR,
            )


def _keys(connection: sqlite3.Connection, table: str) -> Iterator[Key]:
    """Yield the venues and symbols of a table; each costs one look at the key, however many rows there are."""
    key = ("", "")
    while found := connection.execute(following_key(quoted(table)), key).fetchone():
        key = found
        yield key


def _edge(connection: sqlite3.Connection, table: str, edge: str, key: Key) -> int | None:
    """Return the time of the first (`min`) or last (`max`) row of a symbol."""
    query = f"SELECT {edge}(time) FROM {quoted(table)} WHERE venue = ? AND symbol = ?"  # noqa: S608  quoted
    found: tuple[int | None] = connection.execute(query, key).fetchone()
    return found[0]


def _bytes_in_use(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
