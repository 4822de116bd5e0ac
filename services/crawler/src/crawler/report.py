"""What the crawler tells of its symbols: counts and metrics, log lines for facts, a status for the page."""

from collections import Counter
from collections.abc import Iterator, Mapping

import structlog

from crawler.book.feed import Feed
from crawler.book.model import MarketModel
from crawler.book.steps import Fact
from crawler.progress import Progress
from crawler.stream_events import Unreadable
from crawler.symbols import UNLISTED, Changes, SymbolBoard
from fairprice.messages import Book, Gap, Status
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Histogram, Sample
from fairprice.runtime.occasional import Occasional

STATUS_INTERVAL = 60.0
"""Seconds after which a status is told again, for those who have come since."""

SKEW_WINDOW = 60.0
"""Seconds over which the least latency is taken for the difference of the clocks."""

MAX_SKEW = 5_000_000
"""Microseconds between the exchange's clock and this machine's that are passed over."""

CLOCK_BEHIND = "the crawler's clock is behind the exchange's; set it right"
LATE = "data come late: the stream lags, or the crawler's clock is ahead of the exchange's"

SHOWN_SYMBOLS = 10

_TEXTS = {
    "hole": ("warning", "updates are missing, a snapshot is asked for"),
    "resync": ("warning", "the book is given up and synchronised again"),
    "contradiction": ("error", "the book contradicts the exchange"),
    "id_reset": ("warning", "the exchange has begun its update ids anew"),
    "clock_back": ("warning", "the exchange's clock went back by more than a second; its times are taken as they are"),
    "behind": ("warning", "the stream lags behind the snapshot; books come when it has caught up"),
    "snapshot_refused": ("info", "a snapshot was of no use"),
    "no_snapshot_left": ("warning", "there will be no further snapshot"),
    "began_anew": ("warning", "update ids have begun anew since the last run, or it was on another market: a gap"),
    "unreadable_ticker": ("warning", "unreadable ticker, the audit starts anew"),
    "unaudited": ("error", "nothing to compare the books with for a minute: no tickers"),
    "audited": ("info", "books are compared with tickers again"),
}
"""Level and text of the log line of each kind of fact."""

log = structlog.get_logger(__name__)


