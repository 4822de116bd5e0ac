"""The events on the wire and their codec: one JSON object a line.

Events of one type of message (`books.v1`) only ever gain: fields and values that a reader does not know are ignored,
lines of an unknown `type` are passed over. What would break a reader gets a new type of message.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import NoneType
from typing import Any

import orjson

from fairprice.errors import InvalidLine, InvalidMessage, UnknownLine
from fairprice.events import (
    CONFIGURED_VALUE,
    DEPTH_VALUE,
    PRICE_VALUES,
    PRICED,
    Audit,
    Book,
    Depth,
    Event,
    Gap,
    Level,
    Live,
    Model,
    Price,
    Quote,
    Start,
    Status,
)
from fairprice.fields import (
    MAX_NAME,
    Wrong,
    are_levels,
    decimal_of,
    field_of,
    integer_of,
    name_of,
    no_levels,
    number_of,
    object_of,
    optional,
    real_of,
    size_of,
    text_of,
    truth_of,
)

CONTENT_TYPE = "application/x-ndjson"
BOOKS_TYPE = "books.v1"
PRICES_TYPE = "prices.v1"
QUOTES_TYPE = "quotes.v1"
LIVE_TYPE = "live.v1"

MAX_LINES = 100
MAX_BYTES = 256 * 1024
"""What a message holds at most; a larger event goes alone."""

__all__ = [
    "BOOKS_TYPE", "CONFIGURED_VALUE", "CONTENT_TYPE", "DEPTH_VALUE", "LIVE_TYPE", "MAX_BYTES", "MAX_LINES", "MAX_NAME",
    "PRICED", "PRICES_TYPE", "PRICE_VALUES", "QUOTES_TYPE", "Audit", "Book", "Depth", "Event", "Gap", "Level", "Live",
    "Model", "Price", "Quote", "Start", "Status", "are_levels", "check_type", "decode", "decode_but_levels",
    "decode_line", "encode", "join", "lines",
]  # fmt: skip
"""All that a service, or a reader of the messages, needs; events and fields have modules of their own."""

_HEADS: dict[type[Event], bytes] = {
    Book: b'{"type":"book",',
    Gap: b'{"type":"gap",',
    Start: b'{"type":"start",',
    Status: b'{"type":"status",',
    Audit: b'{"type":"audit",',
    Quote: b'{"type":"quote",',
}
"""How a line begins of what is written field by field."""


def encode(event: Event) -> bytes:
    """Return the event as one line of JSON, without the line's end."""
    if isinstance(event, Price):
        return orjson.dumps(_flat_price(event))
    if isinstance(event, Depth):
        return orjson.dumps(_flat_depth(event))
    if isinstance(event, Live):
        return orjson.dumps(_flat_live(event))
    return _HEADS[type(event)] + orjson.dumps(event)[1:]


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
    event = decode_but_levels(line)
    if isinstance(event, Book | Quote | Live):
        for field, rows in (("bids", event.bids), ("asks", event.asks)):
            if not are_levels(rows):
                raise InvalidLine(line, no_levels(field, rows))
    return event


def decode_but_levels(line: bytes) -> Event:
    """Return the same, but `bids` and `asks` may be anything: for a reader that looks at each of them.

    To check them here costs more than to read the whole line.
    """
    try:
        fields = object_of(line)
        kind = name_of(fields, "type")
        if decoder := _DECODERS.get(kind):
            return decoder(fields)
    except Wrong as wrong:
        raise InvalidLine(line, str(wrong)) from None
    raise UnknownLine(line, f"unknown type {kind!r}")


def join(lines: Iterable[bytes]) -> bytes:
    """Return the body of a message that carries these lines."""
    return b"\n".join(lines)


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


def _flat_depth(depth: Depth) -> dict[str, object]:
    return {
        "type": "depth",
        "venue": depth.venue,
        "symbol": depth.symbol,
        "update_id": depth.update_id,
        "event_time": depth.event_time,
        "crawler": depth.crawler,
        **depth.values,
    }


def _flat_live(live: Live) -> dict[str, object]:
    return {
        "type": "live",
        "venue": live.venue,
        "symbol": live.symbol,
        "first_update_id": live.first_update_id,
        "update_id": live.update_id,
        "event_time": live.event_time,
        "ticker_id": live.ticker_id,
        "received_time": live.received_time,
        "priced_time": live.priced_time,
        "estimator": live.estimator,
        "status": live.status,
        "price": live.price,
        "bids": live.bids,
        "asks": live.asks,
        **live.values,
    }


def _decode_book(fields: dict[str, Any]) -> Book:
    return Book(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "first_update_id"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        optional(integer_of, fields, "previous_event_time"),
        integer_of(fields, "received_time"),
        name_of(fields, "crawler"),
        field_of(fields, "bids"),
        field_of(fields, "asks"),
        optional(decimal_of, fields, "floor"),
        optional(decimal_of, fields, "ceiling"),
        _model_of(fields.get("model")),
    )


