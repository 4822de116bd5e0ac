"""The fields of a line of JSON, each read as what it has to be.

All functions raise `Wrong`, in words for whoever looks at a dead letter.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, TypeGuard

import orjson

MAX_NAME = 64
MAX_TEXT = 1000
MAX_REAL = 1e100

_DECIMAL = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?")
_DECIMALS = re.compile(r"(?:[0-9]{1,40}+(?>\.[0-9]{1,40}+|)\|)*+")
"""Decimals, each followed by a bar. Possessive, so that it never looks back: much faster. Python 3.11.2, Debian's,
takes `1.` for a decimal where the inner group ends in `?+` (gh-106052)."""
_NAME = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,64}")


class Wrong(Exception):
    """What the sender did wrong; anything else that is raised here is a mistake of ours."""


def object_of(line: bytes) -> dict[str, Any]:
    """Return the fields of a line."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Wrong(f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise Wrong("not a JSON object")
    return fields


def field_of(fields: dict[str, Any], field: str) -> Any:
    """Return a field's value, which has to be there."""
    try:
        return fields[field]
    except KeyError:
        raise Wrong(f"field {field!r} is missing") from None


@lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    return _NAME.fullmatch(value) is not None


def name_of(fields: dict[str, Any], field: str) -> str:
    """Return 1 to 64 characters without blanks."""
    value = field_of(fields, field)
    if type(value) is not str or len(value) > MAX_NAME or not _is_name(value):
        raise Wrong(f"field {field!r} is no name of 1 to 64 characters without blanks: {value!r:.80}")
    return value


def integer_of(fields: dict[str, Any], field: str) -> int:
    """Return an integer from 0 to 2^63 - 1."""
    value = field_of(fields, field)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise Wrong(f"field {field!r} is no integer from 0 to 2^63 - 1: {value!r:.80}")
    return value


def number_of(fields: dict[str, Any], field: str) -> float | None:
    """Return a number, None for null."""
    value = field_of(fields, field)
    if value is None or type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise Wrong(f"field {field!r} is neither a number nor null: {value!r:.80}")


def real_of(fields: dict[str, Any], field: str) -> float:
    """Return a number from -1e100 to 1e100."""
    value = number_of(fields, field)
    if value is None or not -MAX_REAL <= value <= MAX_REAL:
        raise Wrong(f"field {field!r} is no number from -1e100 to 1e100: {value}")
    return value


def size_of(fields: dict[str, Any], field: str) -> float:
    """Return a number from 0 to 1e100."""
    value = real_of(fields, field)
    if value < 0:
        raise Wrong(f"field {field!r} is negative: {value}")
    return value


def is_decimal(value: object) -> TypeGuard[str]:
    """Return whether this is a decimal string, as an exchange writes a price."""
    return type(value) is str and _DECIMAL.fullmatch(value) is not None


def decimal_of(fields: dict[str, Any], field: str) -> str:
    """Return a decimal string as the exchange wrote it."""
    value = field_of(fields, field)
    if not is_decimal(value):
        raise Wrong(f"field {field!r} is no decimal string: {value!r:.80}")
    return value


def truth_of(fields: dict[str, Any], field: str) -> bool:
    """Return true or false."""
    value = field_of(fields, field)
    if type(value) is not bool:
        raise Wrong(f"field {field!r} is neither true nor false: {value!r:.80}")
    return value


def text_of(fields: dict[str, Any], field: str) -> str:
    """Return a text for people."""
    value = field_of(fields, field)
    if type(value) is not str or len(value) > MAX_TEXT:
        raise Wrong(f"field {field!r} is no text of at most {MAX_TEXT} characters: {value!r:.80}")
    return value


def no_levels(field: str, rows: object) -> str:
    """Say of a side of a book that `are_levels` is false of it."""
    return f"field {field!r} is no list of [price, quantity] in decimal strings: {rows!r:.80}"


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


Reader = Callable[[dict[str, Any], str], Any]

READERS: Mapping[str, Reader] = {
    "name": name_of,
    "integer": integer_of,
    "decimal": decimal_of,
    "text": text_of,
    "number": number_of,
    "real": real_of,
    "size": size_of,
    "boolean": truth_of,
    "levels": field_of,
}
"""What reads a field of each kind; `levels` are read as they are, for `are_levels` costs more than the whole line."""


def nullable(read: Reader, *, may_be_absent: bool) -> Reader:
    """Return what reads a field that is null where there is nothing, or not there either."""
    look_up = dict.get if may_be_absent else field_of

    def read_or_none(fields: dict[str, Any], field: str) -> Any:
        return None if look_up(fields, field) is None else read(fields, field)

    return read_or_none
