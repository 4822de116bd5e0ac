"""Keeps one symbol's book in sync, without I/O: fed diffs and snapshots, it returns applied diffs, requests and facts.

The rules are those of "How to manage a local order book correctly" in the documents of the first venue (2025-11-12),
with S the snapshot's id, L the book's id, F the first id of the first diff that waits, and `first` to `last` the ids
that a diff adds:

    snapshot usable    S >= F - 1                else ask again, keep what waits
    drop               last <= S
    first applied      first <= S + 1 <= last
    contiguous         first == L + 1
    overlap            first <= L < last         apply, quantities are absolute
    stale, duplicate   last <= L                 ignore
    hole               first > L + 1             let it wait, ask for a snapshot

Behind a hole the book is kept: a diff that comes late, or by another connection, may still fill it. Else a snapshot
takes the book's place. A snapshot reaches only so far from the price; long before the price gets there, another one is
asked for in the background and takes over at the id where both are known. There the two are compared, every level; now
and then one is asked for only to do that.
"""

from bisect import bisect_left, insort_left
from collections import Counter, deque
from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import NamedTuple
from zlib import crc32

from crawler.book.chain import Chain, ChainTime
from crawler.book.market_data import Diff, Snapshot
from crawler.book.order_book import OrderBook
from crawler.book.reach import Reach, compare, reach_of
from crawler.book.steps import Applied, Compared, Fact, SnapshotRequest, Step

RESET_AFTER = 20
RESET_TIME = 1_000_000
"""So many diffs in a row with old ids but new times, over so many microseconds of the exchange's time, mean that it has
restarted its ids. What a connection brings that lags behind another is old in both. Old is what is not newer than
the stream's own newest: a stream that lags behind a snapshot brings ids that the snapshot holds, and is no reset."""

REFRESH_PAUSE = 10_000_000
"""Microseconds of the exchange's time between two background snapshots."""

LAG_TIME = 1_000_000
"""Microseconds of the exchange's time that a stream may bring only what the snapshot holds before that is reported."""

COMPARE_SECONDS = 600.0
"""Seconds of the exchange's time between two comparisons of a book with a fresh snapshot, level by level."""

STEADY_TIME = 10_000_000
"""Microseconds of the exchange's time after which a book is taken for sound: the next snapshot is a first attempt."""


class Waiting(NamedTuple):
    """A diff that cannot be applied yet, and the wall clock when it came."""

    update_id: int
    diff: Diff
    received_time: int


