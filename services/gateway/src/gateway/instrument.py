"""What the gateway has seen of one symbol at one venue, and whether its price is to be trusted."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import structlog

from fairprice.errors import InvalidLine
from fairprice.messages import Audit, Book, Depth, Gap, Status, decode_line
from fairprice.runtime.clock import Clock
from gateway.dispute import FRESH, Dispute
from gateway.gaps import Gaps
from gateway.key import Key
from gateway.lines import read_position
from gateway.live import Live, LiveView
from gateway.pairing import Pair, Pairing
from gateway.proof import Proof
from gateway.quote import Quote
from gateway.recent import Recent
from gateway.run import NEW_RUN_AFTER, Run, Step
from gateway.states import TRUSTED, UNLISTED, State
from gateway.statuses import KEPT, Statuses

FORGOTTEN_AFTER = 3600.0
"""Seconds of silence after which a symbol is not shown any more."""

PATIENCE = 2.0
"""Seconds after which prices whose books are missing are shown without one."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is remembered, and from when on something is too old; all times but `history_minutes` are seconds."""

    history_minutes: int = 15
    stale_after: float = 5.0
    new_run_after: float = NEW_RUN_AFTER
    status_kept: float = KEPT
    followed_for: float = KEPT
    """A symbol of which nothing was heard for so long, while its venue was heard, is not followed any more."""
    forgotten_after: float = FORGOTTEN_AFTER
    max_symbols: int = 2000
    max_gaps: int = 200
    basis_bound: float = 100.0
    """Basis points."""


class Moment(NamedTuple):
    """When something was received: ages rest on the monotonic clock, the difference to the exchange's on the other."""

    monotonic: float
    wall: int


def moment(clock: Clock) -> Moment:
    """Return what both clocks say now."""
    return Moment(clock.monotonic(), clock.wall())


