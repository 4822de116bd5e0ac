"""The events on the wire and their codec: one JSON object a line.

Prices and quantities that the exchange sent stay decimal strings; derived values are JSON numbers.
All times are integer microseconds since the epoch. Events are made once and never changed; they are not frozen only
because that would double the cost of making and encoding them, thousands of times a second.

Events of one type of message (`books.v1`) only ever gain: fields and values that a reader does not know are ignored,
lines of an unknown `type` are passed over. What would break a reader gets a new type of message.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, TypeVar

import orjson

from fairprice.errors import InvalidLine, InvalidMessage, UnknownLine

CONTENT_TYPE = "application/x-ndjson"
BOOKS_TYPE = "books.v1"
PRICES_TYPE = "prices.v1"

MAX_LINES = 100
MAX_BYTES = 256 * 1024
"""What a message holds at most; a larger event goes alone."""

T = TypeVar("T")

Name = Annotated[str, "name"]
"""1 to 64 characters without blanks."""
Integer = Annotated[int, "integer"]
"""From 0 to 2^63 - 1; times are microseconds since the epoch."""
Decimal = Annotated[str, "decimal"]
"""A number as the exchange wrote it, like `61000.01000000`."""
Text = Annotated[str, "text"]
"""At most a thousand characters, for people."""
Level = list[str]
"""`[price, quantity]`, decimal strings as the exchange sent them."""

PRICE_VALUES = (
    "bid", "ask", "bid_size", "ask_size", "spread", "spread_bps", "imbalance", "mid", "weighted_mid", "impact_mid",
)  # fmt: skip
"""Values beside `price` that are known; one that an older `Price` lacks is None."""

PRICED = frozenset({"ok", "locked"})
"""The statuses with a price."""

MAX_NAME = 64
MAX_TEXT = 1000

CONFIGURED_VALUE = re.compile(
    r"depth_(bid|ask)_[0-9]{1,20}(_[0-9]{1,20})?bps|impact_(bid|ask)_[0-9]{1,20}(_[0-9]{1,20})?"
)
"""Names of the values that settings add: base quantity within so many basis points of the mid, and the average
fill price of a quote notional. A decimal point in the setting is written `_`."""

_DECIMAL = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?")
_DECIMALS = re.compile(r"(?:[0-9]{1,40}+(?>\.[0-9]{1,40}+|)\|)*+")
"""Decimals, each followed by a bar. Possessive, so that it never looks back: much faster. Python 3.11.2, Debian's,
takes `1.` for a decimal where the inner group ends in `?+` (gh-106052)."""
_NAME = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,64}")


@dataclass
class Book:
    """The best levels of an in-sync order book right after one diff.

    `first_update_id` to `update_id` are the exchange's ids that this book adds to the one before it.
    `previous_event_time` is the event time of that book, None for the first of a synchronisation.
    `bids` and `asks` are best first. Between `floor` and `ceiling` every level is known; None means no bound.
    `crawler` names the instance that saw it.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    previous_event_time: Integer | None
    received_time: Integer
    crawler: Name
    bids: list[Level]
    asks: list[Level]
    floor: Decimal | None
    ceiling: Decimal | None


@dataclass
class Gap:
    """Update ids that no published book covers, from the last book before them to the first one after them."""

    venue: Name
    symbol: Name
    from_update_id: Integer
    to_update_id: Integer
    from_time: Integer
    to_time: Integer
    reason: Name


@dataclass
class Price:
    """The fair price of one book, or the reason why there is none.

    `price` is the value of `estimator`, None exactly when `status` is not one of `PRICED`. `values` holds every number
    beside it under the names of `PRICE_VALUES` and `CONFIGURED_VALUE`; None where the book does not determine it.
    `priced_time` is None in a replay, whose clock means nothing.
    """

    venue: Name
    symbol: Name
    first_update_id: Integer
    update_id: Integer
    event_time: Integer
    received_time: Integer
    priced_time: Integer | None
    estimator: Name
    status: Name
    price: float | None
    values: Mapping[str, float | None]


@dataclass
class Status:
    """What a crawler knows of a symbol beside its book, published when it changes and once a minute.

    `event_time` is the crawler's clock. `exchange_status` is the exchange's own word (`TRADING`, `BREAK`) or
    `UNLISTED`, `is_halted` what it means. `problem` is a sentence for a person, None while there is none.
    """

    venue: Name
    symbol: Name
    event_time: Integer
    crawler: Name
    exchange_status: Name
    is_halted: bool
    problem: Text | None


