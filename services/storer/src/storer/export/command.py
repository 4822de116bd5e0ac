"""`storer export`: its options, what it writes and what it tells."""

import argparse
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fairprice.errors import StartupError, StoreUnavailable
from storer.audit.account import HourOf
from storer.audit.command import minutes, named
from storer.audit.examine import examine, keys
from storer.export.tables import FORMATS, Row, Table
from storer.measurements import FAIR_PRICE, GAP
from storer.stores.origin import EXCHANGE
from storer.stores.port import Key, Reader

PART = 20_000
"""Rows that are held at once."""

HOUR_COLUMNS = ("time", "verdict", "book_minutes", "compared_minutes", "wrong", "missing_ids")

SECOND, MINUTE = 1_000_000, 60_000_000

DESCRIPTION = (
    "Writes what the store of FAIRPRICE_STORE_URL keeps of a symbol into files for other programs: its prices, beside "
    "them its gaps, and what `storer audit` says of each hour. docs/analysis.md tells how to open them."
)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where it is told how far a table is: nowhere, or on a line that is written over."""

    show: Tell | None
    start: int
    stop: int

    def tell(self, name: str, rows: int, time: int) -> None:
        """Tell that so many rows up to this time are written."""
        if self.show:
            part = min(1.0, max(0.0, (time - self.start) / max(1, self.stop - self.start)))
            bar = "#" * round(20 * part)
            self.show(f"\r{name}: [{bar:<20}] {part:4.0%}, {rows:,} rows")

    def end(self) -> None:
        """Leave the line to others."""
        if self.show:
            self.show("\r\x1b[K")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--symbol", nargs="+", action="extend", default=[], metavar="SYMBOL", help="BTCUSDT, or VENUE:BTCUSDT"
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=moment,
        default="1d",
        metavar="TIME",
        help="2026-11-29T10:00Z, or 1d before the end",
    )
    parser.add_argument("--to", dest="stop", type=moment, metavar="TIME", help="the same; as without: now")
    parser.add_argument("--format", choices=sorted(FORMATS), default="csv", help="as without: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="FOLDER", help="where the files go; as without: here"
    )


def moment(text: str) -> int:
    """Return microseconds since the epoch, or the negative of so many before the end of the period."""
    try:
        return -(minutes(text) or 0) * MINUTE
    except argparse.ArgumentTypeError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no time; write 2026-11-29T10:00:00Z, or 30m, 1h, 7d, all"
        ) from error
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * SECOND)


def period(options: argparse.Namespace, now: int) -> tuple[int, int]:
    """Return begin and end in microseconds; raises `StartupError` where that is no period."""
    stop = now if options.stop is None else options.stop if options.stop > 0 else now + options.stop
    start = options.start if options.start > 0 else stop + options.start if options.start else 0
    if start >= stop:
        raise StartupError(f"--from ({_told(start)}) has to be before --to ({_told(stop)})")
    if start >= now:
        raise StartupError(f"--from ({_told(start)}) lies in the future")
    return start, stop


async def export(
    reader: Reader,
    options: argparse.Namespace,
    now: int,
    tell: Tell,
    *,
    show: Tell | None = None,
    origin: str | None = None,
) -> None:
    """Write the files and tell of each; `show` takes the progress, a text that is written over the one before.

    Raises `StartupError` with what to do.
    """
    start, stop = period(options, now)
    if not options.symbol:
        raise StartupError("name what to export: --symbol BTCUSDT")
    files = _Files(options.output, options.format, Progress(show, start, stop), tell)
    when = f"from {_told(start)} to {_told(stop)}"
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        found = await keys(reader, start, stop)
        if not found:
            raise StartupError(f"nothing is stored {when}")
        for key in named(found, options.symbol, f" {when}"):
            for measurement in (FAIR_PRICE, GAP):
                fields = await reader.fields(measurement)
                rows = _rows(reader.rows(measurement, fields, *key, start, stop), key)
                await files.write(key, measurement, ("time", "venue", "symbol", *fields), rows)
            account = await examine(reader, key, start, stop, runs_begin_anew=origin not in {None, EXCHANGE})
            await files.write(key, "hours", HOUR_COLUMNS, _each(map(_hour, account.hours)))
    except StoreUnavailable as error:
        raise StartupError(str(error)) from error
    except OSError as error:
        raise StartupError(f"cannot write into {options.output}: {error.strerror}; name another --output") from error


@dataclass(frozen=True, slots=True)
class _Files:
    folder: Path
    format: str
    progress: Progress
    tell: Tell

    async def write(self, key: Key, name: str, columns: Sequence[str], rows: AsyncIterator[Row]) -> None:
        """Make one file, whole or not at all."""
        path = self.folder / f"{'-'.join(key)}.{name}.{self.format}"
        with FORMATS[self.format](path, columns) as table:
            count = await _pour(rows, table, partial(self.progress.tell, path.name))
        self.progress.end()
        self.tell(f"{path}: {count:,} rows")


async def _pour(rows: AsyncIterator[Row], table: Table, told: Callable[[int, int], None]) -> int:
    """Bring all rows into the table, a part at a time, and return how many they are."""
    count, part = 0, []
    async for row in rows:
        part.append(row)
        if len(part) == PART:
            table.write(part)
            count += PART
            told(count, row[0])
            part = []
    table.write(part)
    return count + len(part)


async def _rows(rows: AsyncIterator[Row], key: Key) -> AsyncIterator[Row]:
    async for time, *values in rows:
        yield (time, *key, *values)


async def _each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


def _hour(hour: HourOf) -> Row:
    facts = hour.facts
    minutes_of = facts.minutes.bit_count(), (facts.minutes & facts.compared).bit_count()
    return hour.time, hour.verdict.value, *minutes_of, float(facts.wrong), facts.missing_ids


def _told(time: int) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
