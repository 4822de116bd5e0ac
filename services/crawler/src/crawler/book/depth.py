"""How much the whole known book holds within distances of the mid, exactly, now and then. Pure.

A book has thousands of levels, so they are not added up each time: each side is kept in drawers as wide as a basis
point with their sums, and only levels that have changed since the last reading are moved. All numbers are integers in
one scale, nothing is rounded before the end.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import NamedTuple, cast

from crawler.book.chain import ChainTime
from crawler.book.market_data import Diff
from crawler.book.reach import Reach
from fairprice.messages import Level
from fairprice.sampling import is_sampled

Values = Mapping[str, float | None]
Levels = Iterable[Sequence[str]]

DECIMALS = 18
"""More than any exchange writes."""

UNIT = 10**DECIMALS

_UNITS = tuple(10 ** (DECIMALS - decimals) for decimals in range(DECIMALS + 1))
"""What an integer with so many decimals is multiplied by."""

DRAWERS_A_PRICE = 10_000
"""A drawer holds the levels of about one basis point."""

PENDING_DIFFS = 1000
"""Diffs that wait for the next reading at most, should the exchange's clock stand still."""

BID = 1
ASK = -1


class UnusualError(ValueError):
    """A number has more decimals than are kept, or a price is written in two ways."""


class Amounts(NamedTuple):
    """What lies between the mid and a price: base quantity, and its value in quote, each times a power of `UNIT`."""

    quantity: int = 0
    value: int = 0


class Drawer:
    """The levels of about a basis point, and what they hold together."""

    __slots__ = ("number", "places", "quantity", "value")

    def __init__(self, number: int) -> None:
        self.number = number
        self.quantity = 0
        self.value = 0
        self.places: dict[int, Place] = {}


class Place:
    """A level: its price, the drawer that price belongs to, and its quantity."""

    __slots__ = ("drawer", "price", "quantity")

    def __init__(self, price: int, drawer: Drawer) -> None:
        self.price = price
        self.drawer = drawer
        self.quantity = 0


