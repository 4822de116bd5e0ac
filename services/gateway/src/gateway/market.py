"""What the gateway has seen of each symbol: the newest price and book, gaps, history, and whether to trust it.

Made for a tap that sees every event: a price is read once, of the books of a message only the last line of each
symbol is kept, as bytes, and decoded when somebody asks for it.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import structlog

from fairprice.errors import InvalidLine
from fairprice.messages import Book, Gap, decode_line
from gateway.history import History
from gateway.quote import Quote, read_quote

TRUSTED = frozenset({"ok", "locked"})
"""The statuses under which a price means what it says."""

MAX_SYMBOLS = 500
MAX_GAPS = 200
RESTART = 60_000_000
"""Microseconds; an event that much older than the newest one begins a new run, a younger one is a replica's echo."""

_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"\\]{1,64})"')

News = tuple[str, bytes]
"""A symbol and a line about it, as it came over the wire."""

log = structlog.get_logger(__name__)


class Instrument:
    """One symbol. All ages come from the gateway's own clock, since the exchange's may differ or be a recording's."""

    def __init__(self, symbol: str, history_minutes: int) -> None:
        self.symbol = symbol
        self.history = History(history_minutes)
        self.quote: Quote | None = None
        self.gaps: deque[Gap] = deque(maxlen=MAX_GAPS)
        self.gap_count = 0
        self._received = 0
        self._good: Quote | None = None
        self._good_received = 0
        self._book: Book | None = None
        self._book_line = b""
        self._undecoded = b""
        self._history_minutes = history_minutes

    def take_quote(self, quote: Quote, now: int) -> bool:
        """Make it the newest quote and return True, unless it is a replica's echo of one already seen."""
        if self.quote and not _follows(quote, self.quote):
            return False
        if self.quote and quote.event_time < self.quote.event_time:
            self.history = History(self._history_minutes)
        self.quote, self._received = quote, now
        if quote.status in TRUSTED:
            self._good, self._good_received = quote, now
        self.history.append(quote)
        return True

    def take_gap(self, gap: Gap) -> bool:
        """Remember it and return True, unless it is known already."""
        if gap in self.gaps:
            return False
        self.gaps.append(gap)
        self.gap_count += 1
        return True

    def take_book(self, line: bytes) -> None:
        """Make it the newest book, without a look inside."""
        self._undecoded = line

    def book_line(self) -> bytes:
        """Return the newest valid book as it came over the wire, empty while there is none."""
        if self._undecoded:
            line, self._undecoded = self._undecoded, b""
            book = _book(line)
            if book and (self._book is None or _follows(book, self._book)):
                self._book, self._book_line = book, line
        return self._book_line

    def feed(self, now: int, stale_after: float) -> dict[str, Any]:
        """Return whether the newest price can be trusted, and what that rests on; ages in seconds.

        `state` is `live`, `stale` (no new price for `stale_after`), `untrusted` (its status is not in `TRUSTED`) or
        `waiting` (no price yet).
        """
        age = _seconds(now, self._received) if self.quote else None
        return {
            "state": self._state(age, stale_after),
            "age_seconds": age,
            "stale_after_seconds": stale_after,
            "last_good_price": self._good.price if self._good else None,
            "last_good_age_seconds": _seconds(now, self._good_received) if self._good else None,
            "gaps": self.gap_count,
            "last_gap": self.gaps[-1] if self.gaps else None,
        }

    def _state(self, age: float | None, stale_after: float) -> str:
        if self.quote is None or age is None:
            return "waiting"
        if age >= stale_after:
            return "stale"
        return "live" if self.quote.status in TRUSTED else "untrusted"


