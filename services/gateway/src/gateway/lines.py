"""The lines of a message, read no further than the gateway needs."""

import re
from collections.abc import Iterator
from types import NoneType
from typing import Any

import orjson

from fairprice.errors import InvalidLine
from fairprice.messages import MAX_NAME, join, lines
from gateway.key import Key

NUMBERS = frozenset({float, int, NoneType})
"""Types of a number that may be missing."""

_BOOK = b'{"type":"book",'
_VENUE = re.compile(rb'"venue"\s*:\s*"([^"\\]{1,64})"')
_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"\\]{1,64})"')
_EVENT_TIME = re.compile(rb'"event_time"\s*:\s*(\d{1,19})\b')
_UPDATE_ID = re.compile(rb'"update_id"\s*:\s*(\d{1,19})\b')


def are_books(body: bytes) -> bool:
    """Return whether every line holds a book, as our own encoder writes them."""
    return body.count(_BOOK) == body.count(b"\n") + 1


def apart(body: bytes) -> tuple[bytes, bytes]:
    """Return the lines that hold books, as our own encoder writes them, and the others."""
    books: list[bytes] = []
    others: list[bytes] = []
    for line in lines(body):
        (books if line.startswith(_BOOK) else others).append(line)
    return join(books), join(others)


def newest_books(body: bytes, symbols: int) -> Iterator[tuple[Key, bytes]]:
    """Yield the last line of each symbol in a message of nothing but books, which holds so many symbols."""
    seen: set[tuple[bytes, bytes]] = set()
    for line in _backwards(body):
        venue, symbol = _VENUE.search(line), _SYMBOL.search(line)
        if venue and symbol and (venue[1], symbol[1]) not in seen:
            seen.add((venue[1], symbol[1]))
            yield Key(venue[1].decode(errors="replace"), symbol[1].decode(errors="replace")), line
        if len(seen) >= symbols:
            return


def read_position(line: bytes) -> tuple[int, int] | None:
    """Return event time and update id of a book that is not decoded yet, None where they are not found."""
    event_time, update_id = _EVENT_TIME.search(line), _UPDATE_ID.search(line)
    return (int(event_time[1]), int(update_id[1])) if event_time and update_id else None


def read_fields(line: bytes) -> dict[str, Any]:
    """Return the fields of a line; raises `InvalidLine`."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidLine(line, f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise InvalidLine(line, "no JSON object")
    return fields


def read_name(fields: dict[str, Any], line: bytes) -> Key:
    """Return which symbol a line is about; raises `InvalidLine`."""
    venue, symbol = fields.get("venue"), fields.get("symbol")
    if not (type(venue) is type(symbol) is str and 0 < len(venue) <= MAX_NAME and 0 < len(symbol) <= MAX_NAME):
        raise InvalidLine(line, f"venue and symbol are no names of 1 to {MAX_NAME} characters")
    return Key(venue, symbol)


def _backwards(body: bytes) -> Iterator[bytes]:
    end = len(body)
    while end >= 0:
        start = body.rfind(b"\n", 0, end) + 1
        if start < end:
            yield body[start:end]
        end = start - 1