def _model_of(fields: Any) -> Model | None:
    """Return what a book's `model` says; a book of an older crawler has none."""
    if fields is None:
        return None
    if type(fields) is not dict:
        raise Wrong(f"field 'model' is no object: {fields!r:.80}")
    return Model(
        integer_of(fields, "block"),
        real_of(fields, "beta_500ms"),
        real_of(fields, "beta_1s"),
        real_of(fields, "beta_5s"),
        optional(size_of, fields, "half_width_1s"),
        optional(size_of, fields, "half_width_10s"),
        integer_of(fields, "observations_500ms"),
        integer_of(fields, "observations_1s"),
        integer_of(fields, "observations_5s"),
        integer_of(fields, "observations_10s"),
    )


def _decode_gap(fields: dict[str, Any]) -> Gap:
    return Gap(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "from_update_id"),
        integer_of(fields, "to_update_id"),
        integer_of(fields, "from_time"),
        integer_of(fields, "to_time"),
        name_of(fields, "reason"),
    )


def _decode_start(fields: dict[str, Any]) -> Start:
    return Start(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "first_update_id"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        name_of(fields, "crawler"),
    )


def _decode_quote(fields: dict[str, Any]) -> Quote:
    return Quote(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "first_update_id"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        integer_of(fields, "ticker_id"),
        integer_of(fields, "received_time"),
        name_of(fields, "crawler"),
        field_of(fields, "bids"),
        field_of(fields, "asks"),
        optional(decimal_of, fields, "floor"),
        optional(decimal_of, fields, "ceiling"),
        _model_of(fields.get("model")),
    )


def _decode_price(fields: dict[str, Any]) -> Price:
    price, status = _priced(fields)
    return Price(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "first_update_id"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        integer_of(fields, "received_time"),
        optional(integer_of, fields, "priced_time"),
        name_of(fields, "estimator"),
        status,
        price,
        _values_of(fields),
    )


def _decode_live(fields: dict[str, Any]) -> Live:
    price, status = _priced(fields)
    return Live(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "first_update_id"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        integer_of(fields, "ticker_id"),
        integer_of(fields, "received_time"),
        optional(integer_of, fields, "priced_time"),
        name_of(fields, "estimator"),
        status,
        price,
        field_of(fields, "bids"),
        field_of(fields, "asks"),
        _values_of(fields),
    )


def _priced(fields: dict[str, Any]) -> tuple[float | None, str]:
    """Return price and status, which have to fit each other."""
    price = number_of(fields, "price")
    status = name_of(fields, "status")
    if (price is not None) != (status in PRICED):
        raise Wrong(f"field 'price' is {price} although 'status' is {status!r}")
    return price, status


def _values_of(fields: dict[str, Any]) -> dict[str, float | None]:
    """Return the values beside a price."""
    names = _value_names(tuple(fields))
    values = dict(zip(names, map(fields.get, names), strict=True))
    if {*map(type, values.values())} <= {float, NoneType}:
        return values
    return {name: number_of(values, name) for name in names}


def _decode_status(fields: dict[str, Any]) -> Status:
    return Status(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "event_time"),
        name_of(fields, "crawler"),
        name_of(fields, "exchange_status"),
        truth_of(fields, "is_halted"),
        optional(text_of, fields, "problem"),
        None if fields.get("model_time") is None else integer_of(fields, "model_time"),
    )


def _decode_audit(fields: dict[str, Any]) -> Audit:
    return Audit(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "event_time"),
        name_of(fields, "crawler"),
        integer_of(fields, "from_update_id"),
        integer_of(fields, "to_update_id"),
        integer_of(fields, "tops"),
        integer_of(fields, "wrong"),
        integer_of(fields, "levels"),
        integer_of(fields, "levels_wrong"),
    )


def _decode_depth(fields: dict[str, Any]) -> Depth:
    return Depth(
        name_of(fields, "venue"),
        name_of(fields, "symbol"),
        integer_of(fields, "update_id"),
        integer_of(fields, "event_time"),
        name_of(fields, "crawler"),
        {name: number_of(fields, name) for name in fields if DEPTH_VALUE.fullmatch(name)},
    )


_DECODERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "book": _decode_book,
    "gap": _decode_gap,
    "start": _decode_start,
    "price": _decode_price,
    "status": _decode_status,
    "audit": _decode_audit,
    "depth": _decode_depth,
    "quote": _decode_quote,
    "live": _decode_live,
}


@lru_cache(maxsize=64)
def _value_names(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a price event's values: those that are known, there or not, and the configured ones."""
    return (*PRICE_VALUES, *filter(_is_configured_value, fields))


def _is_configured_value(name: str) -> bool:
    return CONFIGURED_VALUE.fullmatch(name) is not None
