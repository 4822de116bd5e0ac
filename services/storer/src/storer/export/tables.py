"""Files that take rows: each is written beside its place, in parts, and put there when it is whole."""

import csv
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fairprice.errors import StartupError

Row = Sequence[Any]

TEXTS = {"venue", "symbol", "status", "estimator", "reason", "verdict"}
TIMES = {"time", "from_time", "to_time"}


class Table(Protocol):
    """A file that takes rows in parts."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""


Open = Callable[[Path, Sequence[str]], AbstractContextManager[Table]]
"""Opens a table at a path for rows of these columns."""


class CsvTable:
    """A header and a line a row; times are microseconds since the epoch, what is not known is empty."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._part = part_of(path)
        self._file = self._part.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        _put(self._part, self._path, is_whole=kind is None)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        self._writer.writerows(rows)


class ParquetTable:
    """A row group a part; times are timestamps in microseconds, UTC. Needs pyarrow, an extra of the package."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._arrow, parquet = _pyarrow()
        self._path = path
        self._part = part_of(path)
        self._schema = self._arrow.schema([(name, self._type(name)) for name in columns])
        self._writer = parquet.ParquetWriter(self._part, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()
        _put(self._part, self._path, is_whole=kind is None)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        if not rows:
            return
        columns = zip(*rows, strict=True)
        arrays = [self._arrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def _type(self, name: str) -> Any:
        if name in TIMES:
            return self._arrow.timestamp("us", "UTC")
        if name in TEXTS:
            return self._arrow.string()
        return self._arrow.int64() if is_whole(name) else self._arrow.float64()


FORMATS: dict[str, Open] = {"csv": CsvTable, "parquet": ParquetTable}


def is_whole(name: str) -> bool:
    """Tell whether the values of a column are whole numbers: ids and counts of them."""
    return name.endswith(("update_id", "open_ids", "_minutes", "missing_ids"))


def part_of(path: Path) -> Path:
    """Return where a file is written before it is whole."""
    return path.with_name(f".{path.name}.part")


def _put(part: Path, path: Path, *, is_whole: bool) -> None:
    if is_whole:
        part.replace(path)
    else:
        part.unlink(missing_ok=True)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise StartupError("writing Parquet needs pyarrow: pip install pyarrow, or use --format csv") from error
