"""One symbol's whole life, sans-I/O: market data and clock readings in; books, gaps, snapshot requests, facts out.

The audit speaks before a book leaves. A book whose ticker may still be on its way is held back until that has come, at
most `hold_seconds`, and with it all that follow, books and facts, in their order; one that a ticker contradicts never
leaves: the symbol is synchronised again and what was not published is a gap. One whose best level lies beyond its reach
is no contradiction: it leaves, and its bounds say that its top is not known.
"""

from collections import deque
from collections.abc import Callable, Iterator

from crawler.book.audit import TopAudit, Verdict
from crawler.book.depth import Depths
from crawler.book.depth_sync import DepthSync
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.minutes import Minutes
from crawler.book.model import MarketModel
from crawler.book.order_book import OrderBook
from crawler.book.publication import Confirmed, Publication
from crawler.book.quote import quote_of
from crawler.book.refresh import COMPARE_SECONDS
from crawler.book.steps import Applied, Compared, Fact, SnapshotRequest, Step
from fairprice.errors import InvalidMarketData
from fairprice.messages import Audit, Book, Depth, Gap, Quote, Start

MAX_HELD = 100
"""Books held back at most, whatever their times."""

UNAUDITED_SECONDS = 60.0
"""Time with books and nothing to compare them with after which that is reported."""

Output = Book | Gap | Start | Depth | SnapshotRequest | Fact


