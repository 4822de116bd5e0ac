"""The events on the wire and their codec: one JSON object a line.

Events of one type of message (`books.v1`) only ever gain: fields and values that a reader does not know are ignored,
lines of an unknown `type` are passed over. What would break a reader gets a new type of message.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    Live,
    Model,
    Price,
    Quote,
    Start,
    Status,
)
from fairprice.fields import (
    MAX_NAME,
    READERS,
    Reader,
    Wrong,
    are_levels,
    field_of,
    name_of,
    no_levels,
    nullable,
    number_of,
    object_of,
)
from fairprice.kinds import Kind, Level, kinds

CONTENT_TYPE = "application/x-ndjson"
BOOKS_TYPE = "books.v1"
PRICES_TYPE = "prices.v1"
QUOTES_TYPE = "quotes.v1"
LIVE_TYPE = "live.v1"

MAX_LINES = 100
MAX_BYTES = 256 * 1024
"""What a message holds at most; a larger event goes alone."""

__all__ = [
    "BOOKS_TYPE", "CONFIGURED_VALUE", "CONTENT_TYPE", "DEPTH_VALUE", "EVENTS", "LIVE_TYPE", "MAX_BYTES",
    "MAX_LINES", "MAX_NAME", "PRICED", "PRICES_TYPE", "PRICE_VALUES", "QUOTES_TYPE", "Audit", "Book", "Depth",
    "Event", "Gap", "Level", "Live", "Model", "Price", "Quote", "Start", "Status", "are_levels", "check_type", "decode",
    "decode_but_levels", "decode_line", "encode", "join", "lines",
]  # fmt: skip
"""All that a service, or a reader of the messages, needs; events and fields have modules of their own."""

EVENTS: Mapping[str, Mapping[str, type[Event]]] = {
    BOOKS_TYPE: {"book": Book, "gap": Gap, "start": Start, "status": Status, "audit": Audit, "depth": Depth},
    PRICES_TYPE: {"price": Price},
    QUOTES_TYPE: {"quote": Quote},
    LIVE_TYPE: {"live": Live},
}
"""The events in messages of each type, by the `type` of their lines."""

_TYPES = {event: name for events in EVENTS.values() for name, event in events.items()}
_HEADS = {event: f'{{"type":"{name}",'.encode() for event, name in _TYPES.items()}
_BIDS, _ASKS = b',"bids":[[', b',"asks":[['

_PRICES = (Price, Live)
_WITH_VALUES = (*_PRICES, Depth)


def encode(event: Event) -> bytes:
    """Return the event as one line of JSON, without the line's end."""
    if isinstance(event, _WITH_VALUES):
        return orjson.dumps(_flat(event), default=orjson.Fragment)  # levels that are JSON already
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
    event = _event(line, object_of)
    if isinstance(event, Book | Quote | Live):
        for field, rows in (("bids", event.bids), ("asks", event.asks)):
            if not are_levels(rows):
                raise InvalidLine(line, no_levels(field, rows))
    return event


def decode_but_levels(line: bytes) -> Event:
    """Return the same, but `bids` and `asks` may be anything, as a rule their JSON: for who looks at each of them.

    To read and to check them here costs several times as much as the rest of the line.
    """
    return _event(line, _fields_but_levels)


def _event(line: bytes, read: Callable[[bytes], dict[str, Any]]) -> Event:
    try:
        fields = read(line)
        kind = name_of(fields, "type")
        if decode := _DECODERS.get(kind):
            return _consistent(decode(fields))
    except Wrong as wrong:
        raise InvalidLine(line, str(wrong)) from None
    raise UnknownLine(line, f"unknown type {kind!r}")


def _fields_but_levels(line: bytes) -> dict[str, Any]:
    """Return the fields of a line, `bids` and `asks` as their JSON where they are written as `encode` does it."""
    begin = line.find(_BIDS)
    middle = line.find(b"]]", begin) + 2
    end = line.find(b"]]", middle + len(_ASKS)) + 2
    is_whole = 0 < begin < middle < end and line.startswith(_ASKS, middle)
    if not is_whole or line.find(b"{", 1, begin) >= 0:  # there they may belong to an object inside
        return object_of(line)
    bids, asks = line[begin + len(_BIDS) - 2 : middle], line[middle + len(_ASKS) - 2 : end]
    return {"bids": bids, "asks": asks, **object_of(line[:begin] + line[end:])}


def join(lines: Iterable[bytes]) -> bytes:
    """Return the body of a message that carries these lines."""
    return b"\n".join(lines)


def _flat(event: Price | Live | Depth) -> dict[str, object]:
    """Return the fields of a line in which the values stand beside the others."""
    fields = {"type": _TYPES[type(event)], **vars(event), **event.values}
    del fields["values"]
    return fields


def _consistent(event: Event) -> Event:
    """Return an event whose price and status fit each other; raise `Wrong` otherwise."""
    if isinstance(event, _PRICES) and (event.price is not None) != (event.status in PRICED):
        raise Wrong(f"field 'price' is {event.price} although 'status' is {event.status!r}")
    return event


def _decoder(event: type[Any]) -> Callable[[dict[str, Any]], Any]:
    """Return what makes an event, or an object inside one, of the fields of its line.

    Its calls are spelt out, as `dataclasses` does it: in a loop over the fields they cost a fifth more.
    """
    readers = {f"read_{name}": _reader(kind) for name, kind in kinds(event).items()}
    calls = ", ".join(f"{read}(fields, '{read.removeprefix('read_')}')" for read in readers)
    decode: Callable[[dict[str, Any]], Any] = eval(f"lambda fields: event({calls})", {"event": event, **readers})  # noqa: S307  names of fields of our own
    return decode


def _reader(kind: Kind) -> Reader:
    read = _READERS[kind.name]
    return nullable(read, may_be_absent=kind.may_be_absent) if kind.is_nullable else read


def _model_of(fields: dict[str, Any], field: str) -> Model:
    model = field_of(fields, field)
    if type(model) is not dict:
        raise Wrong(f"field {field!r} is no object: {model!r:.80}")
    return _decode_model(model)


def _price_values_of(fields: dict[str, Any], _: str) -> dict[str, float | None]:
    names = _value_names(tuple(fields))
    values = dict(zip(names, map(fields.get, names), strict=True))
    if {*map(type, values.values())} <= {float, NoneType}:
        return values
    return {name: number_of(values, name) for name in names}


def _depth_values_of(fields: dict[str, Any], _: str) -> dict[str, float | None]:
    return {name: number_of(fields, name) for name in fields if DEPTH_VALUE.fullmatch(name)}


@lru_cache(maxsize=64)
def _value_names(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a price event's values: those that are known, there or not, and the configured ones."""
    return (*PRICE_VALUES, *filter(_is_configured_value, fields))


def _is_configured_value(name: str) -> bool:
    return CONFIGURED_VALUE.fullmatch(name) is not None


_READERS: Mapping[str, Reader] = {
    **READERS,
    "model": _model_of,
    "price values": _price_values_of,
    "depth values": _depth_values_of,
}
_decode_model: Callable[[dict[str, Any]], Model] = _decoder(Model)
_DECODERS = {name: _decoder(event) for events in EVENTS.values() for name, event in events.items()}