class Market:
    """All symbols seen or expected, at most `MAX_SYMBOLS`; names are upper case."""

    def __init__(self, history_minutes: int, expected: Iterable[str] = ()) -> None:
        self._history_minutes = history_minutes
        self._instruments: dict[str, Instrument] = {}
        self._refused = False
        for symbol in expected:
            self._instrument(symbol)

    def __iter__(self) -> Iterator[Instrument]:
        """Iterate over the instruments in the order in which they were expected or first seen."""
        return iter(self._instruments.values())

    def find(self, symbol: str) -> Instrument | None:
        """Return the instrument of that name in upper or lower case."""
        return self._instruments.get(symbol.upper())

    def names(self) -> list[str]:
        """Return the names of all symbols."""
        return list(self._instruments)

    def take(self, body: bytes, now: int) -> list[News]:
        """Take the lines of a message received at `now` (microseconds); return those of prices and gaps that are news.

        An invalid line is passed over: converter and storer send it to the dead letters, a tap only has to survive it.
        """
        news: list[News] = []
        for line in body.split(b"\n"):
            try:
                symbol = self._take(line, now) if line else None
            except InvalidLine as error:
                log.debug("invalid line not shown", reason=str(error))
            else:
                if symbol:
                    news.append((symbol, line))
        return news

    def take_books(self, body: bytes, symbols: int, now: int) -> list[News]:
        """Take a message with books of so many symbols, received at `now`; return the lines of gaps that are news.

        Only the last line of each symbol is looked at, unless the message holds a gap.
        """
        if b'"gap"' in body:
            return self.take(body, now)
        seen: set[bytes] = set()
        for line in _backwards(body):
            match = _SYMBOL.search(line)
            if match and match[1] not in seen:
                seen.add(match[1])
                self._take_book(match[1].decode(errors="replace"), line)
            if len(seen) >= symbols:
                break
        return []

    def _take(self, line: bytes, now: int) -> str | None:
        """Return the symbol of a line that is news."""
        fields = _fields(line)
        if fields.get("type") == "price":
            quote = read_quote(fields, line)
            instrument = self._instrument(quote.symbol)
            return quote.symbol if instrument and instrument.take_quote(quote, now) else None
        event = decode_line(line)
        instrument = self._instrument(event.symbol)
        if instrument and isinstance(event, Gap):
            return event.symbol if instrument.take_gap(event) else None
        if instrument and isinstance(event, Book):
            instrument.take_book(line)
        return None

    def _take_book(self, symbol: str, line: bytes) -> None:
        instrument = self._instrument(symbol)
        if instrument:
            instrument.take_book(line)

    def _instrument(self, symbol: str) -> Instrument | None:
        found = self._instruments.get(symbol)
        if found is None and len(self._instruments) < MAX_SYMBOLS:
            found = self._instruments[symbol] = Instrument(symbol, self._history_minutes)
        elif found is None and not self._refused:
            self._refused = True
            log.warning("too many symbols, later ones are not shown", shown=MAX_SYMBOLS, first_not_shown=symbol)
        return found


def feed_frame(instrument: Instrument, now: int, stale_after: float) -> bytes:
    """Return the state of a symbol's feed as one line of JSON for websocket clients."""
    return orjson.dumps({"type": "feed", "symbol": instrument.symbol, **instrument.feed(now, stale_after)})


def _follows(event: Book | Quote, newest: Book | Quote) -> bool:
    """Replicas tell everything twice: what is not newer is an echo, unless a feed has begun anew."""
    if event.event_time != newest.event_time:
        return event.event_time > newest.event_time or event.event_time < newest.event_time - RESTART
    return event.update_id > newest.update_id


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidLine(line, f"not JSON: {error}") from error
    if type(fields) is not dict:
        raise InvalidLine(line, "no JSON object")
    return fields


def _book(line: bytes) -> Book | None:
    try:
        event = decode_line(line)
    except InvalidLine as error:
        log.debug("invalid book not shown", reason=str(error))
        return None
    return event if isinstance(event, Book) else None


def _backwards(body: bytes) -> Iterator[bytes]:
    end = len(body)
    while end >= 0:
        start = body.rfind(b"\n", 0, end) + 1
        if start < end:
            yield body[start:end]
        end = start - 1


def _seconds(now: int, then: int) -> float:
    return max(0, now - then) / 1e6
