"""The newest price of one symbol that was made at the speed of its tickers, beside those of the record. Pure."""

from typing import Any, NamedTuple

import orjson

from fairprice.errors import InvalidLine
from gateway.dispute import Top
from gateway.key import Key
from gateway.lines import NUMBERS, read_fields, read_name
from gateway.run import NEW_RUN_AFTER, Run, Step

_LADDER = frozenset({"type", "bids", "asks"})
"""Fields that are left out where many symbols are told of."""


class Live(NamedTuple):
    """What the gateway itself reads of a live price; `line` is the event on the wire."""

    key: Key
    ticker_id: int
    event_time: int
    top: Top
    line: bytes


def read_live(line: bytes) -> Live:
    """Return the live price in a line; raises `InvalidLine`."""
    fields = read_fields(line)
    top = Top(fields.get("bid"), fields.get("ask"))
    live = Live(read_name(fields, line), fields.get("ticker_id", ""), fields.get("event_time", ""), top, line)
    integers = type(live.ticker_id) is type(live.event_time) is int
    if not (fields.get("type") == "live" and integers and NUMBERS.issuperset(map(type, top))):
        raise InvalidLine(line, "no live price")
    return live


class LiveView:
    """Several crawlers and converters bring the same; the newest best bid and ask is that with the highest id."""

    def __init__(self, new_run_after: float = NEW_RUN_AFTER) -> None:
        self._run = Run(new_run_after)
        self.top = Top(None, None)
        self.line = b""
        self._received = 0.0

    def take(self, live: Live, now: float) -> bool:
        """Make it the newest and return True, unless it is an echo or comes late; `now` is in seconds, monotonic."""
        if self._run.take((live.ticker_id, live.event_time), now) is Step.LATE:
            return False
        self.top, self.line, self._received = live.top, live.line, now
        return True

    def age(self, now: float) -> float | None:
        """Return the seconds since the newest was received."""
        return now - self._received if self.line else None

    def fields(self, now: float) -> dict[str, Any] | None:
        """Return the newest but for its levels, with its age in seconds; None before the first."""
        if not self.line:
            return None
        fields = orjson.loads(self.line)
        return {name: value for name, value in fields.items() if name not in _LADDER} | {"age_seconds": self.age(now)}
