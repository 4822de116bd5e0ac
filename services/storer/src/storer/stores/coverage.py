"""How far the rows of a SQLite database tell everything, so that whoever stored them knows where to go on."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

LOOKED_AT = 600_000_000
"""Microseconds before the newest price in which rows may be missing that came by the other queue: gaps."""

_TABLES = {"fair_price", "gap"}
_COVERED = """
    SELECT first_update_id, update_id, time FROM fair_price WHERE venue = :venue AND symbol = :symbol AND time >= :since
    UNION ALL
    SELECT from_update_id, to_update_id, time + CAST(duration_ms * 1000 AS INTEGER) FROM gap
    WHERE venue = :venue AND symbol = :symbol AND time >= :since
"""


def covered_until(path: Path, venue: str) -> dict[str, tuple[int, int]]:
    """Return of each symbol of a venue that has prices the last id behind which no row is missing, and its event time.

    A price or a gap covers its ids. Waits for the disk.
    """
    with closing(sqlite3.connect(path)) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "fair_price" not in found:
            return {}
        query = _COVERED if found >= _TABLES else _COVERED.partition("UNION")[0]
        return {
            symbol: _last_joined(
                connection.execute(query, {"venue": venue, "symbol": symbol, "since": newest - LOOKED_AT})
            )
            for symbol in _symbols(connection, venue)
            if (newest := _newest(connection, venue, symbol)) is not None
        }


def _symbols(connection: sqlite3.Connection, venue: str) -> Iterator[str]:
    """Yield the symbols that have prices; each costs one look at the key, however many rows there are."""
    query = "SELECT min(symbol) FROM fair_price WHERE venue = ? AND symbol > ?"
    symbol: str | None = ""
    while (symbol := connection.execute(query, (venue, symbol)).fetchone()[0]) is not None:
        yield symbol


def _newest(connection: sqlite3.Connection, venue: str, symbol: str) -> int | None:
    query = "SELECT max(time) FROM fair_price WHERE venue = ? AND symbol = ?"
    newest: tuple[int | None] = connection.execute(query, (venue, symbol)).fetchone()
    return newest[0]


def _last_joined(rows: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """Return where the first hole between ranges of ids begins, or the last of them ends."""
    (_, reached, time), *following = sorted(rows)
    for first, last, last_time in following:
        if first > reached + 1:
            break
        if last > reached:
            reached, time = last, last_time
    return reached, time
