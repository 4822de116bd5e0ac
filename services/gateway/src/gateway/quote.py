"""What the gateway itself reads of a price event.

Everything else in the line is passed on as it came. `fairprice.messages.decode_line` checks all of its forty fields,
which costs five times as much and is the storer's business; here a live view sees every price there is.
"""

from typing import Any, NamedTuple

from fairprice.errors import InvalidLine
from gateway.dispute import Top
from gateway.key import Key
from gateway.lines import NUMBERS, read_name


class Quote(NamedTuple):
    """The part of a price event that is drawn and judged; `line` is the event on the wire, times are microseconds."""

    key: Key
    event_time: int
    update_id: int
    first_update_id: int
    status: str
    price: float | None
    bid: float | None
    ask: float | None
    spread_bps: float | None
    imbalance: float | None
    line: bytes

    @property
    def top(self) -> Top:
        """Best bid and ask."""
        return Top(self.bid, self.ask)

    @property
    def mid(self) -> float | None:
        """The middle of bid and ask, None where one of them is missing."""
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


def read_quote(fields: dict[str, Any], line: bytes) -> Quote:
    """Return the quote in the fields of a line, None for values that an older one lacks; raises `InvalidLine`."""
    try:
        quote = Quote(
            read_name(fields, line),
            fields["event_time"],
            fields["update_id"],
            fields["first_update_id"],
            fields["status"],
            fields.get("price"),
            fields.get("bid"),
            fields.get("ask"),
            fields.get("spread_bps"),
            fields.get("imbalance"),
            line,
        )
    except KeyError as error:
        raise InvalidLine(line, f"field {error} is missing") from error
    numbers = quote.price, quote.bid, quote.ask, quote.spread_bps, quote.imbalance
    are_numbers = NUMBERS.issuperset(map(type, numbers))
    are_integers = type(quote.event_time) is type(quote.update_id) is type(quote.first_update_id) is int
    if not (type(quote.status) is str and are_integers and are_numbers and 0 <= quote.event_time < 1 << 63):
        raise InvalidLine(line, "a field of the price has the wrong type")
    return quote
