"""`storer rescue FILE`: copies what can be read of a damaged SQLite file into a new one beside it.

SQLite's own `.recover` is not in every build of its program. Rows lie in the order of their key, in pages of their own:
behind a page that cannot be read the next ones can, and are found by their times.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fairprice.errors import StartupError
from fairprice.sqlite_keys import following_key
from storer.stores.port import NEVER, Key, Row
from storer.stores.sql import KEY, quoted

DESCRIPTION = (
    "Copies what can be read of a damaged SQLite file into a new one beside it, FILE.rescued, and tells what is lost. "
    "The damaged file is left as it is."
)
SECOND = 1_000_000
DAY = 86_400 * SECOND


def rescue(path: Path, show: Callable[[str], None]) -> Path:
    """Copy what can be read of the file at `path`, `show` what came of each table, and return the new file.

    Raises `StartupError` where nothing can be read, or where there is a rescued file already. Waits for the disk.
    """
    target = path.with_name(f"{path.name}.rescued")
    if target.exists():
        raise StartupError(f"{target} is there already; move it away, or use it")
    try:
        with closing(_opened(path)) as damaged, closing(sqlite3.connect(target)) as rescued:
            tables = damaged.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
            ).fetchall()
            for pragma in ("page_size", "application_id"):
                rescued.execute(f"PRAGMA {pragma} = {damaged.execute(f'PRAGMA {pragma}').fetchone()[0]}")
            ours = [_Table(damaged, name) for name, _ in tables if _columns(damaged, name) >= set(KEY)]
            keys = sorted({key for table in ours for key in _keys(damaged, table.name)})
            first = min((time for table in ours for key in keys if (time := table.first(key))), default=DAY)
            for _, statement in tables:
                rescued.execute(statement)
            for table in ours:
                show(_copied(table, rescued, keys, first - DAY))
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        raise StartupError(f"{path} cannot be rescued: {error}; take a backup, or begin a new file") from error
    return target


@dataclass(slots=True)
class _Table:
    """A table of the damaged file; `holes` are the times between which rows of a symbol cannot be read."""

    connection: sqlite3.Connection
    name: str
    holes: list[tuple[Key, int, int]] = field(default_factory=list)

    def rows(self, key: Key, start: int) -> Iterator[Row]:
        """Yield the rows of a symbol that can be read from a time on, the time first and then all columns."""
        while start < NEVER:
            try:
                for row in self.connection.execute(self._query("time, *"), (*key, start)):
                    start = row[0] + 1
                    yield row
            except sqlite3.DatabaseError:
                begin, start = start, self._next_readable(key, start)
                self.holes.append((key, begin, start))
            else:
                return

    def first(self, key: Key) -> int | None:
        """Return the time of the first row of a symbol, None where there is none or it cannot be read."""
        with suppress(sqlite3.DatabaseError):
            for (time,) in self.connection.execute(self._query("time"), (*key, 0)):
                return int(time)
        return None

    def _next_readable(self, key: Key, unreadable: int) -> int:
        """Return about the first time from which on a row can be read, to a second, or `NEVER`."""
        step = SECOND
        while not self._is_readable(key, min(unreadable + step, NEVER)):
            step *= 2
        readable = min(unreadable + step, NEVER)
        while readable - unreadable > SECOND:
            middle = (readable + unreadable) // 2
            if self._is_readable(key, middle):
                readable = middle
            else:
                unreadable = middle
        return readable

    def _is_readable(self, key: Key, start: int) -> bool:
        if start >= NEVER:
            return True
        try:
            self.connection.execute(self._query("*"), (*key, start)).fetchone()
        except sqlite3.DatabaseError:
            return False
        return True

    def _query(self, columns: str) -> str:
        return f"SELECT {columns} FROM {quoted(self.name)} WHERE venue = ? AND symbol = ? AND time >= ? ORDER BY time"  # noqa: S608


def _opened(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA writable_schema = ON")  # else nothing is read of a file that is cut off
    return connection


def _keys(connection: sqlite3.Connection, table: str) -> Iterator[Key]:
    """Yield the venues and symbols of a table, from both ends as far as they can be read."""
    for backwards, key in ((False, ("", "")), (True, ("\U0010ffff", ""))):
        query = following_key(quoted(table), backwards=backwards)
        with suppress(sqlite3.DatabaseError):
            while key := connection.execute(query, key).fetchone():
                yield key


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({quoted(table)})")}


def _copied(table: _Table, rescued: sqlite3.Connection, keys: list[Key], start: int) -> str:
    """Copy the rows of a table, and return how many there were and what is lost."""
    places = ", ".join("?" for _ in _columns(rescued, table.name))
    before = rescued.total_changes
    for key in keys:
        rows = (row[1:] for row in table.rows(key, start))
        rescued.executemany(f"INSERT OR IGNORE INTO {quoted(table.name)} VALUES ({places})", rows)  # noqa: S608
        rescued.commit()
    lost = "".join(f"\n  lost of {'/'.join(key)}: {_moment(begin)} {_until(end)}" for key, begin, end in table.holes)
    return f"{table.name}: {rescued.total_changes - before:,} rows{lost}"


def _until(end: int) -> str:
    return "and all behind it" if end >= NEVER else f"to {_moment(end)}"


def _moment(time: int) -> str:
    return f"{datetime.fromtimestamp(time // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
