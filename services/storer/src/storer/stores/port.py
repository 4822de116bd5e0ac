"""What the storer asks of a database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from storer.measurements import Point


@dataclass(frozen=True, slots=True)
class Rejection:
    """A point that the store will never take: its position in the batch and why."""

    index: int
    reason: str


Key = tuple[str, str]
"""Venue and symbol."""

NEVER = 2**62
"""A time behind that of any point, in microseconds."""

Row = tuple[Any, ...]
"""A point's time and the values of the fields that were asked for: ids as integers, None where it has no value."""


class Reader(Protocol):
    """A look at what a store keeps; all times in microseconds since the epoch.

    Raises `StoreUnavailable` that says what to do, also where it is the right to read that is missing.
    """

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        """Return, in order, what has points in [start, stop); nothing where there is no such measurement."""

    async def fields(self, measurement: str) -> list[str]:
        """Return the names of the fields that any of its points has, in alphabetical order."""

    def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[Row]:
        """Yield the points in [start, stop) in order of time; a point without any of the fields may be left out.

        They are read in pages, so memory stays flat, and what is written meanwhile may be among them or not.
        """

    async def last(self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int) -> Row | None:
        """Return the last point before a time, None where there is none, however far back it lies.

        It costs no more where there are more rows. A point without any of the fields may be passed over.
        """


class Store(Reader, Protocol):
    """A database that keeps points by key.

    `storer.app` calls it: one batch after the other from each of its two consumers, so two calls may overlap. A batch
    has up to some thousand points and comes as soon as the last one is written.
    """

    async def write(self, points: Sequence[Point]) -> list[Rejection]:
        """Keep all points durably, or none; only those that are reported as rejected are left out of "all".

        A point replaces the one with the same key, unless that one is a later revision (`measurements.REVISION`). Where
        both are of the same one, None takes no value's place: another crawler has known it.
        So writing a batch twice, or an old one late, changes nothing. The caller sends rejected points to the dead
        letters and never writes them again.

        InfluxDB differs where two *different* points have the same key: it cannot compare revisions, so the one that
        is written last stays, and a field that it does not have keeps the value of the other. It may also keep a part
        of a batch that it did not take as a whole.

        Raises `StoreUnavailable` for whatever may pass (locked, full, unreachable): the batch may or may not be kept,
        and the caller writes it again, unchanged, after a back-off, and after `retry_after` seconds where it is given.
        Cancelling leaves it equally open.
        """

    async def ping(self) -> None:
        """Return when the store is there and takes points; raises `StoreUnavailable` that says why it does not."""

    async def close(self) -> None:
        """Finish what is being written and let the database go, within seconds; nothing may be written afterwards."""
