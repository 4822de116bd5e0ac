"""What was published, as an independent witness saw it, and its comparison with what is stored.

The witness is a durable queue of its own at each exchange. What the broker has confirmed is in there, and what was
published twice is in there twice.
"""

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import chain, product

from aiormq import spec
from waiting import eventually

EXCHANGES = ("books", "prices")
WITNESS = {"x-queue-type": "quorum"}
LEVELS = 20
WHOLE = {
    "update_id",
    *(f"{side}_{what}_{n:02}" for side, what, n in product(("bid", "ask"), ("price", "size"), range(LEVELS))),
}
"""The fields of a stored book; one that is being written shows some of them."""

POISON = "POISON"
"""The symbol of lines that are bad on purpose and no events."""

TRUTHS = 20
"""Books compared with the exchange's own, which tell all levels and are slow to make."""


def queue_of(exchange):
    return f"ledger.{exchange}"


async def witness(host):
    """Begin to witness what passes the exchanges of a virtual host."""
    async with host.channel() as channel:
        for exchange in EXCHANGES:
            await channel.queue_declare(queue_of(exchange), durable=True, arguments=WITNESS)
            await channel.queue_bind(queue_of(exchange), exchange)


async def messages_of(host, queue):
    """Take everything that a queue holds."""
    taken = []
    async with host.channel() as channel:
        declared = await channel.queue_declare(queue, passive=True)
        all_taken = asyncio.Event()

        async def take(message):
            taken.append(message)
            if len(taken) == declared.message_count:
                all_taken.set()

        if declared.message_count:
            await channel.basic_consume(queue, take, no_ack=True)
            await all_taken.wait()
    return taken


async def publish(host, exchange, *bodies, **properties):
    """Publish messages as anybody might, whatever is in them."""
    async with host.channel() as channel:
        for number, body in enumerate(bodies):
            await channel.basic_publish(
                body,
                exchange=exchange,
                properties=spec.Basic.Properties(delivery_mode=2, message_id=f"raw-{number}", **properties),
            )


@dataclass
class Ledger:
    """Events by exchange identity: symbol and time; prices may have been made twice, at different times."""

    books: dict = field(default_factory=dict)
    gaps: dict = field(default_factory=dict)
    prices: dict = field(default_factory=lambda: defaultdict(list))
    told: dict = field(default_factory=lambda: defaultdict(list))
    """Every book as each crawler published it: what lies beyond its reach one may know better than the other."""
    published: Counter = field(default_factory=Counter)
    """How often each message was, by its id."""

    @classmethod
    async def read(cls, host):
        """Take all that the witness has seen; lines that are no events are left out."""
        ledger = cls()
        for exchange in EXCHANGES:
            messages = await messages_of(host, queue_of(exchange))
            ledger.published.update(message.header.properties.message_id for message in messages)
            for line in chain.from_iterable(message.body.splitlines() for message in messages):
                ledger._note(line)
        return ledger

    def _note(self, line):
        try:
            event = json.loads(line, parse_constant=lambda _name: None)
        except ValueError:
            return
        match event:
            case {"symbol": str(symbol)} if symbol == POISON:
                pass
            case {"type": "book", "symbol": symbol, "event_time": time}:
                assert self.books.setdefault((symbol, time), event)["update_id"] == event["update_id"]
                self.told[symbol, time].append(event)
            case {"type": "gap", "symbol": symbol, "from_time": time, "from_update_id": first, "to_update_id": last}:
                self.gaps[symbol, time + (last - first) % 1000] = event
            case {"type": "price", "symbol": symbol, "event_time": time}:
                self.prices[symbol, time].append(event)

    @property
    def repeated(self):
        """How many messages were published that had been before."""
        return self.published.total() - len(self.published)

    def compare(self, rows):
        """Return how many events are stored and how many lost; fails on anything that is stored otherwise or extra.

        `rows` returns the rows of a measurement. Every book has to be there as it was published, and its price.
        """
        stored = {name: _by_key(rows(name)) for name in ("fair_price", "order_book", "gap")}
        expected = {"fair_price": {**self.books, **self.prices}, "order_book": self.books, "gap": self.gaps}
        for measurement, events in expected.items():
            assert stored[measurement].keys() <= events.keys(), f"{measurement} that nobody published"
        for key, row in stored["fair_price"].items():
            _assert_price(row, self.books.get(key), self.prices[key])
        for key, row in stored["order_book"].items():
            assert_book(row, self.books[key])
        for key, row in stored["gap"].items():
            gap = self.gaps[key]
            assert [row[name] for name in ("from_update_id", "to_update_id", "reason")] == [
                gap[name] for name in ("from_update_id", "to_update_id", "reason")
            ]
        lost = sum(len(events.keys() - stored[measurement].keys()) for measurement, events in expected.items())
        return len(stored["fair_price"]), lost

    def assert_no_hole(self):
        """Fail unless every update id from the first book on is in a book or in a gap."""
        for symbol in {symbol for symbol, _ in self.books}:
            books = [book for (name, _), book in self.books.items() if name == symbol]
            gaps = [gap for (name, _), gap in self.gaps.items() if name == symbol]
            ranges = [(book["first_update_id"], book["update_id"]) for book in books]
            reached = min(ranges)[0] - 1
            ranges += [(gap["from_update_id"], gap["to_update_id"]) for gap in gaps]
            for first, last in sorted(ranges):
                assert first <= reached + 1, f"{symbol}: {reached + 1} to {first - 1} are in no book and in no gap"
                reached = max(reached, last)


def assert_true(pipeline):
    """Fail unless some of the newest books that are stored are what the exchange's own were, level by level."""

    def some():
        newest = [row for row in pipeline.newest("order_book", TRUTHS * 21) if row.keys() >= WHOLE]
        return newest[: TRUTHS * 20 : 20]

    for row in eventually(lambda: len(found := some()) == TRUTHS and found, why="books stay in part"):
        assert_book(row, pipeline.exchange.book(row["symbol"], row["update_id"], LEVELS))


def _by_key(rows):
    keyed = {(row["symbol"], row["time"]): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def _assert_price(row, book, prices):
    """The row is one of the prices that were made of the book, field for field, and agrees with the book itself."""
    fields = {name: value for name, value in row.items() if name not in ("time", "venue", "symbol")}
    made = [price_fields(price) for price in prices]
    assert fields in made, (fields, made)
    if book is None:
        return
    assert (row["first_update_id"], row["update_id"]) == (book["first_update_id"], book["update_id"])
    tops = [*_known_best(book["bids"], book["floor"], 1), *_known_best(book["asks"], book["ceiling"], -1)]
    assert [row.get(name) for name in ("bid", "bid_size", "ask", "ask_size")] == tops


def _known_best(levels, bound, sign):
    """Return price and size of the best level, None where it lies beyond what the book knows."""
    price, size = map(float, levels[0]) if levels else (None, None)
    is_known = levels and (bound is None or sign * price >= sign * float(bound))
    return (price, size) if is_known else (None, None)


def price_fields(price):
    """Return the fields of the row that a price becomes."""
    latency = {"latency_ms": (price["priced_time"] - price["event_time"]) / 1000}
    unstored = {"type", "venue", "symbol", "event_time", "received_time", "priced_time"}
    return {name: value for name, value in price.items() if name not in unstored and value is not None} | latency


def assert_book(row, book):
    assert row["update_id"] == book["update_id"]
    for side, levels in (("bid", book["bids"]), ("ask", book["asks"])):
        for position, (price, size) in enumerate(levels):
            assert row[f"{side}_price_{position:02}"] == float(price)
            assert row[f"{side}_size_{position:02}"] == float(size)
