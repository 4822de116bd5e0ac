"""The store of the embedded mode: one SQLite file, a table per measurement.

All SQL runs in one thread of its own, so the event loop never waits for the disk. A file that somebody deletes or moves
can be written to for ever without an error, so each write looks whether the path still leads to the open file.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from fairprice.errors import StartupError, StoreUnavailable
from fairprice.messages import Gap
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.worker import Worker
from storer.measurements import FAIR_PRICE, GAP, Point, gap_point
from storer.stores.origin import OtherOrigin, mark
from storer.stores.port import Key, Rejection, Row
from storer.stores.sql import KEY, Shape, by_shape, columns_of, create_table, quoted, row_of, upsert
from storer.stores.sqlite_bars import NEEDED, Bars
from storer.stores.sqlite_damage import explained, refuse_damaged
from storer.stores.sqlite_reader import SqliteReader
from storer.stores.sqlite_retention import KEEP_ALL, Bounds, Retention

MAX_COLUMNS = 2000
"""SQLite's own limit (https://www.sqlite.org/limits.html)."""

FileId = tuple[int, int] | None
"""Device and inode; None: there is no such file."""

_SUFFIXES = ("", "-wal", "-shm")
"""The database, its write-ahead log and the index of that; whoever opens the path has to find the same three."""

