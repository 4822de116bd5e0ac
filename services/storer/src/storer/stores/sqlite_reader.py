"""Reading points from a SQLite file, a page at a time, so that whoever writes never waits for long."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

from fairprice.errors import StartupError, StoreUnavailable
from fairprice.runtime.worker import Worker
from fairprice.sqlite_keys import following_key
from storer.stores.origin import origin_of
from storer.stores.port import Key, Row
from storer.stores.sql import KEY, quoted
from storer.stores.sqlite_damage import explained

PAGE = 20_000
"""Rows that are read at once: some hundredths of a second."""

_FARTHEST = 2**63 - 1

Connect = Callable[[], sqlite3.Connection]


async def open_sqlite_reader(path: Path, *, patience: float = 5.0) -> "SqliteReader":
    """Open the database at `path` to read only; raises `StartupError` where there is none.

    `patience` is how many seconds to wait while somebody else holds the database.
    """
    worker = Worker("sqlite")
    try:
        connection = await worker.do(partial(_connect, path, patience))
    except (OSError, sqlite3.Error) as error:
        worker.end()
        raise StartupError(f"cannot read {path}: {explained(path, error)}") from error
    return SqliteReader(path, worker, lambda: connection)


class SqliteReader:
    """See `Reader`; `connect` returns the connection, which is used in the worker's thread only."""

    def __init__(self, path: Path, worker: Worker, connect: Connect, *, page: int = PAGE) -> None:
        self._path = path
        self._worker = worker
        self._connect = connect
        self._page = page

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """See `Reader.keys`."""
        return await self._worker.do(partial(self._keys, measurement, start, stop))

    async def fields(self, measurement: str) -> list[str]:
        """See `Reader.fields`."""
        return await self._worker.do(lambda: sorted(self._columns(measurement) - set(KEY)))

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """See `Reader.rows`."""
        while True:
            period = (venue, symbol, start, stop)
            page = await self._worker.do(partial(self._rows, measurement, fields, period, "ASC", self._page))
            for row in page:
                yield row
            if len(page) < self._page:
                return
            start = page[-1][0] + 1

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """See `Reader.last`."""
        period = (venue, symbol, -_FARTHEST, before)
        rows = await self._worker.do(partial(self._rows, measurement, fields, period, "DESC", 1))
        return rows[0] if rows else None

    async def origin(self) -> str | None:
        """Return what the file's rows come from, one of `origin.ORIGINS`; None where it bears no mark."""
        return await self._worker.do(lambda: origin_of(self._connect()))

    async def close(self) -> None:
        """Let the file go."""
        await self._worker.do(lambda: self._connect().close())
        self._worker.end()

    def _keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """Step from key to key by the index, which takes no longer with more rows of each."""
        if not self._columns(measurement):
            return []
        table = quoted(measurement)
        inside = f"SELECT 1 FROM {table} WHERE venue = ? AND symbol = ? AND time >= ? AND time < ? LIMIT 1"  # noqa: S608
        found: list[Key] = []
        key: Key = ("", "")
        while steps := self._select(following_key(table), key):
            key = steps[0]
            if self._select(inside, (*key, start, min(stop, _FARTHEST))):
                found.append(key)
        return found

    def _rows(
        self, measurement: str, fields: Sequence[str], key_and_period: tuple[str, str, int, int], order: str, limit: int
    ) -> list[Row]:
        known = self._columns(measurement)
        if known.isdisjoint(fields):
            return []
        names = ", ".join(quoted(field) if field in known else "NULL" for field in fields)
        query = (
            f"SELECT time, {names} FROM {quoted(measurement)} "  # noqa: S608  every name is quoted
            f"WHERE venue = ? AND symbol = ? AND time >= ? AND time < ? ORDER BY time {order} LIMIT {limit}"
        )
        venue, symbol, start, stop = key_and_period
        return self._select(query, (venue, symbol, start, min(stop, _FARTHEST)))

    def _columns(self, measurement: str) -> set[str]:
        return {row[1] for row in self._select(f"PRAGMA table_info({quoted(measurement)})", ())}

    def _select(self, query: str, values: Sequence[object]) -> list[Row]:
        try:
            return self._connect().execute(query, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"{self._path}: {explained(self._path, error)}") from error


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=patience, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version").fetchone()  # nothing is looked at before
    except sqlite3.Error:
        connection.close()
        raise
    return connection
