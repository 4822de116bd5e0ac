"""How far from the price a book is known: as far as the snapshot that it began with. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from math import inf
from typing import NamedTuple

from crawler.book.market_data import Snapshot
from crawler.book.order_book import OrderBook
from fairprice.messages import Level


class Reach(NamedTuple):
    """The prices between which every level is known; None means no bound.

    When the best bid falls below `low_mark` or the best ask rises above `high_mark`, half of the way to the bound is
    used up and it is time for another snapshot.
    """

    floor: str | None = None
    ceiling: str | None = None
    low_mark: float = -inf
    high_mark: float = inf

    def is_left(self, best_bid: float, best_ask: float) -> bool:
        """Return whether a best price lies where better ones may be that nobody knows."""
        is_below = self.floor is not None and best_bid < float(self.floor)
        return is_below or (self.ceiling is not None and best_ask > float(self.ceiling))


class Comparison(NamedTuple):
    """How many levels two books of the same id have where both are known, and how many of these differ."""

    levels: int
    wrong: int


def compare(book: OrderBook, other: OrderBook, reach: Reach, other_reach: Reach) -> Comparison:
    """Compare two books level by level, as far as both are known."""
    floor = max(Decimal(each.floor or 0) for each in (reach, other_reach))
    ceiling = min(Decimal(each.ceiling or "Infinity") for each in (reach, other_reach))
    sides = (
        (_quantities(book.bids, floor, None), _quantities(other.bids, floor, None)),
        (_quantities(book.asks, None, ceiling), _quantities(other.asks, None, ceiling)),
    )
    levels = sum(len(mine.keys() | theirs.keys()) for mine, theirs in sides)
    wrong = sum(len({price for price, _ in mine.items() ^ theirs.items()}) for mine, theirs in sides)
    return Comparison(levels, wrong)


def _quantities(side: Iterable[Level], floor: Decimal | None, ceiling: Decimal | None) -> dict[Decimal, Decimal]:
    """Return the quantity at each price of a side from `floor` to `ceiling`."""
    numbers = ((Decimal(price), Decimal(quantity)) for price, quantity in side)
    return {
        price: quantity
        for price, quantity in numbers
        if (floor is None or price >= floor) and (ceiling is None or price <= ceiling)
    }


def reach_of(snapshot: Snapshot, before: Reach | None) -> Reach:
    """Return how far a book is known after this snapshot, given how far it was known before, if it was."""
    floor = None if snapshot.bids_complete or not snapshot.bids else snapshot.bids[-1][0]
    ceiling = None if snapshot.asks_complete or not snapshot.asks else snapshot.asks[-1][0]
    if before:
        floor = None if floor is None or before.floor is None else min(floor, before.floor, key=Decimal)
        ceiling = None if ceiling is None or before.ceiling is None else max(ceiling, before.ceiling, key=Decimal)
    low_mark = -inf if floor is None else (float(snapshot.bids[0][0]) + float(floor)) / 2
    high_mark = inf if ceiling is None else (float(snapshot.asks[0][0]) + float(ceiling)) / 2
    return Reach(floor, ceiling, low_mark, high_mark)