_BAD_ROW = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""What SQLite and its driver raise for a value that cannot be stored; other errors are about the database."""

_NO_GAP = gap_point(Gap("", "", 0, 0, 0, 0, ""))
"""Like the rows of the one table that is there from the start: to whoever asks, no gap is an answer, not an error."""

CLOCK = SystemClock()

log = structlog.get_logger(__name__)


async def open_sqlite(
    path: Path,
    *,
    origin: str | None = None,
    bounds: Bounds = KEEP_ALL,
    wall: Callable[[], int] = CLOCK.wall,
    patience: float = 1.0,
    close_timeout: float = 3.0,
) -> "SqliteStore":
    """Open the database at `path`, making it and its folders where they are missing.

    `origin` is one of `origin.ORIGINS`; where it is given, a file that bears none is marked with it. `bounds` are how
    much it keeps; `wall` is the time of day in microseconds since the epoch.

    `patience` is how many seconds to wait, here and in each write, while somebody else holds the database.
    `close_timeout` is how many seconds closing may take, in which a write that was begun ends.
    Raises `StartupError` when the path is no place for a database, not writable, not a database, damaged, held for
    longer, or of another origin.
    """
    worker = Worker("sqlite")
    connect = partial(_connect, path, patience, origin)
    try:
        database = await worker.do(connect)
    except (OSError, sqlite3.Error) as error:
        worker.end()
        raise StartupError(f"cannot store in {path}: {_explain(path, error)}") from error
    return SqliteStore(path, database, worker, connect, retention=Retention(bounds, wall), close_timeout=close_timeout)


@dataclass(frozen=True, slots=True)
class _Database:
    """An open database and the files behind it, see `_SUFFIXES`."""

    connection: sqlite3.Connection
    files: tuple[FileId, ...]


class SqliteStore:
    """See `Store`; made by `open_sqlite`."""

    def __init__(
        self,
        path: Path,
        database: _Database,
        worker: Worker,
        connect: Callable[[], _Database],
        *,
        retention: Retention,
        close_timeout: float,
    ) -> None:
        self._path = path
        self._connect = connect
        self._close_timeout = close_timeout
        self._database: _Database | None = database
        self._worker = worker
        self._columns: dict[str, set[str]] = {}
        self._rows: Counter[str] = Counter()
        self._bars = Bars()
        self._retention = retention
        self._reader = SqliteReader(path, worker, lambda: self._connection)

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        """See `Store.write`."""
        return await self._worker.do(partial(self._write, points))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._worker.do(partial(self._write, ()))

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """See `Reader.keys`."""
        return await self._reader.keys(measurement, start, stop)

    async def fields(self, measurement: str) -> list[str]:
        """See `Reader.fields`."""
        return await self._reader.fields(measurement)

    def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """See `Reader.rows`."""
        return self._reader.rows(measurement, fields, venue, symbol, start, stop)

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """See `Reader.last`."""
        return await self._reader.last(measurement, fields, venue, symbol, before)

    async def close(self) -> None:
        """See `Store.close`."""
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._worker.do(self._close)
        except TimeoutError:
            log.error("the database does not answer; it is left as it is", path=str(self._path))  # noqa: TRY400
        finally:
            self._worker.end()

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection; opened where there is none, since the last try after a loss failed."""
        if self._database is None:
            self._database = self._connect()
        return self._database.connection

    def _write(self, points: Sequence[Point]) -> list[Rejection]:
        try:
            self._replace_lost_file()  # first: one that was deleted to make room keeps its room until it is closed
            rejections = self._write_transaction(points)
            while self._replace_lost_file():
                rejections = self._write_transaction(points)  # what was written has gone with the file
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"{self._path}: {explained(self._path, error)}") from error
        self._rows.update(point.measurement for point in points)
        self._rows.subtract(points[rejection.index].measurement for rejection in rejections)
        return sorted(rejections, key=lambda rejection: rejection.index)

    def _write_transaction(self, points: Sequence[Point]) -> list[Rejection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            rejections = [
                rejection for shape, rows in by_shape(points).items() for rejection in self._insert(shape, rows)
            ]
            refused = {rejection.index for rejection in rejections}
            kept = [point for index, point in enumerate(points) if index not in refused] if refused else points
            self._make_bars(connection, kept)
            self._retention.remove(connection, kept)
            connection.execute("COMMIT")
        except sqlite3.Error:
            self._bars = Bars()  # what was noted is found again in the rows
            self._columns.clear()  # a table or column made in this transaction is gone again
            self._retention.forget()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return rejections

    def _replace_lost_file(self) -> bool:
        """Open the path again where it does not lead to the open files any more; return whether that was so."""
        lost = self._database
        if lost is None or lost.files == _file_ids(self._path):
            return False
        has_moved = lost.files[0] != _file_id(self._path)
        self._empty_log()
        self._close()
        if has_moved:
            _remove_remains(self._path, lost.files)
            log.error(
                "the database file was deleted, moved or replaced; storing goes on in the file at its place",
                path=str(self._path),
                rows_gone=dict(+self._rows),
            )
            self._rows.clear()
        else:
            log.warning("the database's write-ahead log was deleted; its rows were saved", path=str(self._path))
        self._database = self._connect()
        return True

    def _close(self) -> None:
        if self._database:
            connection, self._database = self._database.connection, None
            self._columns.clear()
            self._retention.forget()
            self._finish_bars(connection)
            connection.close()

    def _make_bars(self, connection: sqlite3.Connection, points: Sequence[Point]) -> None:
        if self._known_columns(FAIR_PRICE) >= NEEDED:
            self._bars.note(connection, points)

    def _finish_bars(self, connection: sqlite3.Connection) -> None:
        bars, self._bars = self._bars, Bars()
        try:
            bars.finish(connection)
        except sqlite3.Error as error:
            log.warning("the last bars are made at the next start", path=str(self._path), error=str(error))

    def _empty_log(self) -> None:
        """Bring the rows of the write-ahead log into the file, even if both were moved."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning("the last rows are missing in the lost file", path=str(self._path), error=str(error))

    def _insert(self, shape: Shape, rows: list[tuple[int, Point]]) -> list[Rejection]:
        measurement, *fields = shape
        if len({*KEY, *self._known_columns(measurement), *fields}) > MAX_COLUMNS:
            reason = f"{measurement} would have more than {MAX_COLUMNS} columns"
            return [Rejection(index, reason) for index, _ in rows]
        self._add_missing_columns(measurement, rows[0][1])
        statement = upsert(measurement, fields)
        try:
            self._connection.executemany(statement, (row_of(point) for _, point in rows))
        except _BAD_ROW:
            return self._insert_singly(statement, rows)  # also those before the bad one: again changes nothing
        return []

    def _insert_singly(self, statement: str, rows: list[tuple[int, Point]]) -> list[Rejection]:
        rejections = []
        for index, point in rows:
            try:
                self._connection.execute(statement, row_of(point))
            except _BAD_ROW as error:
                rejections.append(Rejection(index, f"SQLite takes no such row: {error}"))
        return rejections

    def _add_missing_columns(self, measurement: str, sample: Point) -> None:
        known = self._known_columns(measurement)
        columns = columns_of(sample)
        missing = [column for name, column in columns.items() if name not in known]
        if not known:
            self._connection.execute(create_table(measurement, missing))
        else:
            for column in missing:
                self._connection.execute(f"ALTER TABLE {quoted(measurement)} ADD COLUMN {column}")
        known.update(KEY, columns)

    def _known_columns(self, measurement: str) -> set[str]:
        """Return the table's columns; none where there is no table yet."""
        if measurement not in self._columns:
            rows = self._connection.execute(f"PRAGMA table_info({quoted(measurement)})")
            self._columns[measurement] = {row[1] for row in rows}
        return self._columns[measurement]


def _connect(path: Path, patience: float, origin: str | None) -> _Database:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        if origin:
            mark(connection, origin)
        connection.execute(create_table(GAP, columns_of(_NO_GAP).values(), "IF NOT EXISTS"))
        _add_open_ids(connection)
        connection.execute("COMMIT")
        refuse_damaged(connection)
        return _Database(connection, _file_ids(path))
    except (OSError, sqlite3.Error):
        connection.close()
        raise


def _add_open_ids(connection: sqlite3.Connection) -> None:
    """Bring the gaps of an earlier version up to date: each is open until the rows have been looked at."""
    if all(column != "open_ids" for _, column, *_ in connection.execute(f"PRAGMA table_info({GAP})")):
        connection.execute(f"ALTER TABLE {GAP} ADD COLUMN open_ids INTEGER")
        connection.execute("UPDATE gap SET open_ids = max(1, to_update_id - from_update_id + 1)")


def _file_id(path: Path) -> FileId:
    """Return what tells the file at the path from every other one."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _file_ids(path: Path) -> tuple[FileId, ...]:
    return tuple(_file_id(_beside(path, suffix)) for suffix in _SUFFIXES)


def _remove_remains(path: Path, lost: tuple[FileId, ...]) -> None:
    """Remove what a lost database left beside it: SQLite would apply a log to whatever file is there next."""
    for suffix, file in zip(_SUFFIXES[1:], lost[1:], strict=True):
        if file and file == _file_id(_beside(path, suffix)):
            _beside(path, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _explain(path: Path, error: Exception) -> str:
    if path.is_dir():
        return "it is a folder; name a file with --database"
    if isinstance(error, OSError):
        return f"{error.strerror} ({error.filename}); name another file with --database"
    if isinstance(error, OtherOrigin):
        return f"{error}; name another file with --database"
    if "locked" in str(error):
        return "another program is writing to it; stop that one or name another file with --database"
    if "not a database" in str(error):
        return "the file is something else than a SQLite database; name another file with --database"
    explanation = explained(path, error)
    return explanation if explanation != str(error) else f"{error}; check that the folder and the file are writable"
