"""Reads the rows of a symbol from a store, in order of time, through its audit; memory stays flat."""

from collections.abc import AsyncIterator, Sequence

from fairprice.coverage import MINUTE
from storer.audit.account import Account
from storer.audit.claims import SLACK
from storer.audit.symbol import AUDIT_FIELDS, BOOK_FIELDS, GAP_FIELDS, PRICE_FIELDS, SymbolAudit
from storer.measurements import AUDIT, FAIR_PRICE, GAP, ORDER_BOOK
from storer.stores.port import Key, Reader, Row

_NEVER = 2**63


async def keys(reader: Reader, start: int, stop: int) -> list[Key]:
    """Return what has prices or gaps in the period."""
    found = [await reader.keys(measurement, start, stop) for measurement in (FAIR_PRICE, GAP)]
    return sorted({key for each in found for key in each})


async def examine(reader: Reader, key: Key, start: int, stop: int, *, runs_begin_anew: bool = False) -> Account:
    """Return what is found of one symbol in [start, stop), microseconds.

    A period that begins inside a gap is taken from the begin of the gap on, since only so it can be told whether it was
    filled. Raises `StoreUnavailable`.
    """

    def rows(measurement: str, fields: Sequence[str], start: int, stop: int) -> AsyncIterator[Row]:
        return reader.rows(measurement, fields, *key, start, stop)

    begin = await _begin(rows(GAP, GAP_FIELDS, 0, stop), start)
    audit = SymbolAudit(stop, runs_begin_anew=runs_begin_anew)
    before = await reader.last(FAIR_PRICE, PRICE_FIELDS, *key, begin)
    if before and before[2] is not None:
        audit.begin(before)
    gaps, books = _Ahead(rows(GAP, GAP_FIELDS, begin, stop)), _Ahead(rows(ORDER_BOOK, BOOK_FIELDS, begin, stop))
    await gaps.advance()
    await books.advance()
    async for row in rows(FAIR_PRICE, PRICE_FIELDS, begin, stop):
        time = row[0]
        while gaps.time <= time:
            audit.gap(gaps.row)
            await gaps.advance()
        audit.price(row)
        while books.time <= time:
            audit.book(books.row)
            await books.advance()
    while gaps.time < _NEVER:
        audit.gap(gaps.row)
        await gaps.advance()
    async for row in rows(AUDIT, AUDIT_FIELDS, begin - begin % MINUTE, stop):
        audit.audit(row)
    return audit.finish()


class _Ahead:
    """The next row of a series, and its time: never, behind the last one."""

    def __init__(self, rows: AsyncIterator[Row]) -> None:
        self._rows = rows
        self.row: Row = ()
        self.time = 0

    async def advance(self) -> None:
        try:
            self.row = await anext(self._rows)
            self.time = self.row[0]
        except (
            StopAsyncIteration
        ):  # a default of () would do, were it not for https://github.com/python/cpython/issues/128078
            self.time = _NEVER


async def _begin(gaps: AsyncIterator[Row], start: int) -> int:
    """Return where to begin: at `start`, or where the gaps begin that reach from one into the other up to it."""
    first = until = 0
    async for time, _, _, duration_ms, *_ in gaps:
        if time >= start:
            break
        if time > until + SLACK:
            first = time
        until = max(until, time + round((duration_ms or 0) * 1000))
    return first if until + SLACK >= start else start