@dataclass
class Audit:
    """What one crawler compared with the exchange's own account, for one symbol and minute of the exchange's time.

    `event_time` is where the minute begins, the ids are those of the books published in it. `tops` were compared with
    the ticker and `levels` with a fresh snapshot; so many of these were `wrong` and `levels_wrong`.
    """

    venue: Name
    symbol: Name
    event_time: Integer
    crawler: Name
    from_update_id: Integer
    to_update_id: Integer
    tops: Integer
    wrong: Integer
    levels: Integer
    levels_wrong: Integer


Event = Book | Gap | Price | Status | Audit


def encode(event: Event) -> bytes:
    """Return the event as one line of JSON, without the line's end."""
    match event:
        case Book():
            return b'{"type":"book",' + orjson.dumps(event)[1:]
        case Gap():
            return b'{"type":"gap",' + orjson.dumps(event)[1:]
        case Price():
            return orjson.dumps(_flat_price(event))
        case Status():
            return b'{"type":"status",' + orjson.dumps(event)[1:]
        case Audit():
            return b'{"type":"audit",' + orjson.dumps(event)[1:]


def check_type(message_type: str, expected: str) -> None:
    """Raise `InvalidMessage` unless a message is of the type that its queue holds; an empty type counts as that."""
    if message_type not in {"", expected}:
        raise InvalidMessage(f"messages of type {message_type!r:.80} are not read here, only {expected}")


def lines(body: bytes) -> Iterator[bytes]:
    """Yield each line of a message's body that is not empty: the one way into a message."""
    return filter(None, body.split(b"\n"))


def decode(body: bytes) -> Iterator[Event | InvalidLine]:
    """Yield an event for each line of a message's body, or the `InvalidLine` in its place.

    Blank lines are skipped and unknown fields ignored; a bad line never harms its neighbours.
    """
    for line in lines(body):
        try:
            yield decode_line(line)
        except InvalidLine as invalid:
            yield invalid


def decode_line(line: bytes) -> Event:
    """Return the event that one line holds; raises `InvalidLine`, and of that `UnknownLine` for an unknown type."""
    try:
        event = _read(line)
        if isinstance(event, Book):
            _check_levels(event)
    except _Wrong as wrong:
        raise InvalidLine(line, str(wrong)) from None
    return event


def decode_wanted(line: bytes, wanted: Callable[[Book], bool]) -> Event | None:
    """Return the event that one line holds, or None for a book that is not `wanted`, whose levels are unchecked then.

    Raises what `decode_line` raises. Checking all levels of a book costs more than reading its JSON.
    """
    try:
        event = _read(line)
        if isinstance(event, Book):
            if not wanted(event):
                return None
            _check_levels(event)
    except _Wrong as wrong:
        raise InvalidLine(line, str(wrong)) from None
    return event


def are_levels(rows: object) -> bool:
    """Return whether this is a list of `[price, quantity]` pairs in plain decimal strings."""
    if type(rows) is not list or not set(map(type, rows)) <= {list}:
        return False
    try:
        text = "|".join([*chain.from_iterable(rows), ""])
        no_bar_inside = text.count("|") == 2 * len(rows)
        return no_bar_inside and set(map(len, rows)) <= {2} and _DECIMALS.fullmatch(text) is not None
    except TypeError:
        return False


def join(lines: Iterable[bytes]) -> bytes:
    """Return the body of a message that carries these lines."""
    return b"\n".join(lines)


class _Wrong(Exception):
    """What the sender did wrong; anything else that is raised here is a mistake of ours."""


