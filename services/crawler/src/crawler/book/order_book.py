"""The order book of one symbol: all levels known, the best ones in order, at a cost that does not grow with depth.

Prices are compared as text. The exchange sends every price of a symbol with the same number of decimals, and decimal
strings of equal width sort as their numbers do. So nothing is converted or rounded, and what is published is what was
received. A side keeps all its levels in a dict and only a window of the best keys sorted.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from decimal import Decimal

from fairprice.messages import Level

MIN_WINDOW = 48
WINDOW_SHARE = 64
"""The window holds at least one level in so many. Sorting all n levels then happens once in about n/64 removals, so its
share of the cost of a diff stays the same however deep the book is."""

ZERO = "0." + "0" * 60
"""Sorts after every spelling of zero with one digit before the point, the only ones an exchange uses, and before every
positive decimal: `0`, `0.00000000` < ZERO < `0.00000001`."""

BEYOND = "~"
"""Sorts after every digit."""


class OrderBook:
    """Bids and asks built from a snapshot and kept by diffs.

    Levels are `[price, quantity]` in decimal strings, quantities are absolute, zero removes. The lists become the
    book's own. Text that is no plain decimal number is for the caller to refuse before.
    """

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level], *, levels: int) -> None:
        """Take a snapshot; `levels` is how many of the best must always be at hand."""
        self.bids = BookSide(bids, best_last=True, levels=levels)
        self.asks = BookSide(asks, best_last=False, levels=levels)

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        """Set or remove the levels of one diff."""
        self.bids.apply(bids)
        self.asks.apply(asks)

    def best(self) -> tuple[list[Level], list[Level]]:
        """Return the best bids and asks, best first, `levels` of each or fewer if the side has no more."""
        return self.bids.best(), self.asks.best()

    def extend(self, other: "OrderBook", floor: str | None, ceiling: str | None) -> None:
        """Take over the levels that another book of the same id holds below `floor` and above `ceiling`."""
        if floor is not None:
            self.bids.apply([level for level in other.bids if Decimal(level[0]) < Decimal(floor)])
        if ceiling is not None:
            self.asks.apply([level for level in other.asks if Decimal(level[0]) > Decimal(ceiling)])


class BookSide:
    """One side of the book.

    `_levels` maps a key to its level as received. A key is the price with `_decimals` decimals, padded on the left with
    zeros to `_width` characters, the width of the best prices: nearly always the very text that was received. A longer
    ask is worse than all others, its key starts with `BEYOND`; a longer bid is the best of all, so the width grows.
    `_window` holds, in ascending order, every key from `_low` to `_high`: the best ones.
    """

    def __init__(self, snapshot: Iterable[Level], *, best_last: bool, levels: int) -> None:
        self._best_last = best_last
        self._needed = levels
        self._levels = {level[0]: level for level in snapshot if level[1] > ZERO}
        parts = [price.partition(".") for price in self._levels]
        self._decimals = max((len(fraction) for _, _, fraction in parts), default=0)
        digits = (max if best_last else min)((len(whole) for whole, _, _ in parts), default=0)
        self._rekey(digits + 1 + self._decimals)

    def __len__(self) -> int:
        return len(self._levels)

    def __iter__(self) -> Iterator[Level]:
        """Iterate over all levels, in no order."""
        return iter(self._levels.values())

    def best(self) -> list[Level]:
        """Return the best levels, best first."""
        count = self._needed
        keys = self._window[: -count - 1 : -1] if self._best_last else self._window[:count]
        return list(map(self._levels.__getitem__, keys))

    def apply(self, changes: list[Level]) -> None:
        """Set or remove levels."""
        levels, window, low, high = self._levels, self._window, self._low, self._high
        width, point = self._width, self._width - self._decimals - 1
        for level in changes:
            price, quantity = level
            if price in levels:
                if quantity > ZERO:
                    levels[price] = level
                else:
                    del levels[price]
                    if low <= price <= high:
                        del window[bisect_left(window, price)]
            elif len(price) == width and price[point] == ".":
                if quantity > ZERO:
                    levels[price] = level
                    if low <= price <= high:
                        insort(window, price)
            else:
                self._apply_unusual(level)
                window, low, high = self._window, self._low, self._high
                width, point = self._width, self._width - self._decimals - 1
        if not self._needed <= len(window) <= self._limit:
            self._resize()

    def _apply_unusual(self, level: Level) -> None:
        """Apply a level whose price is not written like a key."""
        price, quantity = level
        if len(_fraction(price)) > self._decimals:
            self._rekey(self._width + len(_fraction(price)) - self._decimals, len(_fraction(price)))
        key = self._key(price)
        if self._best_last and key > BEYOND:
            self._rekey(len(key) - len(BEYOND))
            key = self._key(price)
        in_window = self._low <= key <= self._high
        if quantity > ZERO:
            if key not in self._levels and in_window:
                insort(self._window, key)
            self._levels[key] = level
        elif self._levels.pop(key, None) and in_window:
            self._window.remove(key)

    def _key(self, price: str) -> str:
        if len(price) == self._width and price[-self._decimals - 1] == ".":
            return price
        whole = price.partition(".")[0].lstrip("0") or "0"
        key = f"{whole}.{_fraction(price).ljust(self._decimals, '0')}"
        return key.rjust(self._width, "0") if len(key) <= self._width else BEYOND + key

    def _rekey(self, width: int, decimals: int | None = None) -> None:
        """Rewrite all keys with this width and number of decimals."""
        self._width = width
        self._decimals = self._decimals if decimals is None else decimals
        levels = list(self._levels.values())
        self._levels.clear()
        self._levels.update((self._key(level[0]), level) for level in levels)
        self._refill()

    def _resize(self) -> None:
        """Bring a window that has become too short or too long back to its size."""
        if len(self._window) < self._needed:
            if len(self._window) < len(self._levels):
                self._refill()
        elif self._best_last:
            del self._window[: -self._limit // 2]
            self._low = self._window[0]
        else:
            del self._window[self._limit // 2 :]
            self._high = self._window[-1]

    def _refill(self) -> None:
        """Fill the window from all levels."""
        near = sorted(key for key in self._levels if key < BEYOND)
        if len(near) < min(self._needed, len(self._levels)):
            self._rekey(min(len(key) for key in self._levels if key > BEYOND) - len(BEYOND))
            return
        size = max(MIN_WINDOW, self._needed * 2, len(near) // WINDOW_SHARE)
        self._limit = size * 2
        self._window = near[-size:] if self._best_last else near[:size]
        self._low = self._window[0] if self._best_last and len(near) > size else ""
        self._high = self._window[-1] if not self._best_last and len(near) > size else BEYOND


def _fraction(price: str) -> str:
    return price.partition(".")[2].rstrip("0")
