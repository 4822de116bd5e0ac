"""A store of one JSON file, for `docs/adding-a-store.md`: every rule of the port in its smallest form.

The whole file is written anew with each batch, so it is for a few thousand rows.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from fairprice.errors import StartupError, StoreUnavailable
from fairprice.runtime.worker import Worker
from storer.measurements import REVISION, Point
from storer.stores.port import Rejection

Key = tuple[str, str, str, int]
Row = dict[str, Any]

LARGEST = 2**63 - 1


async def open_json(path: Path) -> "JsonStore":
    """Open the file at `path`; raises `StartupError` when it cannot be written, or is of another kind."""
    worker = Worker("json")
    try:
        rows = await worker.do(lambda: _read(path))
        await worker.do(lambda: _save(path, rows))
    except (OSError, ValueError, TypeError, KeyError) as error:
        worker.end()
        raise StartupError(f"cannot store in {path}: {error}") from error
    return JsonStore(path, rows, worker)


class JsonStore:
    """See `Store`; made by `open_json`."""

    def __init__(self, path: Path, rows: dict[Key, Row], worker: Worker) -> None:
        self._path = path
        self._rows = rows
        self._worker = worker

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        """See `Store.write`."""
        return await self._worker.do(lambda: self._write(points))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._worker.do(lambda: self._write(()))

    async def keys(self, measurement: str, start: int, stop: int) -> list[tuple[str, str]]:
        """See `Reader.keys`."""
        inside = [key for key in self._rows if key[0] == measurement and start <= key[3] < stop]
        return sorted({(venue, symbol) for _, venue, symbol, _ in inside})

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[tuple[Any, ...]]:
        """See `Reader.rows`; they are in memory already."""
        series = (measurement, venue, symbol)
        for time in sorted(key[3] for key in self._rows if key[:3] == series and start <= key[3] < stop):
            row = self._rows[*series, time]
            yield (time, *(row.get(field) for field in fields))

    async def fields(self, measurement: str) -> list[str]:
        """See `Reader.fields`."""
        return sorted({name for key, row in self._rows.items() if key[0] == measurement for name in row})

    async def last(
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int
    ) -> tuple[Any, ...] | None:
        """See `Reader.last`."""
        rows = [row async for row in self.rows(measurement, fields, venue, symbol, -LARGEST, before)]
        return rows[-1] if rows else None

    async def close(self) -> None:
        """See `Store.close`."""
        try:
            async with asyncio.timeout(3):
                await self._worker.do(lambda: None)  # what was begun is done before
        except TimeoutError:
            pass
        finally:
            self._worker.end()

    def _write(self, points: Sequence[Point]) -> list[Rejection]:
        """Keep the points or none of them; the worker does one batch after the other."""
        rows = dict(self._rows)
        rejections = []
        for index, point in enumerate(points):
            if reason := _why_never(point):
                rejections.append(Rejection(index, reason))
            else:
                _keep(rows, point)
        try:
            _save(self._path, rows)
        except OSError as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        self._rows = rows
        return rejections


def _keep(rows: dict[Key, Row], point: Point) -> None:
    """Let a point take the place of the one with its key, unless that one is a later revision."""
    key = (point.measurement, point.venue, point.symbol, point.time)
    revision = REVISION.get(point.measurement)
    if key not in rows or revision is None or rows[key][revision] <= point.fields[revision]:
        values = {**point.fields, **{name: text and float(text) for name, text in point.decimals.items()}}
        before = rows.get(key, {})
        rows[key] = {**before, **{name: value for name, value in values.items() if value is not None}}


def _why_never(point: Point) -> str | None:
    """Return why no repetition would bring this point in, None where it can be kept."""
    if not 0 <= point.time <= LARGEST:
        return f"the time {point.time} is out of range"
    for name, value in point.fields.items():
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            return f"{name} is out of range: {value}"
        if isinstance(value, str) and not _is_unicode(value):
            return f"{name} is no text: {value!r}"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path) -> dict[Key, Row]:
    if not path.exists():
        return {}
    return {
        (row["measurement"], row["venue"], row["symbol"], row["time"]): row["fields"]
        for row in orjson.loads(path.read_bytes())
    }


def _save(path: Path, rows: dict[Key, Row]) -> None:
    """Put the new file in the place of the old one, whole and on the disk, or leave the old one."""
    listed = [
        {"measurement": measurement, "venue": venue, "symbol": symbol, "time": time, "fields": fields}
        for (measurement, venue, symbol, time), fields in rows.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(orjson.dumps(listed))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
