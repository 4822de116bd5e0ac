"""What a published book has to show of the exchange's own one."""

from decimal import Decimal

from fairprice.messages import Book, Level
from simulator import Book as Truth


def known(truth: Truth, book: Book) -> tuple[list[Level], list[Level]]:
    """Return the true bids and asks, best first, in the price range in which the published book tells all of them."""
    floor, ceiling = Decimal(book.floor or 0), Decimal(book.ceiling or "Infinity")
    return (
        [list(level) for level in truth.bids if Decimal(level[0]) >= floor],
        [list(level) for level in truth.asks if Decimal(level[0]) <= ceiling],
    )