class Report:
    """Counts of one crawler, over all of its feeds."""

    def __init__(self, venue: str, crawler: str, feeds: Mapping[str, Feed], board: SymbolBoard, clock: Clock) -> None:
        self.gaps = 0
        self._venue = venue
        self._crawler = crawler
        self._feeds = feeds
        self._board = board
        self._clock = clock
        self._diffs = 0
        self._unreadable = 0
        self._gap_counts: Counter[tuple[str, str]] = Counter()
        self._missing: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._latency = Histogram()
        self._statuses: dict[str, Status] = {}
        self._progress = Progress()
        self._repeated_at = clock.monotonic()
        self._skew: int | None = None
        self._skew_before: int | None = None
        self._skew_since = clock.monotonic()
        self._skew_problem: str | None = None
        self._occasional = Occasional(clock)

    @property
    def books(self) -> int:
        """Books published so far."""
        return sum(feed.books for feed in self._feeds.values())

    @property
    def out_of_sync(self) -> tuple[str, ...]:
        """Symbols that trade, or are not known yet, and whose book is not in sync."""
        return tuple(
            symbol for symbol, feed in self._feeds.items() if not feed.in_sync and self._board[symbol].is_trading
        )

    @property
    def _trading(self) -> int:
        return sum(self._board[symbol].is_trading for symbol in self._feeds)

    @property
    def without_books(self) -> tuple[str, ...]:
        """Symbols that no book was made of yet."""
        return tuple(symbol for symbol, feed in self._feeds.items() if not feed.books)

    @property
    def missing(self) -> tuple[str, ...]:
        """Symbols that should have books by now and have none: they trade, or the exchange does not list them."""
        return tuple(
            symbol for symbol in self.without_books if self._board[symbol].is_trading or self._board[symbol] == UNLISTED
        )

    def forget(self, symbol: str) -> None:
        """Report a symbol no longer: it is not followed any more."""
        self._missing.pop(symbol, None)
        self._statuses.pop(symbol, None)
        for key in [key for key in self._gap_counts if key[0] == symbol]:
            del self._gap_counts[key]

    def count_changes(self, changes: Changes) -> None:
        """Count symbols that are followed, or let go, since the start, and log which."""
        self._changes["followed"] += len(changes.added)
        self._changes["let_go"] += len(changes.removed)
        if changes.added:
            log.info("symbols are followed that were not listed before", symbols=some(changes.added))
        if changes.removed:
            log.warning("symbols are let go that are not listed any more", symbols=some(changes.removed))

    def problem(self) -> str | None:
        """Return in words which symbols are not in sync, and of many how far they are."""
        waiting = self.out_of_sync
        if not waiting:
            return None
        return f"{self._progress.describe(len(waiting), self._trading)}not in sync: {some(waiting)}"

    def count_diff(self, event_time: int, now: int) -> None:
        """Count a diff; of all the least late one tells how the two clocks differ, in microseconds."""
        self._diffs += 1
        skew = event_time - now
        if self._skew is None or skew > self._skew:
            self._skew = skew

    def count_unreadable(self, frame: Unreadable) -> None:
        """Count a frame that could not be read; the first of a symbol and minute is logged."""
        self._unreadable += 1
        suppressed = self._occasional.due(("unreadable", frame.symbol))
        if suppressed is not None:
            log.warning(
                "unreadable frames dropped", symbol=frame.symbol, error=frame.error, frame=frame.frame,
                more_since_the_last_line=suppressed,
            )  # fmt: skip

    def count(self, event: Book | Gap) -> None:
        """Count what is published; a gap is logged."""
        if isinstance(event, Book):
            self._latency.observe(event.received_time - event.event_time)
        else:
            missing = max(0, event.to_update_id - event.from_update_id + 1)
            self.gaps += 1
            self._gap_counts[event.symbol, event.reason] += 1
            self._missing[event.symbol] += missing
            seconds = (event.to_time - event.from_time) / 1_000_000
            log.warning("gap recorded", symbol=event.symbol, reason=event.reason, update_ids=missing, seconds=seconds)

    def log_fact(self, fact: Fact) -> None:
        """Log a fact, the same of a symbol once a minute."""
        level, text = _TEXTS[fact.kind]
        kind = fact.detail if fact.kind == "resync" else fact.kind
        if self._occasional.due((kind, fact.symbol)) is not None:
            getattr(log, level)(text, symbol=fact.symbol, **({"detail": fact.detail} if fact.detail else {}))

    def statuses(self) -> Iterator[Status]:
        """Yield what is to be told of symbols: on change, and now and then."""
        now = self._clock.monotonic()
        self._watch_skew(now)
        if line := self._progress.watch(len(self.out_of_sync), self._trading, now):
            log.info(line)
        repeat = now - self._repeated_at >= STATUS_INTERVAL
        if repeat:
            self._repeated_at = now
        for symbol in self._feeds:
            status = self._status(symbol)
            before = self._statuses.get(symbol)
            if repeat or before is None or _content(before) != _content(status):
                self._statuses[symbol] = status
                yield status

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        venue = self._venue
        yield "crawler_frames_total", (venue, "ticker"), sum(feed.audit.tickers for feed in self._feeds.values())
        yield "crawler_frames_total", (venue, "diff"), self._diffs
        yield "crawler_frames_total", (venue, "invalid"), self._unreadable
        yield "crawler_latency_seconds", (venue,), self._latency
        if (skew := self._least_late()) is not None:
            yield "crawler_clock_skew_seconds", (venue,), skew / 1_000_000
        yield "crawler_symbols", (venue,), len(self._board.followed)
        for change in ("followed", "let_go"):
            yield "crawler_symbol_changes_total", (venue, change), self._changes[change]
        for (symbol, reason), count in self._gap_counts.items():
            yield "crawler_gaps_total", (venue, symbol, reason), count
        for symbol, feed in self._feeds.items():
            yield from self._samples_of(symbol, feed)

    def _samples_of(self, symbol: str, feed: Feed) -> Iterator[Sample]:
        labels = (self._venue, symbol)
        yield "crawler_missing_updates_total", labels, self._missing[symbol]
        yield "crawler_in_sync", labels, feed.in_sync
        yield "crawler_trading", labels, self._board[symbol].is_trading
        yield "crawler_unaudited", labels, feed.is_unaudited
        yield "crawler_books_total", labels, feed.books
        yield "crawler_clock_back_total", labels, feed.sync.clock_back
        yield "crawler_out_of_order_total", labels, feed.sync.counts["out_of_order"]
        for outcome, count in feed.sync.counts.items():
            yield "crawler_diffs_total", (*labels, outcome), count
        for reason, count in feed.sync.resyncs.items():
            yield "crawler_resyncs_total", (*labels, reason), count
        for outcome, count in feed.sync.refreshes.items():
            yield "crawler_refreshes_total", (*labels, outcome), count
        for outcome, count in feed.sync.levels.items():
            yield "crawler_levels_total", (*labels, outcome), count
        yield "crawler_audits_total", (*labels, "match"), feed.audit.matches
        yield "crawler_audits_total", (*labels, "mismatch"), feed.audit.mismatches
        yield "crawler_audits_total", (*labels, "beyond_reach"), feed.audit.beyond_reach
        yield from self._samples_of_bands(symbol, feed.model)

    def _samples_of_bands(self, symbol: str, model: MarketModel) -> Iterator[Sample]:
        labels = (self._venue, symbol)
        for horizon, pairs in (("1s", model.second), ("10s", model.ten_seconds)):
            yield "crawler_band_outcomes_total", (*labels, horizon, "inside"), pairs.inside
            yield "crawler_band_outcomes_total", (*labels, horizon, "outside"), pairs.outside
        if (left := model.seconds_left) is not None:
            yield "crawler_learning_seconds", labels, left

    def _status(self, symbol: str) -> Status:
        status, feed = self._board[symbol], self._feeds[symbol]
        problem = None
        if status.is_trading and not feed.in_sync:
            problem = "the order book is not in sync"
        elif feed.is_unaudited:
            problem = "nothing to compare the order book with: no tickers"
        else:
            problem = self._skew_problem
        return Status(
            self._venue, symbol, self._clock.wall(), self._crawler, status.word or "TRADING",
            not status.is_trading, problem, None if feed.model.is_learnt else feed.model.ready_time,
        )  # fmt: skip

    def _least_late(self) -> int | None:
        known = [each for each in (self._skew, self._skew_before) if each is not None]
        return max(known, default=None)

    def _watch_skew(self, now: float) -> None:
        if now - self._skew_since < SKEW_WINDOW:
            return
        self._skew_since = now
        self._skew_before, self._skew = self._skew, None
        before, self._skew_problem = self._skew_problem, None
        if self._skew_before is None or abs(self._skew_before) <= MAX_SKEW:
            return
        self._skew_problem = CLOCK_BEHIND if self._skew_before > 0 else LATE
        if not before:
            log.error(self._skew_problem, seconds=self._skew_before / 1_000_000)


def _content(status: Status) -> tuple[str, bool, str | None, int | None]:
    return status.exchange_status, status.is_halted, status.problem, status.model_time


def some(symbols: tuple[str, ...]) -> str:
    """Name the first of many symbols, and how many more there are."""
    more = len(symbols) - SHOWN_SYMBOLS
    return ", ".join(symbols[:SHOWN_SYMBOLS]) + (f" and {more} more" if more > 0 else "")
