"""Exchanges, queues and bindings of the broker, as data.

A new consumer is one more queue bound to a fanout exchange; no producer changes.
"""

from dataclasses import dataclass

BOOKS = "books"
PRICES = "prices"
QUOTES = "quotes"
LIVE = "live"
DEAD_LETTERS = "dead-letters"
UNROUTED = "unrouted"

BOOKS_CONVERTER = "books.converter"
BOOKS_STORER = "books.storer"
PRICES_STORER = "prices.storer"
QUOTES_CONVERTER = "quotes.converter"

QUEUE_BYTES = 1 << 30
"""What a queue of a stream holds before it refuses: some 700,000 books."""

LAST_RESORT_BYTES = 256 << 20
"""The same for queues behind which there is no other, and for those of a consumer of one's own."""

DELIVERY_LIMIT = 1000
"""Deliveries of a message before it goes to the dead letters: a consumer may die that often with it in hand.

RabbitMQ 4 takes 20 for a queue that says nothing. Never -1: RabbitMQ 3.10 takes that for none at all.
"""

LAST_RESORT_DELIVERY_LIMIT = 100_000
"""The same for queues behind which there is no other: what people look at again and again stays."""

LIVE_MILLISECONDS = 1000
"""What has waited for so long is of no use to a live view."""

LIVE_MESSAGES = 2000
"""What a queue of the live view holds before it forgets the oldest."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable fanout exchange, the durable queues bound to it, and where its unroutable messages go.

    `dead_letters` is the exchange for what was delivered from one of its queues too often. Full queues that `refuse`
    hold up who publishes; others forget their oldest message, as those of a consumer of one's own should. What is
    `live` may be lost: it is cast, its queues are classic ones that forget within a second, and work goes on without.
    """

    name: str
    queues: tuple[str, ...]
    alternate: str | None = None
    dead_letters: str | None = None
    refuse: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What a service does at the broker: the exchanges it publishes and casts to and taps, the queues it consumes."""

    publishes: tuple[str, ...] = ()
    casts: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    taps: tuple[str, ...] = ()


EXCHANGES = (
    Exchange(BOOKS, (BOOKS_CONVERTER, BOOKS_STORER), alternate=UNROUTED, dead_letters=DEAD_LETTERS, refuse=True),
    Exchange(PRICES, (PRICES_STORER,), alternate=UNROUTED, dead_letters=DEAD_LETTERS, refuse=True),
    Exchange(QUOTES, (QUOTES_CONVERTER,), live=True),
    Exchange(LIVE, (), live=True),
    Exchange(DEAD_LETTERS, (DEAD_LETTERS,), refuse=True),
    Exchange(UNROUTED, (UNROUTED,), refuse=True),
)

USES = {
    "crawler": Use(publishes=(BOOKS,), casts=(QUOTES,)),
    "converter": Use(publishes=(PRICES, DEAD_LETTERS), casts=(LIVE,), consumes=(BOOKS_CONVERTER, QUOTES_CONVERTER)),
    "storer": Use(publishes=(DEAD_LETTERS,), consumes=(BOOKS_STORER, PRICES_STORER)),
    "gateway": Use(taps=(BOOKS, PRICES, LIVE)),
}
"""What each service does at the broker, by its name; its user there needs the rights for that and no others."""
