"""Rows of a sound market in memory, to be spoilt, and the audit of them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fairprice.coverage import HOUR, MINUTE
from storer.audit.account import Account, Kind
from storer.audit.examine import examine
from storer.stores.port import Key

START = 1_723_075_200_000_000
"""The begin of an hour, of a day."""

SECOND = 1_000_000
KEY = ("binance", "BTCUSDT")
END = START + 1000 * HOUR

Row = dict[str, Any]


@dataclass
class Rows:
    """A reader of what tests put into it."""

    prices: dict[int, Row] = field(default_factory=dict)
    books: dict[int, Row] = field(default_factory=dict)
    gaps: dict[int, Row] = field(default_factory=dict)
    audits: dict[int, Row] = field(default_factory=dict)

    def _table(self, measurement: str) -> dict[int, Row]:
        return {"fair_price": self.prices, "order_book": self.books, "gap": self.gaps, "audit": self.audits}[
            measurement
        ]

    async def keys(self, measurement: str, start: int, stop: int) -> list[Key]:
        return [KEY] if any(start <= time < stop for time in self._table(measurement)) else []

    async def rows(  # noqa: PLR0917  the port's order
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, start: int, stop: int
    ) -> AsyncIterator[tuple[Any, ...]]:
        assert (venue, symbol) == KEY
        for time, row in sorted(self._table(measurement).items()):
            if start <= time < stop:
                yield (time, *map(row.get, fields))

    async def last(
        self, measurement: str, fields: Sequence[str], venue: str, symbol: str, before: int
    ) -> tuple[Any, ...] | None:
        found = [row async for row in self.rows(measurement, fields, venue, symbol, 0, before)]
        return found[-1] if found else None

    def price(self, time: int, first: int, last: int, bid: float = 100.0, **changes: Any) -> None:
        """Put a price there; its top follows from its last id."""
        row = {"first_update_id": first, "update_id": last, "bid": bid, "ask": bid + 0.25, "spread": 0.25}
        self.prices[time] = row | changes

    def gap(self, from_time: int, to_time: int, first: int, last: int, **changes: Any) -> None:
        row = {"from_update_id": first, "to_update_id": last, "duration_ms": (to_time - from_time) / 1000}
        self.gaps[from_time] = row | {"reason": "connection_lost", "open_ids": max(1, last - first + 1)} | changes

    def compared(self, first_minute: int, last_minute: int, **changes: Any) -> None:
        """Let tops be compared in these minutes behind `START`."""
        for minute in range(first_minute, last_minute + 1):
            row = {"from_update_id": 1, "to_update_id": 1, "tops": 6.0, "levels": None}
            self.audits[START + minute * MINUTE] = row | changes

    def remove(self, first_second: int, last_second: int) -> None:
        """Take the prices of these seconds behind `START` away, and their books."""
        for second in range(first_second, last_second + 1):
            self.prices.pop(START + second * SECOND, None)
            self.books.pop(START + second * SECOND, None)

    async def audit(self, start: int = START, stop: int = END, **options: Any) -> Account:
        return await examine(self, KEY, start, stop, **options)


def at(second: int) -> int:
    return START + second * SECOND


def sound(minutes: int = 5, *, first_minute: int = 0) -> Rows:
    """Return a price a second, each with ten ids, a book every ten seconds, and tops compared in every minute.

    The price of second n brings the ids 10 n + 1 to 10 n + 10.
    """
    made = _sound(minutes, first_minute)
    tables = (made.prices, made.books, made.gaps, made.audits)
    return Rows(*({time: row.copy() for time, row in table.items()} for table in tables))


@cache
def _sound(minutes: int, first_minute: int) -> Rows:
    rows = Rows()
    for second in range(first_minute * 60, (first_minute + minutes) * 60):
        rows.price(at(second), 10 * second + 1, 10 * second + 10, bid=100.0 + second % 60)
        if second % 10 == 0:
            price = rows.prices[at(second)]
            top = {"bid_price_00": price["bid"], "ask_price_00": price["ask"]}
            rows.books[at(second)] = {"update_id": price["update_id"], **top}
    rows.compared(first_minute, first_minute + minutes - 1)
    return rows


def wrong(account: Account) -> dict[Kind, int]:
    """Return the kinds that were found, and how often."""
    return {kind: count for kind, count in account.counts.items() if count}


def verdicts(account: Account) -> list[str]:
    return [hour.verdict.value for hour in account.hours]