class Instrument:
    """One symbol at one venue. All ages are times since receipt, since the exchange's clock may be a recording's."""

    def __init__(self, key: Key, limits: Limits) -> None:
        self.key = key
        self.quote: Quote | None = None
        self.depth: Depth | None = None
        self.gaps = Gaps(limits.max_gaps)
        self.heard_at: float | None = None
        self.recent = Recent(limits.history_minutes)
        self.proof = Proof()
        self.live = LiveView(limits.new_run_after)
        self._limits = limits
        self._dispute = Dispute()
        self._run = Run(limits.new_run_after)
        self._statuses = Statuses(limits.status_kept)
        self._received = Moment(0, 0)
        self._good: Quote | None = None
        self._good_received = 0.0
        self._book: Book | None = None
        self._book_line = b""
        self._undecoded = b""
        self._pairing = Pairing()
        self._moment: tuple[Quote, bytes | None] | None = None
        self._moment_line = b""

    def take_quote(self, quote: Quote, received: Moment) -> bool:
        """Make it the newest quote and return True, unless it is an echo of one already seen or comes late."""
        self.heard_at = received.monotonic
        step = self._run.take((quote.event_time, quote.update_id), received.monotonic)
        if step is Step.NEW_RUN:
            self._start_over(quote)
        self.proof.price(quote.first_update_id, quote.update_id, quote.event_time)
        self.gaps.take_range(quote.first_update_id, quote.update_id)
        if step is Step.LATE:
            return False
        self.quote, self._received = quote, received
        self._compare(received.monotonic)
        if quote.status in TRUSTED and not self.is_disputed(received.monotonic):
            self._good, self._good_received = quote, received.monotonic
        self.recent.append(quote)
        self._pairing.take_quote(quote, received.monotonic)
        return True

    def take_live(self, live: Live, now: float) -> bool:
        """Make it the newest of the live view and return True, unless it is an echo or comes late."""
        if not self.live.take(live, now):
            return False
        self._compare(now)
        return True

    def take_gap(self, gap: Gap, now: float) -> bool:
        """Remember it and return True, unless it is known already, or filled by another crawler."""
        self.heard_at = now
        self.proof.gap(gap)
        return self.gaps.take_claim(gap)

    def take_audit(self, audit: Audit, now: float) -> None:
        """Remember what a crawler compared."""
        self.heard_at = now
        self.proof.audit(audit)

    def take_status(self, status: Status, now: float) -> None:
        """Remember what a crawler says."""
        self.heard_at = now
        self._statuses.take(status, now)

    def take_depth(self, depth: Depth, now: float) -> None:
        """Make it the newest depth, unless it comes late."""
        self.heard_at = now
        if self.depth is None or depth.event_time >= self.depth.event_time:
            self.depth = depth

    def take_book(self, line: bytes, now: float) -> None:
        """Make it the newest book, with no look inside but at its position."""
        self.heard_at = now
        self._undecoded = line
        if position := read_position(line):
            self._pairing.take_book(position, line, now)

    def book_line(self) -> bytes:
        """Return the newest valid book as it came over the wire, empty while there is none."""
        if self._undecoded:
            line, self._undecoded = self._undecoded, b""
            book = _book(line)
            if book and (self._book is None or _position(book) > _position(self._book)):
                self._book, self._book_line = book, line
        return self._book_line

    def moment_line(self, now: float) -> bytes:
        """Return the newest price with the book that it was made of as one line of JSON, empty before the first price.

        The book is null where it is unknown: there is none yet, or none of the prices of the last `PATIENCE` seconds
        has one.
        """
        shown = self._shown(now)
        if shown and (shown.quote, shown.book) != self._moment:
            self._moment, self._moment_line = (shown.quote, shown.book), _moment_line(shown)
        return self._moment_line

    def age(self, now: float) -> float | None:
        """Return the seconds since the newest price was received."""
        return now - self._received.monotonic if self.quote else None

    def is_disputed(self, now: float) -> bool:
        """Return whether the live view, as far as there is one now, contradicts the newest price."""
        age = self.live.age(now)
        return age is not None and age <= FRESH and self._dispute.is_open(now)

    def state(self, now: float) -> State:
        """Return whether the newest price can be trusted."""
        status = self._statuses.newest(now)
        if status and status.exchange_status == UNLISTED:
            return State.UNLISTED
        if status and status.is_halted:
            return State.HALTED
        age = self.age(now)
        if self.quote is None or age is None:
            return State.WAITING
        if age >= self._limits.stale_after:
            return State.STALE
        if self.quote.status not in TRUSTED:
            return State.UNTRUSTED
        return State.DISPUTED if self.is_disputed(now) else State.LIVE

    def problem(self, now: float) -> str | None:
        """Return what the crawlers say is wrong."""
        return self._statuses.problem(now)

    def feed(self, now: float) -> dict[str, Any]:
        """Return the state, and what it rests on; ages in seconds.

        `lag_seconds` is the time from the exchange's event to its receipt here by two clocks: below zero the
        exchange's is ahead of this machine's. `model_time` is the exchange's, in microseconds: from then on there are
        forecasts and bands, if nothing is missed.
        """
        status = self._statuses.newest(now)
        return {
            "state": self.state(now),
            "age_seconds": self.age(now),
            "live_age_seconds": self.live.age(now),
            "lag_seconds": (self._received.wall - self.quote.event_time) / 1e6 if self.quote else None,
            "stale_after_seconds": self._limits.stale_after,
            "last_good_price": self._good.price if self._good else None,
            "last_good_age_seconds": now - self._good_received if self._good else None,
            "exchange_status": status.exchange_status if status else None,
            "problem": self.problem(now),
            "model_time": self._statuses.model_time(now),
            "gaps": self.gaps.open,
            "last_gap": self.gaps.newest_open,
        }

    def live_fields(self, now: float) -> dict[str, Any] | None:
        """Return the newest of the live view but for its levels, None before the first."""
        fields = self.live.fields(now)
        return fields and {**fields, "disputed": self.is_disputed(now)}

    def _compare(self, now: float) -> None:
        if self.quote and self.live.line:
            self._dispute.compare(self.live.top, self.quote.top, now)

    def _shown(self, now: float) -> Pair | None:
        pair = self._pairing.newest
        is_late = pair is not None and pair.quote is not self.quote and now - pair.made_at >= PATIENCE
        return Pair(self.quote, None, now) if self.quote and (pair is None or is_late) else pair

    def _start_over(self, first: Quote) -> None:
        """Forget what lies after the first price of a new run."""
        self.recent = Recent(self._limits.history_minutes)
        self.proof = Proof()
        self.gaps.start_over(first.event_time)
        self._book, self._book_line = None, b""
        self.depth = None
        self.live = LiveView(self._limits.new_run_after)
        self._dispute = Dispute()
        self._pairing = Pairing()


def feed_frame(instrument: Instrument, now: float) -> bytes:
    """Return the state of a symbol's feed as one line of JSON for websocket clients."""
    venue, symbol = instrument.key
    return orjson.dumps({"type": "feed", "venue": venue or None, "symbol": symbol, **instrument.feed(now)})


def _moment_line(pair: Pair) -> bytes:
    quote, line, _ = pair
    venue, symbol = quote.key
    book = orjson.Fragment(line) if line and _book(line) else None
    names = {"venue": venue, "symbol": symbol, "update_id": quote.update_id, "event_time": quote.event_time}
    return orjson.dumps({"type": "moment", **names, "price": orjson.Fragment(quote.line), "book": book})


def _position(book: Book) -> tuple[int, int]:
    return book.event_time, book.update_id


def _book(line: bytes) -> Book | None:
    try:
        event = decode_line(line)
    except InvalidLine as error:
        log.debug("invalid book not shown", reason=str(error))
        return None
    return event if isinstance(event, Book) else None