class Feed:
    """The book of one symbol at one venue; `crawler` names this instance in the books.

    `levels` are published of each side. `verify`, `buffer_seconds`, `buffer_diffs`, `refreshes`, `compare_seconds`,
    `shallow_first` and `depths` are those of `DepthSync`; `confirmed`, `since`, `is_alone` and `tells_start` those of
    `Publication`.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        crawler: str,
        *,
        levels: int,
        confirmed: Confirmed | None = None,
        since: str = "restart",
        verify: Callable[[OrderBook, Diff], bool] | None = None,
        buffer_seconds: float = 60.0,
        buffer_diffs: int = 2000,
        refreshes: bool = True,
        compare_seconds: float | None = COMPARE_SECONDS,
        shallow_first: bool = False,
        hold_seconds: float = 1.0,
        is_alone: bool = False,
        tells_start: bool = False,
        depths: Depths | None = None,
    ) -> None:
        self.symbol = symbol
        self.sync = DepthSync(
            symbol,
            levels=levels,
            verify=verify,
            buffer_seconds=buffer_seconds,
            buffer_diffs=buffer_diffs,
            refreshes=refreshes,
            compare_seconds=compare_seconds,
            shallow_first=shallow_first,
            depths=depths,
        )
        self.audit = TopAudit()
        self.is_unaudited = False
        self._publication = Publication(
            venue, symbol, crawler, confirmed, since=since, is_alone=is_alone, tells_start=tells_start
        )
        self._minutes = Minutes(venue, symbol, crawler)
        self._held: deque[Applied | Fact | Compared] = deque()
        self._hold_time = round(hold_seconds * 1_000_000)
        self._hold_seconds = hold_seconds
        self._held_since: tuple[Applied | Fact | Compared, float] | None = None
        self._compared = 0
        self._compared_at: float | None = None
        self._books_then = 0
        self._clock_back = 0
        self._newest: Book | None = None
        self._quoted_id = 0

    @property
    def books(self) -> int:
        """Books published so far."""
        return self._publication.books

    @property
    def model(self) -> MarketModel:
        """What its books say of the seconds to come."""
        return self._publication.model

    @property
    def in_sync(self) -> bool:
        """Whether the book is that of the exchange."""
        return self.sync.in_sync

    def receive_diff(self, diff: Diff, received_time: int) -> list[Output]:
        """Take a diff as it came off the stream; `received_time` is the wall clock then, in microseconds."""
        outputs = self._go_on(self.sync.receive_diff(diff, received_time)) + self._watch_clock()
        if not self.in_sync:
            self.audit.forget_until(self.sync.first_at_hand - 1)
        return outputs

    def receive_snapshot(self, snapshot: Snapshot) -> list[Output]:
        """Take the answer to a request, or a snapshot that came in the stream."""
        return self._go_on(self.sync.receive_snapshot(snapshot)) + self._watch_clock()

    def receive_ticker(self, ticker: Ticker) -> list[Output]:
        """Take the best bid and ask of some id."""
        self.audit.receive(ticker)
        return self._release() if self._held else []

    def quote(self, ticker: Ticker, received_time: int) -> Quote | None:
        """Return the last published book with what a ticker says in it; `received_time` is the wall clock then.

        None unless that book is the present one and the ticker newer than it, and than all that were asked for.
        """
        book = self._newest
        if book is None or self._held or not self.in_sync or self.sync.update_id != book.update_id:
            return None
        if ticker.update_id <= max(book.update_id, self._quoted_id):
            return None
        self._quoted_id = ticker.update_id
        try:
            top = ticker.top()
        except InvalidMarketData:
            return None  # told by the audit, which has it too
        return quote_of(book, ticker.update_id, top, received_time)

    def end_snapshots(self) -> list[Output]:
        """Note that there will be no further snapshot."""
        self.sync.end_snapshots()
        return [Fact(self.symbol, "no_snapshot_left")]

    def expect_loss(self, reason: str) -> list[Output]:
        """Note why updates, and tickers, may be missing from here on, should a hole show.

        A hole that is there keeps its reason.
        """
        outputs = self._release_all()
        if self.in_sync or not self._publication.reason:
            self._publication.reason = reason
        self.sync.interrupt()
        return outputs

    def tick(self, now: float) -> list[Output]:
        """Take a reading of the monotonic clock, in seconds: about one a second."""
        outputs = self._watch_audit(now)
        if not self._held:
            self._held_since = None
        elif self._held_since is None or self._held_since[0] is not self._held[0]:
            self._held_since = self._held[0], now
        elif now - self._held_since[1] >= self._hold_seconds:
            outputs += self._release_all()
        return outputs

    def end(self) -> list[Output]:
        """Return what is left to be published: books that are held, and the gap up to the last id that was seen."""
        return [*self._release_all(), *self._publication.end(self.sync.newest_id, self.sync.newest_time)]

    def take_audits(self, *, at_end: bool = False) -> list[Audit]:
        """Return what was compared in each minute that is over, and at the end in the one under way."""
        return self._minutes.take(at_end=at_end)

    def _go_on(self, steps: list[Step]) -> list[Output]:
        outputs: list[Output] = []
        for step in steps:
            if isinstance(step, SnapshotRequest):
                outputs.append(step)
            else:
                self._held.append(step)
        return outputs + self._release()

    def _note(self, fact: Fact) -> None:
        """Draw the consequences of a fact for what is published and audited."""
        if fact.kind == "id_reset":
            self._publication.restart_ids()
            self.audit.reset()
            self._quoted_id = 0
        elif fact.kind in {"hole", "resync"} and not self._publication.reason:
            self._publication.reason = fact.detail if fact.kind == "resync" else "missed_updates"

    def _release(self) -> list[Output]:
        """Publish what the audit lets pass, with the facts between, in order."""
        outputs: list[Output] = []
        while self._held:
            step = self._held.popleft()
            if isinstance(step, Fact):
                self._note(step)
                outputs.append(step)
                continue
            if isinstance(step, Compared):
                self._minutes.add_levels(step.event_time, step.update_id, step.levels, step.wrong)
                continue
            try:
                verdict = self.audit.judge(step.diff.update_id, _top(step), step.reach)
            except InvalidMarketData as error:
                self.audit.reset()
                outputs.append(Fact(self.symbol, "unreadable_ticker", str(error)))
                verdict = Verdict.NOTHING
            if verdict is Verdict.CONTRADICTION:
                outputs += self._contradict(step)
                continue
            if verdict is Verdict.UNDECIDED and not self._is_overdue(step):
                self._held.appendleft(step)
                break
            outputs += self._publish(step, is_proven=verdict is Verdict.MATCH)
        return outputs

    def _is_overdue(self, applied: Applied) -> bool:
        """Return whether the first book has been held back for long enough by what has come since."""
        if self.sync.newest_time - applied.diff.event_time < self._hold_time and len(self._held) < MAX_HELD:
            return False
        self.audit.reset()  # the ticker does not come: nothing is held back for it until there is one again
        return True

    def _release_all(self) -> list[Output]:
        """Publish what is held back without its ticker."""
        self.audit.reset()
        return self._release()

    def _publish(self, applied: Applied, *, is_proven: bool) -> list[Output]:
        outputs: list[Output] = []
        if self._publication.began_anew(applied.diff.update_id, applied.diff.event_time):
            outputs.append(Fact(self.symbol, "began_anew"))
        events = self._publication.publish(applied, is_proven=is_proven)
        self._newest = None
        if events and isinstance(book := events[-1], Book):
            self._newest = book
            self._minutes.add_top(book.event_time, book.first_update_id, book.update_id, is_proven=is_proven)
            if applied.depth:
                depth = Depth(book.venue, book.symbol, book.update_id, book.event_time, book.crawler, applied.depth)
                return [*outputs, *events, depth]
        return outputs + events

    def _contradict(self, applied: Applied) -> list[Output]:
        """Give up a book whose top its ticker contradicts, with all that was built on it."""
        self._publication.reason = self._publication.reason or "audit"
        detail = f"the book's top at {applied.diff.update_id} is not the ticker's"
        outputs: list[Output] = [Fact(self.symbol, "contradiction", detail)]
        self._minutes.add_wrong_top(applied.diff.event_time, applied.diff.update_id)
        while self._held:
            step = self._held[0]
            if isinstance(step, Applied) and step.is_first:
                return outputs
            self._held.popleft()
            if isinstance(step, Fact):
                self._note(step)
                outputs.append(step)
                if step.kind == "resync":
                    return outputs
        return outputs + self._go_on(self.sync.lose("audit"))

    def _watch_clock(self) -> list[Output]:
        """Report when the exchange's clock has gone back by more than its books' times can hide."""
        before, self._clock_back = self._clock_back, self.sync.clock_back
        return [Fact(self.symbol, "clock_back")] if self._clock_back > before else []

    def _watch_audit(self, now: float) -> list[Output]:
        """Report when a minute has gone by with books and nothing to compare them with, and when it is over."""
        compared = self.audit.comparisons
        if compared != self._compared:
            self._compared, self._compared_at, self._books_then = compared, now, self.books
            return list(self._set_unaudited(is_unaudited=False))
        if self._compared_at is None or self.books == self._books_then:
            self._compared_at, self._books_then = now, self.books
        elif now - self._compared_at >= UNAUDITED_SECONDS:
            return list(self._set_unaudited(is_unaudited=True))
        return []

    def _set_unaudited(self, *, is_unaudited: bool) -> Iterator[Fact]:
        if is_unaudited != self.is_unaudited:
            self.is_unaudited = is_unaudited
            yield Fact(self.symbol, "unaudited" if is_unaudited else "audited")


def _top(applied: Applied) -> Top:
    return Top(applied.bids[0] if applied.bids else None, applied.asks[0] if applied.asks else None)
