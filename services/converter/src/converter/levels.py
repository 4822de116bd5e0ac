"""One side of an order book as exact integers, and how far it is known."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import gt, lt
from typing import NamedTuple

import orjson

from fairprice.errors import InvalidMarketData
from fairprice.fields import no_levels
from fairprice.messages import Level

Scaled = tuple[int, int]
"""Price and base quantity, both times the unit of their scale."""

BID = 1
ASK = -1

REMEMBERED = 2**15
"""Levels kept converted, ten megabytes: a book repeats most levels of the one before it, and finding one takes a tenth
of the time of converting it."""

_LEVEL = re.compile(rb'"([0-9]{1,40})(?:\.([0-9]{1,40}))?","([0-9]{1,40})(?:\.([0-9]{1,40}))?"')


class FinerThanScaleError(ValueError):
    """A number has more decimals than the scale holds."""


class Scale(dict[bytes, Scaled]):
    """Turns levels, as they stand in JSON, into integers, `unit` times their value: `scale[b'"0.5","2"']`.

    It remembers what it turned. So each level is looked at once, whether it is one at all included.
    """

    def __init__(self, decimals: int) -> None:
        super().__init__()
        self.decimals = decimals
        self.unit: int = 10**decimals

    def __missing__(self, text: bytes) -> Scaled:
        """Convert and remember a level; raises `InvalidMarketData` for what is none, and `FinerThanScaleError`."""
        found = _LEVEL.fullmatch(text)
        if not found:
            raise InvalidMarketData(f"{text!r:.80} is no price and quantity in decimal strings")
        price, price_decimals, quantity, quantity_decimals = found.groups(b"")
        if max(len(price_decimals), len(quantity_decimals)) > self.decimals:
            raise FinerThanScaleError(text)
        if len(self) >= REMEMBERED:
            self.clear()
        self[text] = level = (
            int(price + price_decimals.ljust(self.decimals, b"0")),
            int(quantity + quantity_decimals.ljust(self.decimals, b"0")),
        )
        return level

    def price(self, text: str) -> int:
        """Convert a price, which is a decimal string; raises `FinerThanScaleError`."""
        return self[f'"{text}","0"'.encode()][0]


class Side(NamedTuple):
    """The live levels of one side, best first, as far as they are proven to be all there are.

    `prices` and `quantities` are in one scale and go in parallel. `towards` is the sign of a price difference that
    leads to the other side: `BID` or `ASK`. Every level down (or up) to and including the price `reach` is known; None:
    every level that the exchange has. A side `is_complete` when the book ends with a level that is known: where the
    whole side does, or where it was cut. `ends[n]` is the base quantity of the first n levels.
    """

    towards: int
    prices: Sequence[int]
    quantities: Sequence[int]
    reach: int | None
    is_complete: bool
    ends: list[int]

    @property
    def is_beyond_reach(self) -> bool:
        """Whether no level is known although there may be some: whatever is best lies beyond the reach."""
        return not self.prices and self.reach is not None

    @property
    def best(self) -> Scaled | None:
        """The best level."""
        return (self.prices[0], self.quantities[0]) if self.prices else None

    def levels(self) -> Iterator[Scaled]:
        """Return the levels, best first."""
        return zip(self.prices, self.quantities, strict=True)


def read_side(towards: int, rows: list[Level] | bytes, bound: str | None, scale: Scale) -> Side:
    """Read the rows of one side, which may come in any order and with quantities of zero, or their JSON.

    `bound` is the floor of bids, the ceiling of asks: beyond it levels may be missing, so what lies there is left out.
    A level exactly at it is known. None: these are all levels that the exchange has.

    Raises `InvalidMarketData` for what is no list of `[price, quantity]` in decimal strings, a price of zero or one
    that occurs twice, `FinerThanScaleError` if the scale is too coarse.
    """
    prices, quantities = _live(towards, _levels(towards, rows, scale))
    reach = None if bound is None else scale.price(bound)
    is_complete = reach is None or (bool(prices) and prices[-1] == reach)
    if reach is not None and prices and (prices[-1] - reach) * towards < 0:
        known = sum((price - reach) * towards >= 0 for price in prices)
        prices, quantities = prices[:known], quantities[:known]
    ends = list(accumulate(quantities, initial=0))
    return Side(towards, prices, quantities, reach, is_complete, ends)


_BETTER = {BID: gt, ASK: lt}


_FIELD = {BID: "bids", ASK: "asks"}


def _levels(towards: int, rows: list[Level] | bytes, scale: Scale) -> list[Scaled]:
    """Return the levels in the rows, or in their JSON."""
    text = rows if isinstance(rows, bytes) else orjson.dumps(rows)
    if text == b"[]":
        return []
    try:
        return [*map(scale.__getitem__, text[2:-2].split(b"],["))]
    except InvalidMarketData as error:
        raise InvalidMarketData(no_levels(_FIELD[towards], text)) from error


def _live(towards: int, levels: list[Scaled]) -> tuple[Sequence[int], Sequence[int]]:
    """Return prices and quantities of the levels that are not empty, best first."""
    if not levels:
        return (), ()
    prices, quantities = zip(*levels, strict=True)
    if all(quantities) and all(prices) and all(map(_BETTER[towards], prices, prices[1:])):
        return prices, quantities
    if 0 in prices:
        raise InvalidMarketData("a level has the price 0")
    live = {price: quantity for price, quantity in levels if quantity}
    if len(live) < len(quantities) - quantities.count(0):
        raise InvalidMarketData("a price occurs twice in one side")
    ordered = sorted(live, reverse=towards == BID)
    return ordered, [live[price] for price in ordered]
