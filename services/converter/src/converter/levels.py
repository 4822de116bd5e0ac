"""One side of an order book as exact integers, and how far it is known."""

from collections.abc import Iterator
from itertools import chain
from operator import gt, lt
from typing import NamedTuple

from fairprice.errors import InvalidMarketData
from fairprice.fields import is_decimal, no_levels
from fairprice.messages import Level

Scaled = tuple[int, int]
"""Price and base quantity, both times the unit of their scale."""

BID = 1
ASK = -1

REMEMBERED = 2**15
"""Numbers kept converted, a few megabytes: a book repeats nearly all numbers of the one before it, and finding one
takes a fifth of the time of converting it."""


class FinerThanScaleError(ValueError):
    """A number has more decimals than the scale holds."""


class Scale(dict[str, int]):
    """Turns decimal strings into integers, `unit` times their value: `scale["0.5"]`; remembers what it turned.

    So each of them is looked at once, whether it is a decimal string at all included.
    """

    def __init__(self, decimals: int) -> None:
        super().__init__()
        self.decimals = decimals
        self.unit: int = 10**decimals

    def __missing__(self, text: str) -> int:
        """Convert and remember a number; raises `InvalidMarketData` for what is none, and `FinerThanScaleError`."""
        if not is_decimal(text):
            raise InvalidMarketData(f"{text!r:.80} is no decimal string")
        whole, _, fraction = text.partition(".")
        if len(fraction) > self.decimals:
            raise FinerThanScaleError(text)
        if len(self) >= REMEMBERED:
            self.clear()
        self[text] = number = int(whole + fraction.ljust(self.decimals, "0"))
        return number


class Side(NamedTuple):
    """The live levels of one side, best first, as far as they are proven to be all there are.

    `prices` and `quantities` are in one scale and go in parallel. `towards` is the sign of a price difference that
    leads to the other side: `BID` or `ASK`. Every level down (or up) to and including the price `reach` is known; None:
    every level that the exchange has. A side `is_complete` when the book ends with a level that is known: where the
    whole side does, or where it was cut.
    """

    towards: int
    prices: list[int]
    quantities: list[int]
    reach: int | None
    is_complete: bool

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


def read_side(towards: int, rows: list[Level], bound: str | None, scale: Scale) -> Side:
    """Read the rows of one side, which may come in any order and with quantities of zero.

    `bound` is the floor of bids, the ceiling of asks: beyond it levels may be missing, so what lies there is left out.
    A level exactly at it is known. None: these are all levels that the exchange has.

    Raises `InvalidMarketData` for what is no list of `[price, quantity]` in decimal strings, a price of zero or one
    that occurs twice, `FinerThanScaleError` if the scale is too coarse.
    """
    numbers = _numbers(towards, rows, scale)
    prices, quantities = numbers[::2], numbers[1::2]
    if 0 in numbers or not all(map(_BETTER[towards], prices, prices[1:])):
        prices, quantities = _live_best_first(prices, quantities, towards)
    if bound is None:
        return Side(towards, prices, quantities, None, is_complete=True)
    reach = scale[bound]
    is_complete = bool(prices) and prices[-1] == reach
    if prices and (prices[-1] - reach) * towards < 0:
        known = sum((price - reach) * towards >= 0 for price in prices)
        prices, quantities = prices[:known], quantities[:known]
    return Side(towards, prices, quantities, reach, is_complete)


_BETTER = {BID: gt, ASK: lt}


_FIELD = {BID: "bids", ASK: "asks"}


def _numbers(towards: int, rows: list[Level], scale: Scale) -> list[int]:
    try:
        if type(rows) is list and {*map(list.__len__, rows)} <= {2}:
            return [*map(scale.__getitem__, chain.from_iterable(rows))]
    except TypeError:  # a level is no list, or holds something else than texts
        pass
    except InvalidMarketData as error:
        raise InvalidMarketData(f"field {_FIELD[towards]!r}: {error}") from error
    raise InvalidMarketData(no_levels(_FIELD[towards], rows))


def _live_best_first(prices: list[int], quantities: list[int], towards: int) -> tuple[list[int], list[int]]:
    if 0 in prices:
        raise InvalidMarketData("a level has the price 0")
    live = {price: quantity for price, quantity in zip(prices, quantities, strict=True) if quantity}
    if len(live) < len(quantities) - quantities.count(0):
        raise InvalidMarketData("a price occurs twice in one side")
    ordered = sorted(live, reverse=towards == BID)
    return ordered, [live[price] for price in ordered]