def _read(line: bytes) -> Event:
    """Return the event that a line holds; the levels of a book are unchecked."""
    fields = _object(line)
    kind = _name(fields, "type")
    if decoder := _DECODERS.get(kind):
        return decoder(fields)
    raise UnknownLine(line, f"unknown type {kind!r}")


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _Wrong(f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise _Wrong("not a JSON object")
    return fields


def _field(fields: dict[str, Any], field: str) -> Any:
    try:
        return fields[field]
    except KeyError:
        raise _Wrong(f"field {field!r} is missing") from None


def _flat_price(price: Price) -> dict[str, object]:
    return {
        "type": "price",
        "venue": price.venue,
        "symbol": price.symbol,
        "first_update_id": price.first_update_id,
        "update_id": price.update_id,
        "event_time": price.event_time,
        "received_time": price.received_time,
        "priced_time": price.priced_time,
        "estimator": price.estimator,
        "status": price.status,
        "price": price.price,
        **price.values,
    }


def _decode_book(fields: dict[str, Any]) -> Book:
    return Book(
        _name(fields, "venue"),
        _name(fields, "symbol"),
        _integer(fields, "first_update_id"),
        _integer(fields, "update_id"),
        _integer(fields, "event_time"),
        _optional(_integer, fields, "previous_event_time"),
        _integer(fields, "received_time"),
        _name(fields, "crawler"),
        _field(fields, "bids"),
        _field(fields, "asks"),
        _optional(_decimal, fields, "floor"),
        _optional(_decimal, fields, "ceiling"),
    )


def _decode_gap(fields: dict[str, Any]) -> Gap:
    return Gap(
        _name(fields, "venue"),
        _name(fields, "symbol"),
        _integer(fields, "from_update_id"),
        _integer(fields, "to_update_id"),
        _integer(fields, "from_time"),
        _integer(fields, "to_time"),
        _name(fields, "reason"),
    )


def _decode_price(fields: dict[str, Any]) -> Price:
    price = _number(fields, "price")
    status = _name(fields, "status")
    if (price is not None) != (status in PRICED):
        raise _Wrong(f"field 'price' is {price} although 'status' is {status!r}")
    values = {
        name: value if type(value := fields.get(name)) is float or value is None else _number(fields, name)
        for name in _value_names(tuple(fields))
    }
    return Price(
        _name(fields, "venue"),
        _name(fields, "symbol"),
        _integer(fields, "first_update_id"),
        _integer(fields, "update_id"),
        _integer(fields, "event_time"),
        _integer(fields, "received_time"),
        _optional(_integer, fields, "priced_time"),
        _name(fields, "estimator"),
        status,
        price,
        values,
    )


def _decode_status(fields: dict[str, Any]) -> Status:
    return Status(
        _name(fields, "venue"),
        _name(fields, "symbol"),
        _integer(fields, "event_time"),
        _name(fields, "crawler"),
        _name(fields, "exchange_status"),
        _truth(fields, "is_halted"),
        _optional(_text, fields, "problem"),
    )


def _decode_audit(fields: dict[str, Any]) -> Audit:
    return Audit(
        _name(fields, "venue"),
        _name(fields, "symbol"),
        _integer(fields, "event_time"),
        _name(fields, "crawler"),
        _integer(fields, "from_update_id"),
        _integer(fields, "to_update_id"),
        _integer(fields, "tops"),
        _integer(fields, "wrong"),
        _integer(fields, "levels"),
        _integer(fields, "levels_wrong"),
    )


_DECODERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "book": _decode_book,
    "gap": _decode_gap,
    "price": _decode_price,
    "status": _decode_status,
    "audit": _decode_audit,
}


@lru_cache(maxsize=64)
def _value_names(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a price event's values: those that are known, there or not, and the configured ones."""
    return (*PRICE_VALUES, *filter(_is_configured_value, fields))


def _is_configured_value(name: str) -> bool:
    return CONFIGURED_VALUE.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    return _NAME.fullmatch(value) is not None


def _name(fields: dict[str, Any], field: str) -> str:
    value = _field(fields, field)
    if type(value) is not str or len(value) > MAX_NAME or not _is_name(value):
        raise _Wrong(f"field {field!r} is no name of 1 to 64 characters without blanks: {value!r:.80}")
    return value


def _integer(fields: dict[str, Any], field: str) -> int:
    value = _field(fields, field)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise _Wrong(f"field {field!r} is no integer from 0 to 2^63 - 1: {value!r:.80}")
    return value


def _number(fields: dict[str, Any], field: str) -> float | None:
    value = _field(fields, field)
    if value is None or type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise _Wrong(f"field {field!r} is neither a number nor null: {value!r:.80}")


def _decimal(fields: dict[str, Any], field: str) -> str:
    value = _field(fields, field)
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        raise _Wrong(f"field {field!r} is no decimal string: {value!r:.80}")
    return value


def _truth(fields: dict[str, Any], field: str) -> bool:
    value = _field(fields, field)
    if type(value) is not bool:
        raise _Wrong(f"field {field!r} is neither true nor false: {value!r:.80}")
    return value


def _text(fields: dict[str, Any], field: str) -> str:
    value = _field(fields, field)
    if type(value) is not str or len(value) > MAX_TEXT:
        raise _Wrong(f"field {field!r} is no text of at most {MAX_TEXT} characters: {value!r:.80}")
    return value


def _check_levels(book: Book) -> None:
    for field, rows in (("bids", book.bids), ("asks", book.asks)):
        if not are_levels(rows):
            raise _Wrong(f"field {field!r} is no list of [price, quantity] in decimal strings: {rows!r:.80}")


def _optional(read: Callable[[dict[str, Any], str], T], fields: dict[str, Any], field: str) -> T | None:
    return None if _field(fields, field) is None else read(fields, field)
