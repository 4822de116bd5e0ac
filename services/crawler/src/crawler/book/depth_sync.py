"""Keeps one symbol's book in sync, without I/O: fed diffs and snapshots, it returns books, gaps and requests.

The rules are those of Binance's "How to manage a local order book correctly" (2025-11-12), with S the snapshot's id,
F the first id of the first buffered diff and L the book's id:

    snapshot usable    S >= F - 1              else ask again, keep the buffer
    drop               u <= S
    first applied      U <= S + 1 <= u
    contiguous         U == L + 1
    overlap            U <= L < u              apply, quantities are absolute
    stale, duplicate   u <= L                  ignore
    hole               U > L + 1               discard the book, synchronise again

A snapshot reaches only so far from the price. Long before the price gets there, another one is asked for in the
background and takes over at the id where both are known.
"""

from collections import Counter, deque
from dataclasses import dataclass
from decimal import Decimal
from math import inf

from crawler.book.market_data import Diff, Snapshot
from crawler.book.order_book import OrderBook
from fairprice.messages import Book, Gap, Level

BUFFER = 10_000
"""Diffs kept while a snapshot is awaited: a quarter of an hour of `@depth@100ms`."""

RESET_AFTER = 20
RESET_TIME = 1_000_000
"""So many diffs with old ids but new times and none with a new id, over so many microseconds of the exchange's time,
mean that it has started its ids anew. What a connection brings that lags behind another is old in both."""

REFRESH_PAUSE = 10_000_000
"""Microseconds of the exchange's time between two background snapshots."""

