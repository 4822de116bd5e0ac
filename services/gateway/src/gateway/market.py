"""What the gateway has seen of all symbols.

Made for a tap that sees every event: a price is read once, of the books of a message only the last line of each
symbol is kept, as bytes, and decoded when somebody asks for it.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import structlog

from fairprice.basis import basis_bps
from fairprice.errors import InvalidLine
from fairprice.messages import Audit, Depth, Gap, Status, decode_line, lines
from gateway.instrument import Instrument, Limits, Moment
from gateway.key import Key, usual
from gateway.lines import apart, are_books, newest_books, read_fields, read_name
from gateway.live import read_live
from gateway.quote import read_quote
from gateway.states import State

News = tuple[Key, bytes]
"""A symbol and a line about it, as it came over the wire."""

log = structlog.get_logger(__name__)


class Market:
    """All symbols seen or expected, at most `limits.max_symbols`; venues are lower case, symbols upper case."""

    def __init__(self, limits: Limits, expected: Iterable[Key] = ()) -> None:
        self._limits = limits
        self._instruments: dict[Key, Instrument] = {}
        self._by_symbol: defaultdict[str, list[Instrument]] = defaultdict(list)
        self._not_shown: set[Key] = set()
        self._expected = frozenset(expected)
        for key in expected:
            self._instrument(key)

    def __iter__(self) -> Iterator[Instrument]:
        """Iterate over the instruments in the order in which they were expected or first seen."""
        return iter(self._instruments.values())

    def find(self, key: Key) -> list[Instrument]:
        """Return the instruments of that name, in the order of their venues; a key without venue may find several."""
        venue, symbol = usual(*key)
        return [each for each in self._by_symbol.get(symbol, ()) if venue in {"", each.key.venue}]

    def names(self) -> list[Key]:
        """Return the names of all symbols."""
        return list(self._instruments)

    def take(self, body: bytes, received: Moment) -> list[News]:
        """Take the lines of a message; return those of prices and open gaps that are news.

        An invalid line is passed over: converter and storer send it to the dead letters, a tap only has to survive it.
        So is one of a type that this version does not know.
        """
        news: list[News] = []
        for line in lines(body):
            try:
                key = self._take(line, received)
            except InvalidLine as error:
                log.debug("invalid line not shown", reason=str(error))
            else:
                if key:
                    news.append((key, line))
        return news

    def take_books(self, body: bytes, symbols: int, received: Moment) -> list[News]:
        """Take a message with books of so many symbols; return the lines of gaps that are news.

        Of the books only the last one of each symbol is looked at.
        """
        books, others = (body, b"") if are_books(body) else apart(body)
        for key, line in newest_books(books, symbols):
            if instrument := self._instrument(key):
                instrument.take_book(line, received.monotonic)
        return self.take(others, received)

    def take_live(self, body: bytes, received: Moment) -> list[News]:
        """Take a message of the live view; return the lines that are news. What cannot be read is passed over."""
        news: list[News] = []
        for line in lines(body):
            try:
                found = read_live(line)
            except InvalidLine as error:
                log.debug("invalid line not shown", reason=str(error))
                continue
            instrument = self._instrument(found.key)
            if instrument and instrument.take_live(found, received.monotonic):
                news.append((found.key, line))
        return news

    def forget(self, now: float) -> list[Key]:
        """Forget symbols that were not expected and have been silent for `limits.forgotten_after`; return which."""
        silent = [each.key for each in self if self._is_forgotten(each, now)]
        for key in silent:
            self._by_symbol[key.symbol].remove(self._instruments.pop(key))
            log.info("symbol not shown any more, nothing was heard of it", symbol=str(key))
        return silent

    def basis(self, instrument: Instrument, now: float) -> dict[str, Any]:
        """Return how far the mid lies above that of the same symbol at the reference, in basis points of the latter.

        The reference is the first of the venues that have the symbol, in the order of their names; it has no basis
        itself. `basis_bps` is None unless both prices are live.
        """
        reference = self._by_symbol[instrument.key.symbol][0]
        basis = None if reference is instrument else _basis(instrument, reference, now)
        return {
            "basis_bps": basis,
            "basis_against": None if reference is instrument else reference.key.venue,
            "basis_beyond": basis is not None and abs(basis) > self._limits.basis_bound,
        }

    def problem(self, now: float) -> str | None:
        """Describe which symbols have no fresh price though they are followed.

        One that the exchange has halted or does not list is not late. One of which nothing was heard for
        `limits.followed_for` while its venue was heard is not followed any more, so it is not late either; where the
        whole venue is silent, each of its symbols is.
        """
        if not self._instruments:
            return "no event has arrived from the broker yet"
        heard = self._heard_venues()
        late = [each for each in self if self._is_followed(each, heard, now)]
        return "; ".join(text for each in late if (text := self._lateness(each, now))) or None

    def note(self) -> str | None:
        """Describe how many symbols are not shown because there are too many."""
        if not self._not_shown:
            return None
        return f"{len(self._not_shown)} symbols are not shown: the page has room for {self._limits.max_symbols}"

    def _take(self, line: bytes, received: Moment) -> Key | None:
        """Return the symbol of a line that is news."""
        fields = read_fields(line)
        match fields.get("type"):
            case "price":
                quote = read_quote(fields, line)
                instrument = self._instrument(quote.key)
                return instrument.key if instrument and instrument.take_quote(quote, received) else None
            case "book":
                if instrument := self._instrument(read_name(fields, line)):
                    instrument.take_book(line, received.monotonic)
            case "gap" | "status" | "audit" | "depth":
                return self._take_event(decode_line(line), received.monotonic)
            case unknown:
                log.debug("line of an unknown type not shown", type=unknown)
        return None

    def _take_event(self, event: object, now: float) -> Key | None:
        """Take an event that is not of every moment; return the symbol of one that is news."""
        if not isinstance(event, Gap | Status | Audit | Depth):
            return None
        instrument = self._instrument(Key(event.venue, event.symbol))
        if instrument is None:
            return None
        match event:
            case Gap():
                return instrument.key if instrument.take_gap(event, now) else None
            case Status():
                instrument.take_status(event, now)
            case Audit():
                instrument.take_audit(event, now)
            case Depth():
                instrument.take_depth(event, now)
        return None

    def _instrument(self, key: Key) -> Instrument | None:
        found = self._instruments.get(key)
        if found is None and len(self._instruments) < self._limits.max_symbols:
            found = self._instruments[key] = Instrument(key, self._limits)
            self._not_shown.discard(key)
            insort(self._by_symbol[key.symbol], found, key=lambda each: each.key)
        elif found is None and key not in self._not_shown and len(self._not_shown) < self._limits.max_symbols:
            if not self._not_shown:
                log.warning("too many symbols, later ones are not shown", shown=len(self._instruments), first=str(key))
            self._not_shown.add(key)
        return found

    def _is_forgotten(self, instrument: Instrument, now: float) -> bool:
        if instrument.key in self._expected or instrument.heard_at is None:
            return False
        return now - instrument.heard_at >= self._limits.forgotten_after

    def _heard_venues(self) -> dict[str, float]:
        """Return when each venue was heard last."""
        heard: dict[str, float] = {}
        for venue, at in ((each.key.venue, each.heard_at) for each in self):
            if at is not None:
                heard[venue] = max(at, heard.get(venue, at))
        return heard

    def _is_followed(self, instrument: Instrument, heard: dict[str, float], now: float) -> bool:
        if instrument.heard_at is None:
            return True
        limit = self._limits.followed_for
        return now - instrument.heard_at < limit or now - heard[instrument.key.venue] >= limit

    def _lateness(self, instrument: Instrument, now: float) -> str | None:
        match instrument.state(now):
            case State.WAITING:
                return f"{instrument.key}: waiting for the first price"
            case State.STALE:
                return (
                    f"{instrument.key}: no price for {instrument.age(now):.1f} s, limit {self._limits.stale_after:g} s"
                )
        return None


def _basis(instrument: Instrument, reference: Instrument, now: float) -> float | None:
    if not (instrument.quote and reference.quote):
        return None
    mid, base = instrument.quote.mid, reference.quote.mid
    are_live = instrument.state(now) == reference.state(now) == State.LIVE
    return basis_bps(mid, base) if are_live and mid and base else None
