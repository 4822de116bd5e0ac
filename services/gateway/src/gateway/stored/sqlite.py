"""The history in a SQLite file, which is opened to read only, for each question anew: a file may come, go and change.

Each question runs in one thread beside the event loop, one after the other.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from fairprice.errors import StoreUnavailable
from fairprice.runtime.worker import Worker
from fairprice.sqlite_keys import following_key
from gateway.key import Key
from gateway.stored.port import LONGEST_GAP, MOST_GAPS, Bar, Compared, StoredGap

Answer = TypeVar("Answer")

PATIENCE = 1.0
"""Seconds to wait while somebody else holds the database."""

LOOK_UP = 10_000
"""Instructions of SQLite's machine, some 0.1 ms, after which a question looks whether anybody waits for it still."""

_OF_SYMBOL = "venue = :venue AND symbol = :symbol"
_IN_PERIOD = f"{_OF_SYMBOL} AND time >= :start AND time < :stop"

_NEWEST = f"SELECT max(time) FROM {{table}} WHERE {_OF_SYMBOL} AND time < :stop"  # noqa: S608  what is put in is written here
_BARS = f"""
    WITH step AS (
        SELECT time / :step * :step AS begin, min(time) AS first, max(time) AS last, max({{high}}) AS high,
            min({{low}}) AS low, avg(spread) AS spread, {{count}} AS count, count(*) AS rows
        FROM {{table}} WHERE {_IN_PERIOD} AND {{trusted}} GROUP BY begin
    )
    SELECT begin, opening.{{open}}, step.high, step.low, closing.{{close}}, step.spread, step.count, {{minutes}}
    FROM step
    JOIN {{table}} AS opening ON opening.venue = :venue AND opening.symbol = :symbol AND opening.time = step.first
    JOIN {{table}} AS closing ON closing.venue = :venue AND closing.symbol = :symbol AND closing.time = step.last
    ORDER BY begin
"""  # noqa: S608  what is put in is written here
_TICKS = {
    "table": "fair_price", "open": "price", "high": "price", "low": "price", "close": "price", "count": "count(*)",
    "minutes": "1", "trusted": "price IS NOT NULL AND status IN ('ok', 'locked')",
}  # fmt: skip
_MINUTES = {
    "table": "fair_price_1m", "open": "open", "high": "high", "low": "low", "close": "close", "count": "sum(count)",
    "minutes": "step.rows", "trusted": "open IS NOT NULL",
}  # fmt: skip
_CLOSE = f"SELECT close FROM fair_price_1m WHERE {_IN_PERIOD} AND close IS NOT NULL ORDER BY time DESC LIMIT 1"  # noqa: S608
_COMPARED = f"""
    SELECT time / :step * :step AS begin, sum({{tops}} > 0), sum(coalesce({{wrong}}, 0) + coalesce({{levels_wrong}}, 0))
    FROM audit WHERE {_IN_PERIOD} GROUP BY begin ORDER BY begin
"""  # noqa: S608  what is put in is written here
_GAPS = f"""
    SELECT time, time + CAST(duration_ms * 1000 AS INTEGER) AS until, from_update_id, to_update_id, reason, open_ids
    FROM gap WHERE {_OF_SYMBOL} AND time >= :oldest AND time < :stop AND until >= :start AND open_ids > 0
    ORDER BY time DESC LIMIT {MOST_GAPS}
"""  # noqa: S608  what is put in is written here

_NOT_THERE = ("no such table", "no such column")
"""A file of an older layout, or one into which nothing of the kind was stored yet."""


class SqliteHistory:
    """See `History`; `path` need not lead to a file yet."""

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._worker = Worker("history")

    async def keys(self) -> list[Key]:
        """See `History.keys`."""
        return await self._do(partial(_keys, table="fair_price"))

    async def newest(self, key: Key) -> int | None:
        """See `History.newest`."""
        return await self._newest("fair_price", key, 2**62)

    async def ticks(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """See `History.ticks`."""
        return [Bar(*row) for row in await self._select(_BARS.format_map(_TICKS), key, start, stop, step)]

    async def minutes(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """See `History.minutes`."""
        rows = await self._select(_BARS.format_map(_MINUTES), key, start, stop, step)
        return [Bar._make(row)._replace(prices=int(row[6])) for row in rows]

    async def newest_minute(self, key: Key, before: int) -> int | None:
        """See `History.newest_minute`."""
        return await self._newest("fair_price_1m", key, before)

    async def closes(self, start: int, stop: int) -> dict[Key, float]:
        """See `History.closes`."""
        return await self._do(partial(_closes, start=start, stop=stop))

    async def compared(self, key: Key, start: int, stop: int, step: int) -> list[Compared]:
        """See `History.compared`."""
        columns = {row[1] for row in await self._do(partial(_rows, query="PRAGMA table_info(audit)", values={}))}
        # a count that was zero in every row has no column
        counts = {name: name if name in columns else "NULL" for name in ("tops", "wrong", "levels_wrong")}
        rows = await self._select(_COMPARED.format_map(counts), key, start, stop, step)
        return [Compared(time, minutes or 0, int(wrong)) for time, minutes, wrong in rows]

    async def gaps(self, key: Key, start: int, stop: int) -> list[StoredGap]:
        """See `History.gaps`."""
        return [StoredGap(*row) for row in reversed(await self._select(_GAPS, key, start, stop, 1))]

    async def close(self) -> None:
        """See `History.close`."""
        self._worker.end()

    async def _newest(self, table: str, key: Key, before: int) -> int | None:
        rows = await self._select(_NEWEST.format(table=table), key, 0, before, 1)
        return rows[0][0] if rows else None

    async def _select(self, query: str, key: Key, start: int, stop: int, step: int) -> list[Any]:
        values = {**key._asdict(), "start": start, "stop": stop, "step": step, "oldest": start - LONGEST_GAP}
        return await self._do(partial(_rows, query=query, values=values))

    async def _do(self, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Return the answer; one that is not waited for any more is interrupted, so that the next gets its turn."""
        given_up = Event()
        try:
            return await self._worker.do(partial(self._ask, question, given_up))
        finally:
            given_up.set()

    def _ask(self, question: Callable[[sqlite3.Connection], Answer], given_up: Event) -> Answer:
        try:
            with closing(_connect(self._path, self._patience)) as connection:
                # not interrupt(), which does nothing to a statement that is just about to begin
                connection.set_progress_handler(given_up.is_set, LOOK_UP)
                return question(connection)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"the history in {self._path} cannot be read: {error}") from error


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    if not path.is_file():
        raise FileNotFoundError("there is no such file yet; the storer makes it")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=patience, isolation_level=None)


def _rows(connection: sqlite3.Connection, query: str, values: Mapping[str, object] | Key) -> list[Any]:
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if str(error).startswith(_NOT_THERE):
            return []
        raise


def _closes(connection: sqlite3.Connection, start: int, stop: int) -> dict[Key, float]:
    found = {}
    for key in _keys(connection, table="fair_price_1m"):
        values = {**key._asdict(), "start": start, "stop": stop}
        for (close,) in _rows(connection, _CLOSE, values):
            found[key] = close
    return found


def _keys(connection: sqlite3.Connection, table: str) -> list[Key]:
    """Step from key to key by the index, which takes no longer with more rows of each."""
    found: list[Key] = []
    key = Key("", "")
    while rows := _rows(connection, following_key(table), key):
        key = Key(*rows[0])
        found.append(key)
    return found
