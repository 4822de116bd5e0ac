"""The recent prices of one symbol, in columns, bounded in time and so in memory."""

import sys
from array import array
from bisect import bisect_left, bisect_right
from math import ceil, nan
from typing import Any

from gateway.quote import Quote

STEP = 100_000
"""Microseconds; of all prices in one such slot of event time the last is kept."""

MAX_POINTS = 2000
"""About how many points an answer has at most."""

_MINUTE = 60_000_000
_SPARE = _MINUTE // STEP
"""So many expired points may wait, to be dropped together."""


class Recent:
    """A window of `minutes` over event time that ends at the newest price.

    Holds at most `minutes * 600 + 600` points of about 60 bytes.
    """

    def __init__(self, minutes: int) -> None:
        self._window = minutes * _MINUTE
        self._time = array("q")
        self._price = array("d")
        self._bid = array("d")
        self._ask = array("d")
        self._spread_bps = array("d")
        self._imbalance = array("d")
        self._status: list[str] = []

    def __len__(self) -> int:
        """Return the number of points held, expired ones that wait to be dropped included."""
        return len(self._time)

    def append(self, quote: Quote) -> None:
        """Add a quote that is newer than the last one; it replaces that one when both fall into the same slot."""
        time = quote.event_time
        if self._time and self._time[-1] // STEP == time // STEP:
            for column in self._columns():
                column.pop()
        self._time.append(time)
        self._price.append(_or_nan(quote.price))
        self._bid.append(_or_nan(quote.bid))
        self._ask.append(_or_nan(quote.ask))
        self._spread_bps.append(_or_nan(quote.spread_bps))
        self._imbalance.append(_or_nan(quote.imbalance))
        self._status.append(sys.intern(quote.status))
        if len(self._time) > _SPARE and self._time[_SPARE] < time - self._window:
            self._forget(bisect_left(self._time, time - self._window))

    def since(self, minutes: float) -> dict[str, Any]:
        """Return the last `minutes` as equally long lists `time` (microseconds), `price`, `bid`, ... and `status`.

        Thinned to about `MAX_POINTS` by keeping the last point of each slot of a length that depends on `minutes`
        only, so that the same data give the same points whenever they are asked for.
        """
        window = min(minutes * _MINUTE, self._window)
        chosen = self._last_of_each_slot(window)
        numbers = {
            "price": self._price,
            "bid": self._bid,
            "ask": self._ask,
            "spread_bps": self._spread_bps,
            "imbalance": self._imbalance,
        }
        return {
            "time": [self._time[index] for index in chosen],
            **{name: [_number(column[index]) for index in chosen] for name, column in numbers.items()},
            "status": [self._status[index] for index in chosen],
        }

    def price_at(self, time: int) -> float | None:
        """Return the newest price up to a time in microseconds; None where that is forgotten, or meant nothing."""
        index = bisect_right(self._time, time) - 1
        return _number(self._price[index]) if index >= 0 else None

    def start(self, minutes: float) -> int:
        """Return the event time in microseconds at which the last `minutes` begin, 0 while nothing was seen."""
        return self._time[-1] - int(min(minutes * _MINUTE, self._window)) if self._time else 0

    def _last_of_each_slot(self, window: float) -> list[int]:
        if not self._time:
            return []
        slot = ceil(window / MAX_POINTS / STEP) * STEP
        first = bisect_left(self._time, self._time[-1] - int(window))
        last = len(self._time) - 1
        ends = (index for index in range(first, last) if self._time[index] // slot != self._time[index + 1] // slot)
        return [*ends, last]

    def _forget(self, count: int) -> None:
        for column in self._columns():
            del column[:count]

    def _columns(self) -> "tuple[array[Any] | list[str], ...]":
        return (self._time, self._price, self._bid, self._ask, self._spread_bps, self._imbalance, self._status)


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def _number(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  NaN stands for None in an array
