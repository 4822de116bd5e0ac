"""What is stored: the measurements, and how a line of a message becomes a point of one of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from fairprice.errors import InvalidLine
from fairprice.gaps import claimed
from fairprice.head import head_of
from fairprice.messages import Audit, Book, Depth, Event, Gap, Level, Model, Price, Start, decode_line
from fairprice.sampling import is_sampled

FAIR_PRICE = "fair_price"
ORDER_BOOK = "order_book"
GAP = "gap"
START = "start"
AUDIT = "audit"
MODEL = "model"
DEPTH = "depth"
BASIS = "basis"
MEASUREMENTS = {FAIR_PRICE, ORDER_BOOK, GAP, START, AUDIT, MODEL, DEPTH, BASIS}

MINUTE = 60_000_000
"""Microseconds between two models that are stored."""

REVISION = {FAIR_PRICE: "update_id", ORDER_BOOK: "update_id", GAP: "to_update_id"}
"""The field that tells which of two points with the same key is the later one, whatever order they come in.

A measurement without one keeps every field that any of them had: the points are several crawlers' accounts."""

Value = float | int | str | None
DecimalText = str | None
"""A number as the exchange wrote it, like `61000.01000000`; a store keeps it as the nearest float."""

TICK = 1000
"""Microseconds between two different times of an exchange."""

_NO_LEVEL: tuple[DecimalText, DecimalText] = (None, "0")


@dataclass(slots=True)
class Point:
    """One row of a measurement; `time` is microseconds since the epoch.

    Measurement, venue, symbol and time are its key. They come from the exchange only, so the same event always makes
    the same point. Ids are integers, every other number a float; `decimals` are more fields, behind `fields`, whose
    floats nobody had to work out. A field that is None has no value.
    Made once and never changed; it is not frozen only because that would double the cost of making it.
    """

    measurement: str
    time: int
    venue: str
    symbol: str
    fields: Mapping[str, Value]
    decimals: Mapping[str, DecimalText] = field(default_factory=dict)


def price_points(line: bytes) -> Iterator[Point]:
    """Yield the point of a line of a queue of prices; raises `InvalidLine`."""
    event = decode_line(line)
    if not isinstance(event, Price):
        raise InvalidLine(line, "only price events have a place in a queue of prices")
    yield fair_price_point(event)


def book_queue_points(line: bytes, *, levels: int, interval: int) -> Iterator[Point]:
    """Yield the points of a line of a queue of books, none for what is not stored; raises `InvalidLine`.

    See `order_book_point` for `levels`, `is_sampled` for `interval`. Of a book between two samples, as nearly all are,
    no more than its head is read.
    """
    head = head_of(line)
    if head and head.kind == "book":
        times = head.event_time, head.previous_event_time
        if not (is_sampled(*times, interval) or is_sampled(*times, MINUTE)):
            return
    match decode_line(line):
        case Book() as book:
            times = book.event_time, book.previous_event_time
            if is_sampled(*times, interval):
                yield order_book_point(book, levels)
            if book.model and is_sampled(*times, MINUTE):
                yield model_point(book, book.model)
        case Gap() | Start() | Audit() | Depth() as event:
            yield _POINTS[type(event)](event)
        case Price():
            raise InvalidLine(line, "a price event has no place in a queue of books")
        case _:
            pass  # what a crawler knows of a symbol


def fair_price_point(price: Price) -> Point:
    """Return the point of a price; `latency_ms` is the time from the exchange's event to the price."""
    latency = None if price.priced_time is None else (price.priced_time - price.event_time) / 1000
    fields: dict[str, Value] = {
        "price": price.price,
        **price.values,
        "first_update_id": price.first_update_id,
        "update_id": price.update_id,
        "estimator": price.estimator,
        "status": price.status,
        "latency_ms": latency,
    }
    return Point(FAIR_PRICE, price.event_time, price.venue, price.symbol, fields)


def order_book_point(book: Book, levels: int) -> Point:
    """Return the point of a book's best `levels` of each side; a level that is absent has no price and the size 0."""
    rows = _padded(book.bids, levels) + _padded(book.asks, levels)
    decimals = dict(zip(_level_names(levels), chain.from_iterable(rows), strict=True))
    return Point(ORDER_BOOK, book.event_time, book.venue, book.symbol, {"update_id": book.update_id}, decimals)


def model_point(book: Book, model: Model) -> Point:
    """Return the point of the model that a book brings."""
    numbers = {name: value for name, value in vars(model).items() if name != "block"}
    fields: dict[str, Value] = {name: None if value is None else float(value) for name, value in numbers.items()}
    return Point(MODEL, book.event_time, book.venue, book.symbol, fields)


def gap_point(gap: Gap) -> Point:
    """Return the point of a gap, at the time of the last book before it, and less than a millisecond later.

    A claim of one crawler: which of its ids stay open is found out later, from the rows (`storer.settlement`). By the
    microseconds claims that begin behind one book and end at different ids have different keys, so that a longer one is
    never lost to a shorter one that is written late, nor any to one that covers no id, since ids began anew.
    """
    time = gap.from_time + (gap.to_update_id - gap.from_update_id) % TICK
    fields: dict[str, Value] = {
        "from_update_id": gap.from_update_id,
        "to_update_id": gap.to_update_id,
        "duration_ms": (gap.to_time - gap.from_time) / 1000,
        "reason": gap.reason,
        "open_ids": claimed(gap.from_update_id, gap.to_update_id),
    }
    return Point(GAP, time, gap.venue, gap.symbol, fields)


def start_point(start: Start) -> Point:
    """Return the point of a start: what is missing before it is found out later, from the rows (`storer.starts`)."""
    fields = {"first_update_id": start.first_update_id, "update_id": start.update_id}
    return Point(START, start.event_time, start.venue, start.symbol, fields)


def audit_point(audit: Audit) -> Point:
    """Return the point of one crawler's audit of a minute, at its begin.

    A count that is zero is absent, so that what another crawler compared, or found wrong, is not hidden by it.
    """
    counts = {"tops": audit.tops, "wrong": audit.wrong, "levels": audit.levels, "levels_wrong": audit.levels_wrong}
    fields: dict[str, Value] = {
        "from_update_id": audit.from_update_id,
        "to_update_id": audit.to_update_id,
        **{name: float(count) for name, count in counts.items() if count},
    }
    return Point(AUDIT, audit.event_time, audit.venue, audit.symbol, fields)


def depth_point(depth: Depth) -> Point:
    """Return the point of a depth; a value beyond what this crawler knows is absent, another may know it."""
    values = {name: value for name, value in depth.values.items() if value is not None}
    return Point(DEPTH, depth.event_time, depth.venue, depth.symbol, {**values, "update_id": depth.update_id})


def _padded(rows: list[Level], levels: int) -> list[Sequence[DecimalText]]:
    return [*rows[:levels], *repeat(_NO_LEVEL, levels - len(rows))]


@lru_cache
def _level_names(levels: int) -> tuple[str, ...]:
    return tuple(
        f"{side}_{value}_{position:02}"
        for side in ("bid", "ask")
        for position in range(levels)
        for value in ("price", "size")
    )


_POINTS: Mapping[type[Event], Callable[[Any], Point]] = {
    Gap: gap_point,
    Start: start_point,
    Audit: audit_point,
    Depth: depth_point,
}
"""What makes a point of an event that comes beside the books."""