RECENT_TIMES = 600
"""Event times remembered, so that no two books of a symbol carry the same one: time is their key in the store."""


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Asks for a snapshot of `symbol`; `attempt` counts the ones in a row that were too old."""

    symbol: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reach:
    """The prices between which every level is known; None means no bound.

    When the best bid falls below `low_mark` or the best ask rises above `high_mark`, half of the way to the bound is
    used up and it is time for another snapshot.
    """

    floor: str | None = None
    ceiling: str | None = None
    low_mark: float = -inf
    high_mark: float = inf


Output = Book | Gap | SnapshotRequest


class DepthSync:
    """The synchronisation of one symbol.

    `published_id` and `published_time` are those of the last book that an earlier run is known to have published.
    Every update id after the first published one is inside a returned `Book`'s range or inside a returned `Gap`.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        crawler: str,
        *,
        levels: int,
        published_id: int | None = None,
        published_time: int = 0,
    ) -> None:
        self.symbol = symbol
        self.books = 0
        self.counts: Counter[str] = Counter()
        self.resyncs: Counter[str] = Counter()
        self._venue = venue
        self._crawler = crawler
        self._levels = levels
        self._published_id = published_id
        self._published_time = published_time
        self._book: OrderBook | None = None
        self._reach = Reach()
        self._update_id = 0
        self._event_time: int | None = None
        self._latest_time = 0
        self._recent_times: deque[int] = deque(maxlen=RECENT_TIMES)
        self._refreshed_time = 0
        self._buffer: deque[tuple[Diff, int]] = deque(maxlen=BUFFER)
        self._asked = False
        self._attempt = 0
        self._refresh: Snapshot | None = None
        self._reason = "" if published_id is None else "restart"
        self._stale_in_a_row = 0
        self._stale_since = 0

    @property
    def in_sync(self) -> bool:
        """Whether the book is that of the exchange at `update_id`."""
        return self._book is not None

    @property
    def update_id(self) -> int:
        """The id of the last diff or snapshot in the book; 0 before the first."""
        return self._update_id

    def receive_diff(self, diff: Diff, received_time: int) -> list[Output]:
        """Take a diff as it came off the stream; `received_time` is the wall clock then."""
        if self._book is None:
            return self._await_snapshot(diff, received_time)
        if diff.update_id <= self._update_id:
            return self._ignore(diff, received_time, self._published_time)
        if diff.first_update_id > self._update_id + 1:
            self.lose(self._reason or "missed_updates")
            return self._await_snapshot(diff, received_time)
        return self._advance(self._book, diff, received_time)

    def receive_snapshot(self, snapshot: Snapshot) -> list[Output]:
        """Take the answer to a `SnapshotRequest`."""
        self._asked = False
        if self._book is None and not self._buffer:
            return []
        first = self._buffer[0][0].first_update_id if self._buffer else self._update_id + 1
        if snapshot.update_id < first - 1:
            self.counts["snapshot_too_old"] += 1
            self._attempt += 1
            return self._ask()
        self._attempt = 0
        if self._book is None:
            return self._synchronise(snapshot)
        self._refresh = snapshot
        self._take_over(self._book, snapshot)
        return []

    def expect_loss(self, reason: str) -> None:
        """Note why updates may be missing from here on, should a hole show; a hole that is there keeps its reason."""
        if self._book is not None or not self._reason:
            self._reason = reason

    def lose(self, reason: str) -> None:
        """Give the book up because it can no longer be trusted; the next diff starts a synchronisation."""
        if self._book is not None:
            self.resyncs[reason] += 1
            self._reason = reason
        self._book = None
        self._event_time = None
        self._refresh = None
        self._buffer.clear()

    def _await_snapshot(self, diff: Diff, received_time: int) -> list[Output]:
        if self._buffer:
            last = self._buffer[-1][0]
            if diff.update_id <= last.update_id:
                return self._ignore(diff, received_time, last.event_time)
            if diff.first_update_id > last.update_id + 1:
                self._buffer.clear()
        self._stale_in_a_row = 0
        self.counts["buffered"] += 1
        self._buffer.append((diff, received_time))
        return self._ask()

    def _ask(self) -> list[Output]:
        if self._asked:
            return []
        self._asked = True
        return [SnapshotRequest(self.symbol, self._attempt)]

    def _ignore(self, diff: Diff, received_time: int, newest_time: int) -> list[Output]:
        """Drop a diff that brings nothing, unless the exchange has evidently started its ids anew."""
        self.counts["stale"] += 1
        if diff.event_time <= newest_time and not self._reason:
            return []
        if not self._stale_in_a_row:
            self._stale_since = diff.event_time
        self._stale_in_a_row += 1
        if self._stale_in_a_row < RESET_AFTER or diff.event_time < self._stale_since + RESET_TIME:
            return []
        self.lose("id_reset")
        return self._await_snapshot(diff, received_time)

    def _synchronise(self, snapshot: Snapshot) -> list[Output]:
        self._book = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        self._update_id = snapshot.update_id
        self._reach = _reach(snapshot, None)
        buffered = list(self._buffer)
        self._buffer.clear()
        return [
            output
            for diff, received_time in buffered
            if diff.update_id > snapshot.update_id
            for output in self.receive_diff(diff, received_time)
        ]

    def _advance(self, book: OrderBook, diff: Diff, received_time: int) -> list[Output]:
        """Apply a diff that continues the book."""
        book.apply(diff.bids, diff.asks)
        bids, asks = book.best()
        best_bid = float(bids[0][0]) if bids else -inf
        best_ask = float(asks[0][0]) if asks else inf
        if best_bid >= best_ask:
            self.lose("crossed")
            return []
        if diff.first_update_id <= self._update_id:
            self.counts["overlap"] += 1
        self._stale_in_a_row = 0
        self._update_id = diff.update_id
        outputs = self._publish(diff, received_time, bids, asks)
        if self._asked or self._refresh:
            self._buffer.append((diff, received_time))
            if self._refresh:
                self._take_over(book, self._refresh)
        elif best_bid < self._reach.low_mark or best_ask > self._reach.high_mark:
            outputs += self._ask_for_refresh(diff.event_time)
        return outputs

    def _publish(self, diff: Diff, received_time: int, bids: list[Level], asks: list[Level]) -> list[Output]:
        published, first = self._published_id, diff.first_update_id
        if published is not None and diff.update_id <= published and diff.event_time in self._recent_times:
            return []  # published before the book was lost, and brought again by a connection that lags
        outputs: list[Output] = []
        event_time = self._unique(diff.event_time)
        if published is not None:
            if published < first - 1 or diff.update_id <= published:
                outputs.append(self._gap(published + 1, first - 1, event_time))
            else:
                first = published + 1
        outputs.append(
            Book(
                self._venue,
                self.symbol,
                first,
                diff.update_id,
                event_time,
                self._event_time,
                received_time,
                self._crawler,
                bids,
                asks,
                self._reach.floor,
                self._reach.ceiling,
            )
        )
        self.books += 1
        self._published_id = diff.update_id
        self._published_time = self._event_time = event_time
        self._reason = ""
        return outputs

    def _gap(self, first: int, last: int, to_time: int) -> Gap:
        reason = self._reason or "missed_updates"
        return Gap(self._venue, self.symbol, first, last, self._published_time, to_time, reason)

    def _unique(self, event_time: int) -> int:
        if event_time <= self._latest_time:
            while event_time in self._recent_times:
                event_time += 1
        self._latest_time = max(event_time, self._latest_time)
        self._recent_times.append(event_time)
        return event_time

    def _ask_for_refresh(self, event_time: int) -> list[Output]:
        if abs(event_time - self._refreshed_time) < REFRESH_PAUSE:
            return []
        self._refreshed_time = event_time
        self.counts["refresh"] += 1
        return self._ask()

    def _take_over(self, book: OrderBook, snapshot: Snapshot) -> None:
        """Put a background snapshot in the book's place once the book has come to its id."""
        if self._update_id < snapshot.update_id:
            return
        fresh = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        for diff, _ in self._buffer:
            if diff.update_id > snapshot.update_id:
                fresh.apply(diff.bids, diff.asks)
        if fresh.best() != book.best():
            self.counts["refresh_mismatch"] += 1
        fresh.extend(book, _reach(snapshot, None).floor, _reach(snapshot, None).ceiling)
        self._book = fresh
        self._reach = _reach(snapshot, self._reach)
        self._refresh = None
        self._buffer.clear()


def _reach(snapshot: Snapshot, before: Reach | None) -> Reach:
    """Return how far a book is known after this snapshot, given how far it was known before, if it was."""
    floor = None if snapshot.bids_complete else snapshot.bids[-1][0]
    ceiling = None if snapshot.asks_complete else snapshot.asks[-1][0]
    if before:
        floor = None if floor is None or before.floor is None else min(floor, before.floor, key=Decimal)
        ceiling = None if ceiling is None or before.ceiling is None else max(ceiling, before.ceiling, key=Decimal)
    low_mark = -inf if floor is None else (float(snapshot.bids[0][0]) + float(floor)) / 2
    high_mark = inf if ceiling is None else (float(snapshot.asks[0][0]) + float(ceiling)) / 2
    return Reach(floor, ceiling, low_mark, high_mark)
