"""Exchanges, queues and bindings of the broker, as data.

A new consumer is one more queue bound to a fanout exchange; no producer changes.
"""

from dataclasses import dataclass

BOOKS = "books"
PRICES = "prices"
DEAD_LETTERS = "dead-letters"
UNROUTED = "unrouted"

BOOKS_CONVERTER = "books.converter"
BOOKS_STORER = "books.storer"
PRICES_STORER = "prices.storer"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable fanout exchange, the durable queues bound to it, and where its unroutable messages go."""

    name: str
    queues: tuple[str, ...]
    alternate: str | None = None


EXCHANGES = (
    Exchange(BOOKS, (BOOKS_CONVERTER, BOOKS_STORER), alternate=UNROUTED),
    Exchange(PRICES, (PRICES_STORER,), alternate=UNROUTED),
    Exchange(DEAD_LETTERS, (DEAD_LETTERS,)),
    Exchange(UNROUTED, (UNROUTED,)),
)
