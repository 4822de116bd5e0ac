"""What a field of an event can hold, and which field holds what: said once, by the annotations of the events."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

Name = Annotated[str, "name"]
"""1 to 64 characters without blanks."""
Integer = Annotated[int, "integer"]
"""From 0 to 2^63 - 1; times are microseconds since the epoch."""
Decimal = Annotated[str, "decimal"]
"""A number as the exchange wrote it, like `61000.01000000`."""
Text = Annotated[str, "text"]
"""At most a thousand characters, for people."""
Number = Annotated[float, "number"]
Real = Annotated[float, "real"]
"""A number from -1e100 to 1e100, far beyond any price, so that sums of them are numbers, too."""
Size = Annotated[float, "size"]
"""A number from 0 to 1e100."""
Truth = Annotated[bool, "boolean"]
Level = list[str]
"""`[price, quantity]`, decimal strings as the exchange sent them."""
Levels = Annotated[list[Level], "levels"]
PriceValues = Annotated[Mapping[str, float | None], "price values"]
"""The values beside a price, on the wire fields of their own."""
DepthValues = Annotated[Mapping[str, float | None], "depth values"]
"""The quantities and values of a depth, on the wire fields of their own."""


@dataclass(frozen=True)
class Kind:
    """What a field holds: `name` is one of the above, or that of an object's class, in lower case."""

    name: str
    is_nullable: bool
    may_be_absent: bool


def kinds(event: type) -> dict[str, Kind]:
    """Return the kind of each field of an event's class, or of an object's inside one."""
    hints = get_type_hints(event, include_extras=True)
    return {field.name: _kind(hints[field.name], may_be_absent=field.default is not MISSING) for field in fields(event)}


def _kind(hint: Any, *, may_be_absent: bool) -> Kind:
    options = get_args(hint) if NoneType in get_args(hint) else (hint,)
    [held] = (each for each in options if each is not NoneType)
    name = held.__metadata__[0] if hasattr(held, "__metadata__") else held.__name__.lower()
    return Kind(name, NoneType in options, may_be_absent)
