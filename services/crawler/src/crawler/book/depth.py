"""How much the whole known book holds within distances of the mid, exactly, now and then. Pure.

A book has thousands of levels, so they are not added up each time: each side is kept in drawers as wide as a basis
point with their sums, and only levels that have changed since the last reading are moved, many at once. All numbers are
integers in one scale, nothing is rounded before the end.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, chain
from operator import itemgetter
from typing import NamedTuple, cast

from crawler.book.chain import ChainTime
from crawler.book.market_data import Diff
from crawler.book.reach import Reach
from fairprice.messages import Level
from fairprice.sampling import is_sampled

Values = dict[str, float | None]
Levels = Iterable[Sequence[str]]
Changes = dict[str, str]
"""The last quantity of each price."""

DECIMALS = 8
"""As Binance writes all its numbers; the scale has more where a book begins with more."""

DRAWERS_A_PRICE = 10_000
"""A drawer holds the levels of about one basis point."""

BID = 1
ASK = -1


class UnusualError(ValueError):
    """A number has more decimals than the scale, or a price is written in two ways."""


class Amounts(NamedTuple):
    """What lies between the mid and a price: base quantity, times the unit, and value in quote, times its square."""

    quantity: int = 0
    value: int = 0


class Scale:
    """Turns decimal strings into integers, `unit` times their value; raises `UnusualError` for one that is finer."""

    def __init__(self, decimals: int) -> None:
        self.unit: int = 10**decimals
        self._decimals = decimals
        self._point = itemgetter(-1 - decimals)

    def integer(self, text: str) -> int:
        """Convert a number."""
        whole, _, fraction = text.partition(".")
        if len(fraction) > self._decimals:
            raise UnusualError(text)
        return int(whole + fraction.ljust(self._decimals, "0"))

    def integers(self, texts: Collection[str]) -> Iterable[int]:
        """Convert many: in a fifth of the time where all are written with the decimals of the scale, as they are."""
        try:
            are_usual = {*map(self._point, texts)} <= {"."}
        except IndexError:
            are_usual = False
        return map(int, " ".join(texts).replace(".", "").split()) if are_usual else map(self.integer, texts)


class Depths:
    """The depth of one symbol's book at `distances` in basis points, at the first diff of each `interval` in seconds.

    `begin` with every book, `follow` each diff that is applied to it.
    """

    def __init__(self, distances: Sequence[Decimal], interval: float) -> None:
        self._interval = round(interval * 1_000_000)
        self._distances = tuple(Fraction(distance) / 10_000 for distance in sorted(distances))
        self._names = tuple(f"{distance.normalize():f}bps".replace(".", "_") for distance in sorted(distances))
        self.begin((), ())

    def begin(self, bids: Levels, asks: Levels) -> None:
        """Take the levels of another book."""
        self._bids: Changes = {}
        self._asks: Changes = {}
        self._take(bids, asks)
        self._sides: tuple[Scale, Drawers, Drawers] | None = None
        self._is_usual = True

    def follow(self, diff: Diff) -> None:
        """Remember a diff that was applied to the book."""
        self._take(diff.bids, diff.asks)

    def sample(self, times: ChainTime, bids: list[Level], asks: list[Level], reach: Reach) -> Values | None:
        """Return what to publish with the last diff, given the best levels after it: nearly always nothing."""
        is_wanted = bids and asks and is_sampled(times.event_time, times.previous_event_time, self._interval)
        return self.read(bids[0][0], asks[0][0], reach) if is_wanted else None

    def read(self, best_bid: str, best_ask: str, reach: Reach) -> Values | None:
        """Return quantity and value within each distance of the mid by name; None for one beyond what is known.

        There are none at all where a best price lies beyond the reach, so that the mid is not known, and none of a book
        that comes to hold a number finer than all with which it began, or a price that was written in two ways since
        the last reading: no exchange does that.
        """
        if not self._is_usual:
            return None
        try:
            return self._read(best_bid, best_ask, reach)
        except UnusualError:
            self._is_usual = False
            return None

    def _take(self, bids: Levels, asks: Levels) -> None:
        self._bids.update(cast("Iterable[tuple[str, str]]", bids))
        self._asks.update(cast("Iterable[tuple[str, str]]", asks))

    def _read(self, best_bid_text: str, best_ask_text: str, reach: Reach) -> Values | None:
        scale, bids, asks = self._sides = self._sides or self._begin(best_bid_text, best_ask_text)
        bids.put(*_numbers(self._bids, scale))
        asks.put(*_numbers(self._asks, scale))
        self._bids, self._asks = {}, {}
        best_bid, best_ask = scale.integer(best_bid_text), scale.integer(best_ask_text)
        floor = None if reach.floor is None else scale.integer(reach.floor)
        ceiling = None if reach.ceiling is None else scale.integer(reach.ceiling)
        if not (bids.is_known(best_bid, floor) and asks.is_known(best_ask, ceiling)):
            return None
        two_mids, unit = best_bid + best_ask, scale.unit
        return self._values("bid", bids, two_mids, floor, unit) | self._values("ask", asks, two_mids, ceiling, unit)

    def _begin(self, best_bid: str, best_ask: str) -> "tuple[Scale, Drawers, Drawers]":
        """Return empty sides in a scale for all numbers that there are."""
        texts = chain(self._bids, self._bids.values(), self._asks, self._asks.values())
        scale = Scale(max([DECIMALS, *(len(text.partition(".")[2]) for text in texts)]))
        width = max(1, (scale.integer(best_bid) + scale.integer(best_ask)) // 2 // DRAWERS_A_PRICE)
        return scale, Drawers(BID, width), Drawers(ASK, width)

    def _values(self, name: str, side: "Drawers", two_mids: int, bound: int | None, unit: int) -> Values:
        """Return the values of one side; `bound` is the last price that is known, None: all are."""
        ends = [_end(two_mids, distance, side.towards) for distance in self._distances]
        known = [end for end in ends if side.is_known(end, bound)]
        amounts = [*side.within(known), *[None] * (len(ends) - len(known))]
        values: Values = {}
        for distance, amount in zip(self._names, amounts, strict=True):
            values[f"{name}_quantity_{distance}"] = amount and amount.quantity / unit
            values[f"{name}_value_{distance}"] = amount and amount.value / unit**2
        return values


class Drawers:
    """The levels of one side in drawers of `width`, each with what it holds together.

    `towards` is the sign of a price difference that leads to the other side: `BID` or `ASK`. Drawers are numbered so
    that the better ones of both sides have the greater numbers.
    """

    def __init__(self, towards: int, width: int) -> None:
        self.towards = towards
        self._width = towards * width
        self._levels: dict[int, dict[int, int]] = {}
        """By number of the drawer and price the quantities; beside it the sums of quantities and values."""
        self._quantities: dict[int, int] = {}
        self._values: dict[int, int] = {}
        self._order: list[int] = []

    def put(self, prices: Iterable[int], quantities: Iterable[int]) -> None:
        """Set levels; the quantity zero removes one."""
        width = self._width
        for price, quantity in zip(prices, quantities, strict=True):
            number = price // width
            levels = self._levels.get(number)
            if levels is None:
                if not quantity:
                    continue
                levels = self._levels[number] = {}
                self._quantities[number] = self._values[number] = 0
            more = quantity - levels.pop(price, 0)
            if quantity:
                levels[price] = quantity
            if more:
                self._quantities[number] += more
                self._values[number] += price * more

    def is_known(self, price: int, bound: int | None) -> bool:
        """Return whether a price is no further from the other side than `bound`; None is no bound."""
        return bound is None or (price - bound) * self.towards >= 0

    def within(self, ends: Sequence[int]) -> Iterator[Amounts]:
        """Yield what lies between the best price and each of these ones, which lead away from it."""
        if len(self._order) < len(self._levels):
            self._order = sorted(self._levels)
        counts = [len(self._order) - bisect_right(self._order, end // self._width) for end in ends]
        best_first = self._order[: -max(counts, default=0) - 1 : -1]
        quantities = [0, *accumulate(map(self._quantities.__getitem__, best_first))]
        values = [0, *accumulate(map(self._values.__getitem__, best_first))]
        for count, end in zip(counts, ends, strict=True):
            part = self._part(end)
            yield Amounts(quantities[count] + part.quantity, values[count] + part.value)

    def _part(self, end: int) -> Amounts:
        """Return what the drawer in which `end` lies holds down to it."""
        held, limit, towards = self._levels.get(end // self._width, {}), end * self.towards, self.towards
        levels = [(price, quantity) for price, quantity in held.items() if price * towards >= limit]
        return Amounts(sum([quantity for _, quantity in levels]), sum([price * quantity for price, quantity in levels]))


def _numbers(changes: Changes, scale: Scale) -> tuple[list[int], Iterable[int]]:
    """Return prices and quantities; raises `UnusualError` for a price that is written in two ways."""
    prices = [*scale.integers(changes)]
    if len({*prices}) < len(prices):
        raise UnusualError(f"two of {len(prices)} prices are the same number")
    return prices, scale.integers(changes.values())


def _end(two_mids: int, distance: Fraction, towards: int) -> int:
    """Return the last price, of those there can be, within this part of the mid."""
    above, below = two_mids * (distance.denominator - towards * distance.numerator), 2 * distance.denominator
    return -(-above // below) if towards == BID else above // below