class Depths:
    """The depth of one symbol's book at `distances` in basis points, at the first diff of each `interval` in seconds.

    `begin` with every book, `follow` each diff that is applied to it.
    """

    def __init__(self, distances: Sequence[Decimal], interval: float) -> None:
        self._interval = round(interval * 1_000_000)
        self._distances = tuple(Fraction(distance) / 10_000 for distance in sorted(distances))
        self._names = tuple(f"{distance.normalize():f}bps".replace(".", "_") for distance in sorted(distances))
        self._pending: list[tuple[Levels, Levels]] = []
        self._is_usual = True
        self._sides: tuple[Drawers, Drawers] | None = None

    def begin(self, bids: Levels, asks: Levels) -> None:
        """Take the levels of another book, which has to leave them as they are."""
        self._is_usual = True
        self._sides = None
        self._pending = [(bids, asks)]

    def follow(self, diff: Diff) -> None:
        """Remember a diff that was applied to the book."""
        self._pending.append((diff.bids, diff.asks))
        if len(self._pending) > PENDING_DIFFS:
            self._pending = [(_newest(bids for bids, _ in self._pending), _newest(asks for _, asks in self._pending))]

    def sample(self, times: ChainTime, bids: list[Level], asks: list[Level], reach: Reach) -> Values | None:
        """Return what to publish with the last diff, given the best levels after it: nearly always nothing."""
        is_wanted = bids and asks and is_sampled(times.event_time, times.previous_event_time, self._interval)
        return self.read(bids[0][0], asks[0][0], reach) if is_wanted else None

    def read(self, best_bid: str, best_ask: str, reach: Reach) -> Values | None:
        """Return quantity and value within each distance of the mid by name; None for one beyond what is known.

        There are none at all where a best price lies beyond the reach, so that the mid is not known, and none of a book
        that holds a number finer than `DECIMALS` or a price that is written in two ways: no exchange does that.
        """
        if not self._is_usual:
            return None
        try:
            return self._read(_units(best_bid), _units(best_ask), reach)
        except UnusualError:
            self._is_usual = False
            return None

    def _read(self, best_bid: int, best_ask: int, reach: Reach) -> Values | None:
        two_mids = best_bid + best_ask
        bids, asks = self._sides = self._up_to_date(two_mids)
        floor = None if reach.floor is None else _units(reach.floor)
        ceiling = None if reach.ceiling is None else _units(reach.ceiling)
        if not (bids.is_known(best_bid, floor) and asks.is_known(best_ask, ceiling)):
            return None
        return self._values("bid", bids, two_mids, floor) | self._values("ask", asks, two_mids, ceiling)

    def _up_to_date(self, two_mids: int) -> "tuple[Drawers, Drawers]":
        width = max(1, two_mids // 2 // DRAWERS_A_PRICE)
        sides = self._sides or (Drawers(BID, width), Drawers(ASK, width))
        pending, self._pending = self._pending, []
        sides[0].put(_newest(bids for bids, _ in pending))
        sides[1].put(_newest(asks for _, asks in pending))
        return sides

    def _values(self, name: str, side: "Drawers", two_mids: int, bound: int | None) -> dict[str, float | None]:
        """Return the values of one side; `bound` is the last price that is known, None: all are."""
        ends = [_end(two_mids, distance, side.towards) for distance in self._distances]
        known = [end for end in ends if side.is_known(end, bound)]
        amounts = [*side.within(known), *[None] * (len(ends) - len(known))]
        values: dict[str, float | None] = {}
        for distance, amount in zip(self._names, amounts, strict=True):
            values[f"{name}_quantity_{distance}"] = amount and amount.quantity / UNIT
            values[f"{name}_value_{distance}"] = amount and amount.value / UNIT**2
        return values


class Drawers:
    """The levels of one side by price, in drawers of `width` that each know their sums.

    `towards` is the sign of a price difference that leads to the other side: `BID` or `ASK`. Drawers are numbered so
    that the better ones of both sides have the greater numbers.
    """

    def __init__(self, towards: int, width: int) -> None:
        self.towards = towards
        self._width = width
        self._places: dict[str, Place] = {}
        self._drawers: dict[int, Drawer] = {}
        self._order: list[int] = []

    def put(self, levels: Levels) -> None:
        """Set or remove levels, of each price one; raises `UnusualError`."""
        places = self._places
        for text, quantity_text in levels:
            quantity = _units(quantity_text)
            place = places.get(text)
            if place is None:
                if not quantity:
                    continue
                place = self._place(text)
            more = quantity - place.quantity
            place.quantity = quantity
            drawer = place.drawer
            drawer.quantity += more
            drawer.value += place.price * more
            if not quantity:
                self._remove(text, place)

    def is_known(self, price: int, bound: int | None) -> bool:
        """Return whether a price is no further from the other side than `bound`; None is no bound."""
        return bound is None or (price - bound) * self.towards >= 0

    def within(self, ends: Iterable[int]) -> list[Amounts]:
        """Return what lies between the best price and each of these ones, which lead away from it."""
        found: list[Amounts] = []
        position, quantity, value = len(self._order), 0, 0
        for end in ends:
            last = bisect_left(self._order, self._number(end) + 1)
            for number in self._order[last:position]:
                quantity += self._drawers[number].quantity
                value += self._drawers[number].value
            position = min(position, last)
            part = self._part(end)
            found.append(Amounts(quantity + part.quantity, value + part.value))
        return found

    def _number(self, price: int) -> int:
        return price * self.towards // self._width

    def _part(self, end: int) -> Amounts:
        """Return what the drawer in which `end` lies holds down to it."""
        drawer = self._drawers.get(self._number(end))
        levels = [place for place in drawer.places.values() if self.is_known(place.price, end)] if drawer else ()
        return Amounts(sum(place.quantity for place in levels), sum(place.price * place.quantity for place in levels))

    def _place(self, text: str) -> Place:
        """Return a place for a price that has none; raises `UnusualError` for one that is written in another way."""
        price = _units(text)
        number = self._number(price)
        drawer = self._drawers.get(number)
        if drawer is None:
            insort(self._order, number)
            drawer = self._drawers[number] = Drawer(number)
        if price in drawer.places:
            raise UnusualError(text)
        place = self._places[text] = drawer.places[price] = Place(price, drawer)
        return place

    def _remove(self, text: str, place: Place) -> None:
        """Forget a level without quantity."""
        del self._places[text]
        drawer = place.drawer
        del drawer.places[place.price]
        if not drawer.places:
            del self._drawers[drawer.number]
            del self._order[bisect_left(self._order, drawer.number)]


def _newest(changes: Iterable[Levels]) -> Levels:
    """Return the last quantity of each price."""
    return dict(cast("Iterable[tuple[str, str]]", chain.from_iterable(changes))).items()


def _end(two_mids: int, distance: Fraction, towards: int) -> int:
    """Return the last price, of those there can be, within this part of the mid."""
    above, below = two_mids * (distance.denominator - towards * distance.numerator), 2 * distance.denominator
    return -(-above // below) if towards == BID else above // below


def _units(text: str) -> int:
    whole, _, fraction = text.partition(".")
    try:
        unit: int = _UNITS[len(fraction)]
    except IndexError:
        raise UnusualError(text) from None
    return int(whole + fraction) * unit
