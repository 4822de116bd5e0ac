"""How points become rows and statements in SQLite's SQL."""

from collections import defaultdict
from collections.abc import Iterable

from storer.measurements import REVISION, Point, Value

KEY = ("venue", "symbol", "time")

Shape = tuple[str, ...]
"""A measurement and the names of a point's fields."""


def by_shape(points: Iterable[Point]) -> dict[Shape, list[tuple[int, Point]]]:
    """Return the points that one statement stores together, each with its position."""
    shapes: defaultdict[Shape, list[tuple[int, Point]]] = defaultdict(list)
    for index, point in enumerate(points):
        shapes[point.measurement, *point.fields, *point.decimals].append((index, point))
    return shapes


def row_of(point: Point) -> tuple[Value, ...]:
    """Return the values of a point in the order of its statement."""
    decimals = (None if text is None else float(text) for text in point.decimals.values())
    return (point.venue, point.symbol, point.time, *point.fields.values(), *decimals)


def columns_of(sample: Point) -> dict[str, str]:
    """Return the definitions of the columns beside the key that a point needs, by name."""
    kinds = {name: _affinity(value) for name, value in sample.fields.items()} | dict.fromkeys(sample.decimals, "REAL")
    return {name: f"{quoted(name)} {kind}" for name, kind in kinds.items()}


def create_table(measurement: str, columns: Iterable[str], unless: str = "") -> str:
    """Return the statement that makes a table with these columns beside its key; `unless` is SQL's `IF NOT EXISTS`."""
    key = ("time INTEGER NOT NULL", "venue TEXT NOT NULL", "symbol TEXT NOT NULL")
    return (
        f"CREATE TABLE {unless} {quoted(measurement)} ({', '.join((*key, *columns))}, "
        f"PRIMARY KEY ({', '.join(KEY)})) WITHOUT ROWID"
    )


def upsert(measurement: str, fields: Iterable[str]) -> str:
    """Return the statement that stores a row unless a later revision of it is there; other fields of it stay.

    So does a value of the same revision that the row lacks: another crawler may have known it.
    """
    names = [quoted(field) for field in fields]
    columns = [*KEY, *names]
    table = quoted(measurement)
    places = ", ".join("?" for _ in columns)
    kept = {name: f"coalesce(excluded.{name}, {table}.{name})" for name in names}
    unless = ""
    if measurement in REVISION:
        revision = quoted(REVISION[measurement])
        later = f"excluded.{revision} > {table}.{revision}"
        kept = {name: f"iif({later}, excluded.{name}, {value})" for name, value in kept.items()}
        unless = f" WHERE excluded.{revision} >= {table}.{revision}"
    updates = ", ".join(f"{name} = {value}" for name, value in kept.items())
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) "  # noqa: S608  every name is quoted
        f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {updates}{unless}"
    )


def quoted(name: str) -> str:
    """Return a name that SQL takes as it is."""
    return '"' + name.replace('"', '""') + '"'


def _affinity(value: Value) -> str:
    if isinstance(value, str):
        return "TEXT"
    return "INTEGER" if isinstance(value, int) else "REAL"
