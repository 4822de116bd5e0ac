"""How far from the price a book is known: as far as the snapshot that it began with. Pure."""

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


def known_levels(book: OrderBook, *reaches: Reach) -> tuple[list[Level], list[Level]]:
    """Return the book's best levels as far as they lie within all reaches."""
    bids, asks = book.best()
    floor = max(Decimal(reach.floor or 0) for reach in reaches)
    ceiling = min(Decimal(reach.ceiling or "Infinity") for reach in reaches)
    return [bid for bid in bids if Decimal(bid[0]) >= floor], [ask for ask in asks if Decimal(ask[0]) <= ceiling]


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
