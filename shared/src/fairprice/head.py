"""The beginning of a line: which book or price it holds, for whoever passes over most of them. Pure.

Reading it takes a tenth of the time of decoding the line.
"""

import re
from typing import NamedTuple

_NAME = r'"([!#-\[\]-~]{1,64})"'
_INTEGER = r"(0|[1-9][0-9]{0,17})"
_HEAD = re.compile(
    rf'\{{"type":"(book|price)","venue":{_NAME},"symbol":{_NAME},"first_update_id":{_INTEGER},"update_id":{_INTEGER},'
    rf'"event_time":{_INTEGER},(?:"previous_event_time":(?:{_INTEGER}|null),)?(?!"previous_event_time")'.encode()
)


class Head(NamedTuple):
    """What names an event; see `fairprice.events` for the fields."""

    kind: str
    venue: str
    symbol: str
    first_update_id: int
    update_id: int
    event_time: int
    previous_event_time: int | None


def head_of(line: bytes) -> Head | None:
    """Return the head of a book or a price; the rest of the line may be anything.

    None for every other event, and where the fields come otherwise than in the order of `fairprice.events`, written
    without blanks, as `encode` does: then the line has to be decoded.
    """
    found = _HEAD.match(line)
    if not found:
        return None
    kind, venue, symbol, first, last, time, previous = found.groups()
    return Head(
        kind.decode(),
        venue.decode(),
        symbol.decode(),
        int(first),
        int(last),
        int(time),
        None if previous is None else int(previous),
    )
