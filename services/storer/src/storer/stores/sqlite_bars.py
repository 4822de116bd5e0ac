"""Bars of a minute in a SQLite file, as the task `fair_price_1m` makes them inside InfluxDB.

A bar is a function of its minute's rows. It is made when a later minute has begun, and again after a price that came
late, unless rows of the minute have been removed since. What a process that was killed has left is made by the next
one, an hour's bars with each write, and nothing newer before all of that: what has no bar yet always lies behind the
newest bar.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from storer.measurements import FAIR_PRICE, Point
from storer.stores.port import Key
from storer.stores.sql import create_table

BARS = "fair_price_1m"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
"""Microseconds."""

NEEDED = {"price", "spread", "status"}
"""Columns of prices without which there are no bars."""

_TABLE = create_table(
    BARS, ("open REAL", "high REAL", "low REAL", "close REAL", "spread REAL", "count REAL"), "IF NOT EXISTS"
)
_MAKE = f"""
    WITH bar AS (
        SELECT time / {MINUTE} * {MINUTE} AS begin, min(time) AS first, max(time) AS last, max(price) AS high,
            min(price) AS low, avg(spread) AS spread, count(*) AS count
        FROM fair_price
        WHERE venue = :venue AND symbol = :symbol AND time >= :start AND time < :stop
            AND price IS NOT NULL AND status IN ('ok', 'locked')
        GROUP BY begin
    )
    INSERT INTO {BARS} (venue, symbol, time, open, high, low, close, spread, count)
    SELECT :venue, :symbol, begin, opening.price, high, low, closing.price, bar.spread, count
    FROM bar
    JOIN fair_price AS opening ON opening.venue = :venue AND opening.symbol = :symbol AND opening.time = bar.first
    JOIN fair_price AS closing ON closing.venue = :venue AND closing.symbol = :symbol AND closing.time = bar.last
    WHERE true
    ON CONFLICT (venue, symbol, time) DO UPDATE SET open = excluded.open, high = excluded.high, low = excluded.low,
        close = excluded.close, spread = excluded.spread, count = excluded.count
    WHERE excluded.count >= {BARS}.count
"""  # noqa: S608  what is put in is written here
"""A bar of more prices is never replaced by one of fewer: rows come and only retention takes them away."""
_LAST_BAR = f"SELECT max(time) FROM {BARS} WHERE venue = ? AND symbol = ?"  # noqa: S608
_FIRST_PRICE = "SELECT min(time) FROM fair_price WHERE venue = ? AND symbol = ?"


class Bars:
    """Which minutes of which symbols have still to be made; used in the thread of the connection only."""

    def __init__(self) -> None:
        self._touched: defaultdict[Key, set[int]] = defaultdict(set)
        self._behind: dict[Key, tuple[int, int]] = {}
        """Periods that an earlier process has left, by symbol."""
        self._seen: set[Key] = set()

    def note(self, connection: sqlite3.Connection, points: Iterable[Point]) -> None:
        """Note that prices were stored, in the transaction that stores them, and make the bars that are due."""
        noted: set[Key] = set()
        for point in points:
            if point.measurement == FAIR_PRICE:
                key = point.venue, point.symbol
                noted.add(key)
                self._touched[key].add(point.time // MINUTE * MINUTE)
        for key in noted:
            if key not in self._seen:
                self._look_back(connection, key)
            self._make_next(connection, key)

    def finish(self, connection: sqlite3.Connection) -> None:
        """Make those of the minutes that nothing will be added to, since the file is closed."""
        for key, minutes in self._touched.items():
            if key not in self._behind:
                _make(connection, key, minutes)
        self._touched.clear()

    def _look_back(self, connection: sqlite3.Connection, key: Key) -> None:
        connection.execute(_TABLE)
        first = connection.execute(_LAST_BAR, key).fetchone()[0] or connection.execute(_FIRST_PRICE, key).fetchone()[0]
        self._seen.add(key)
        if (start := first // MINUTE * MINUTE) < (stop := max(self._touched[key])):
            self._behind[key] = start, stop

    def _make_next(self, connection: sqlite3.Connection, key: Key) -> None:
        if behind := self._behind.pop(key, None):
            start, stop = behind
            _make_period(connection, key, start, min(start + HOUR, stop))
            if start + HOUR < stop:
                self._behind[key] = start + HOUR, stop
                return
        newest = max(self._touched[key])
        _make(connection, key, self._touched[key] - {newest})
        self._touched[key] = {newest}


def has_what_bars_need(connection: sqlite3.Connection) -> bool:
    """Tell whether the prices have the columns without which there are no bars."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({FAIR_PRICE})")} >= NEEDED


def make_bar(connection: sqlite3.Connection, key: Key, minute: int) -> None:
    """Make the bar of a minute whose rows are about to be removed."""
    connection.execute(_TABLE)
    _make_period(connection, key, minute, minute + MINUTE)


def _make(connection: sqlite3.Connection, key: Key, minutes: Iterable[int]) -> None:
    for minute in minutes:
        _make_period(connection, key, minute, minute + MINUTE)


def _make_period(connection: sqlite3.Connection, key: Key, start: int, stop: int) -> None:
    connection.execute(_MAKE, {"venue": key[0], "symbol": key[1], "start": start, "stop": stop})