class DepthSync:
    """The synchronisation of one symbol.

    `verify` compares the book with the proof of a diff. What waits for a snapshot spans at most `buffer_seconds` of the
    exchange's time and `buffer_diffs`: a snapshot is never older. A book is compared with a fresh snapshot each
    `compare_seconds` of the exchange's time (None: never), at a phase that differs from symbol to symbol. Without
    `refreshes` a book keeps the reach that it has: snapshots are asked for to synchronise only. With `shallow_first` a
    book begins with a shallow snapshot and is refreshed by a deep one: of many symbols all are in sync sooner.
    """

    def __init__(
        self,
        symbol: str,
        *,
        levels: int,
        verify: Callable[[OrderBook, Diff], bool] | None = None,
        buffer_seconds: float = 60.0,
        buffer_diffs: int = 2000,
        refreshes: bool = True,
        compare_seconds: float | None = COMPARE_SECONDS,
        shallow_first: bool = False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.resyncs: Counter[str] = Counter()
        self.refreshes: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        """Levels compared with a fresh snapshot: those that matched, those that did not."""
        self.is_trading = True
        self.newest_id = 0
        self.newest_time = 0
        self.clock_back = 0
        """How often the exchange's clock went back by more than a second."""
        self._symbol = symbol
        self._levels = levels
        self._verify = verify
        self._buffer_time = round(buffer_seconds * 1_000_000)
        self._buffer_diffs = buffer_diffs
        self._refreshes = refreshes
        self._compare_time = round((compare_seconds or 0) * 1_000_000)
        self._compare_phase = crc32(symbol.encode()) * self._compare_time >> 32
        self._book: OrderBook | None = None
        self._update_id = 0
        self._reach = Reach()
        self._is_first = False
        self._began = 0
        self._is_behind = False
        self._behind_since = 0
        self._waiting: list[Waiting] = []
        self._asked = False
        self._attempt = 0
        self._is_last_snapshot = False
        self._refresh: Snapshot | None = None
        self._refreshed_time = 0
        self._compared_in = 0
        self._shallow_first = shallow_first
        self._asked_shallow = self._is_shallow = False
        self._since_request: deque[Waiting] = deque(maxlen=buffer_diffs)
        self._old_in_a_row = 0
        self._old_since = 0
        self._was_interrupted = False
        self._chain = Chain()

    @property
    def in_sync(self) -> bool:
        """Whether the book is that of the exchange at `update_id`."""
        return self._book is not None and not self._waiting

    @property
    def update_id(self) -> int:
        """The id of the last diff or snapshot in the book; 0 before the first."""
        return self._update_id

    @property
    def first_at_hand(self) -> int:
        """The first id of what waits, or that of what comes next."""
        return self._waiting[0].diff.first_update_id if self._waiting else self.newest_id + 1

    def receive_diff(self, diff: Diff, received_time: int) -> list[Step]:
        """Take a diff as it came off the stream; `received_time` is the wall clock then."""
        if diff.update_id <= self.newest_id:
            return self._receive_old(diff, received_time)
        self.newest_id = diff.update_id
        self.newest_time = diff.event_time
        self._old_in_a_row = 0
        self._was_interrupted = False
        if self._book is not None and not self._waiting:
            if diff.first_update_id <= self._update_id + 1:
                if diff.update_id > self._update_id:
                    return self._advance(self._book, diff, received_time)
                return self._fall_behind(diff)
            self.resyncs["missed_updates"] += 1
            return [Fact(self._symbol, "hole", f"{self._update_id + 1} to {diff.first_update_id - 1}"),
                    *self._wait(diff, received_time)]  # fmt: skip
        return self._wait(diff, received_time)

    def receive_snapshot(self, snapshot: Snapshot) -> list[Step]:
        """Take the answer to a `SnapshotRequest`, or a snapshot that came by itself."""
        self._asked = False
        if self.is_trading and not (snapshot.bids and snapshot.asks):
            return self._refuse("one_sided" if snapshot.bids or snapshot.asks else "empty")
        if self.in_sync:
            return self._receive_refresh(snapshot)
        if snapshot.update_id < self.first_at_hand - 1:
            return self._refuse("too_old")
        self._book = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        self._update_id = snapshot.update_id
        self._reach = reach_of(snapshot, None)
        self._is_shallow = self._asked_shallow
        self._is_first = True
        self._began = self.newest_time
        self._forget_refresh()
        self._is_behind = False
        self._behind_since = 0
        return self._catch_up()

    def interrupt(self) -> None:
        """Note that no connection was left: old ids with old times are no connection that lags, either."""
        self._was_interrupted = True

    def end_snapshots(self) -> None:
        """Note that there will be no further snapshot: none is asked for any more."""
        self._asked = False
        self._is_last_snapshot = True

    def lose(self, reason: str) -> list[Step]:
        """Give the book up because it can no longer be trusted; the next diff starts a synchronisation."""
        had_book = self._book is not None
        self._book = None
        for waiting in self._waiting:
            self._follow(waiting.diff)
        self._waiting.clear()
        self._forget_refresh()
        if not had_book:
            return []
        self.resyncs[reason] += 1
        return [Fact(self._symbol, "resync", reason)]

    def _receive_old(self, diff: Diff, received_time: int) -> list[Step]:
        """Take a diff that is not newer than the stream's newest: a repeat, one out of order, or ids that restarted."""
        if diff.event_time <= self.newest_time and not self._was_interrupted:
            if self._waiting and self._is_missing(diff):
                self.counts["out_of_order"] += 1
                return self._wait(diff, received_time)
            self.counts["stale"] += 1
            return []
        self.counts["stale"] += 1
        if not self._old_in_a_row:
            self._old_since = diff.event_time
        self._old_in_a_row += 1
        if self._old_in_a_row < RESET_AFTER or diff.event_time < self._old_since + RESET_TIME:
            return []
        steps = self.lose("id_reset")
        self._old_in_a_row = 0
        self._chain.restart()
        self.newest_id, self.newest_time = diff.update_id, diff.event_time
        return [*steps, Fact(self._symbol, "id_reset"), *self._wait(diff, received_time)]

    def _is_missing(self, diff: Diff) -> bool:
        """Return whether a late diff brings ids between the book and what waits, or between two that wait."""
        position = bisect_left(self._waiting, diff.update_id, key=attrgetter("update_id"))
        before = self._waiting[position - 1].update_id if position else self._update_id if self._book else 0
        after = self._waiting[position].diff.first_update_id
        return before < diff.update_id and diff.first_update_id < after and before + 1 < after

    def _fall_behind(self, diff: Diff) -> list[Step]:
        """Drop a diff that the snapshot holds already; report when the stream is more than a second behind it."""
        self.counts["behind_snapshot"] += 1
        self._follow(diff)
        self._began = self._began or diff.event_time
        self._behind_since = self._behind_since or diff.event_time
        if self._is_behind or diff.event_time < self._behind_since + LAG_TIME:
            return []
        self._is_behind = True
        return [Fact(self._symbol, "behind", f"{self._update_id - diff.update_id} ids")]

    def _wait(self, diff: Diff, received_time: int) -> list[Step]:
        """Let a diff wait in its place, apply what joins the book, and ask for a snapshot if a hole is left."""
        self.counts["waited"] += 1
        insort_left(self._waiting, Waiting(diff.update_id, diff, received_time), key=attrgetter("update_id"))
        oldest = self.newest_time - self._buffer_time
        while len(self._waiting) > self._buffer_diffs or self._waiting[0].diff.event_time < oldest:
            self._follow(self._waiting.pop(0).diff)
            self.counts["expired"] += 1
        return self._catch_up() if self._book is not None else self._ask()

    def _catch_up(self) -> list[Step]:
        """Apply what waits, as far as it joins; ask for a snapshot where a hole is left."""
        steps: list[Step] = []
        waiting, self._waiting = self._waiting, []
        for position, (update_id, diff, received_time) in enumerate(waiting):
            if self._book is None:  # lost on the way: what is left waits for the next one
                self._waiting = waiting[position:]
                break
            if update_id <= self._update_id:
                self._follow(diff)
                continue
            if diff.first_update_id > self._update_id + 1:
                self._waiting = waiting[position:]
                break
            steps += self._advance(self._book, diff, received_time)
        return steps + self._ask() if self._waiting else steps

    def _ask(self) -> list[Step]:
        if self._asked or self._is_last_snapshot:
            return []
        self._asked = True
        self._since_request.clear()
        attempt, self._attempt = self._attempt, self._attempt + 1
        self._asked_shallow = self._shallow_first and not self.in_sync
        return [SnapshotRequest(self._symbol, attempt, self._asked_shallow)]

    def _refuse(self, why: str) -> list[Step]:
        """Do without a snapshot that is of no use, and ask for another if one is needed."""
        self.counts[f"snapshot_{why}"] += 1
        refused = Fact(self._symbol, "snapshot_refused", why)
        return [refused] if self.in_sync else [refused, *self._ask()]

    def _advance(self, book: OrderBook, diff: Diff, received_time: int) -> list[Step]:
        """Apply a diff that continues the book."""
        times = self._follow(diff)
        book.apply(diff.bids, diff.asks)
        bids, asks = book.best()
        best_bid = float(bids[0][0]) if bids else -inf
        best_ask = float(asks[0][0]) if asks else inf
        if best_bid >= best_ask:
            return self.lose("crossed")
        if diff.first_update_id <= self._update_id:
            self.counts["overlap"] += 1
        self._update_id = diff.update_id
        if self._verify and not self._verify(book, diff):
            return self.lose("proof")
        steps: list[Step] = [
            Applied(
                diff,
                times,
                received_time,
                bids,
                asks,
                len(bids) < len(book.bids),
                len(asks) < len(book.asks),
                self._reach,
                self._is_first,
            )
        ]
        if self._is_first:
            self._compared_in = self._interval_of(diff.event_time)
        self._is_first = False
        if self._attempt and diff.event_time >= self._began + STEADY_TIME:
            self._attempt = 0
        if self._asked or self._refresh:
            self._remember(diff, received_time)
            if self._refresh:
                steps += self._take_over(book, self._refresh)
        elif self._refreshes and (
            self._is_shallow
            or best_bid < self._reach.low_mark
            or best_ask > self._reach.high_mark
            or self._interval_of(diff.event_time) != self._compared_in
        ):
            steps += self._ask_for_refresh(diff.event_time)
        return steps

    def _follow(self, diff: Diff) -> ChainTime:
        """Return the times of the next diff in the order of ids, whatever becomes of it."""
        times = self._chain.follow(diff)
        self.clock_back += times.set_back > 0
        return times

    def _remember(self, diff: Diff, received_time: int) -> None:
        """Keep a diff for a background snapshot that may be older."""
        self._since_request.append(Waiting(diff.update_id, diff, received_time))
        while self._since_request[0].diff.event_time < diff.event_time - self._buffer_time:
            self._since_request.popleft()

    def _ask_for_refresh(self, event_time: int) -> list[Step]:
        if abs(event_time - self._refreshed_time) < REFRESH_PAUSE:
            return []
        self._refreshed_time = event_time
        self.counts["refresh"] += 1
        return self._ask()

    def _receive_refresh(self, snapshot: Snapshot) -> list[Step]:
        first = self._since_request[0].diff.first_update_id if self._since_request else self._update_id + 1
        if snapshot.update_id < first - 1 or self._book is None:
            return self._refuse("too_old")
        self._refresh = snapshot
        return self._take_over(self._book, snapshot)

    def _interval_of(self, event_time: int) -> int:
        """Return the number of the interval between two comparisons that a time is in."""
        return (event_time + self._compare_phase) // self._compare_time if self._compare_time else 0

    def _take_over(self, book: OrderBook, snapshot: Snapshot) -> list[Step]:
        """Put a background snapshot in the book's place once the book has come to its id, and compare the two."""
        if self._update_id < snapshot.update_id:
            return []
        fresh = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        for update_id, diff, _ in self._since_request:
            if update_id > snapshot.update_id:
                fresh.apply(diff.bids, diff.asks)
        reach = reach_of(snapshot, None)
        levels, wrong = compare(book, fresh, self._reach, reach)
        fresh.extend(book, reach.floor, reach.ceiling)
        self._book = fresh
        self._reach = reach_of(snapshot, self._reach)
        self._forget_refresh()
        self.refreshes["contradiction" if wrong else "taken"] += 1
        self.levels["match"] += levels - wrong
        self.levels["mismatch"] += wrong
        self._compared_in = self._interval_of(self.newest_time)
        self._is_shallow = self._is_shallow and self._asked_shallow
        compared = Compared(self._symbol, self.newest_time, self._update_id, levels, wrong)
        detail = f"{wrong} of {levels} levels differ from a fresh snapshot of the same id"
        return [compared, Fact(self._symbol, "contradiction", detail)] if wrong else [compared]

    def _forget_refresh(self) -> None:
        self._refresh = None
        self._since_request.clear()
