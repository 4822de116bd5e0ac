"""Keeps one symbol's book in sync, without I/O: fed diffs and snapshots, it returns applied diffs, requests and facts.

The rules are those of "How to manage a local order book correctly" in the documents of the first venue (2025-11-12),
with S the snapshot's id, L the book's id, F the first id of the first diff that waits, and `first` to `last` the ids
that a diff adds:

    snapshot usable    S >= F - 1, both sides    else ask again, keep what waits
    drop               last <= S
    first applied      first <= S + 1 <= last
    contiguous         first == L + 1
    overlap            first <= L < last         apply, quantities are absolute
    stale, duplicate   last <= L                 ignore
    hole               first > L + 1             let it wait, ask for a snapshot

Behind a hole the book is kept: a diff that comes late, or by another connection, may still fill it. Else a snapshot
takes the book's place.
"""

from collections import Counter
from collections.abc import Callable
from math import inf

from crawler.book.buffer import Buffer
from crawler.book.chain import Chain, ChainTime
from crawler.book.depth import Depths
from crawler.book.id_reset import IdReset
from crawler.book.market_data import Diff, Snapshot
from crawler.book.order_book import OrderBook
from crawler.book.reach import Reach, reach_of
from crawler.book.refresh import COMPARE_SECONDS, Refresh
from crawler.book.steps import Applied, Fact, SnapshotRequest, Step

LAG_TIME = 1_000_000
"""Microseconds of the exchange's time that a stream may bring only what the snapshot holds before that is reported."""

STEADY_TIME = 10_000_000
"""Microseconds of the exchange's time after which a book is taken for sound: the next snapshot is a first attempt."""


class DepthSync:
    """The synchronisation of one symbol.

    `verify` compares the book with the proof of a diff. What waits for a snapshot spans at most `buffer_seconds` of the
    exchange's time and `buffer_diffs`: a snapshot is never older. A book is compared with a fresh snapshot each
    `compare_seconds` of the exchange's time (None: never), at a phase that differs from symbol to symbol. Without
    `refreshes` a book keeps the reach that it has: snapshots are asked for to synchronise only. With `shallow_first` a
    book begins with a shallow snapshot and is refreshed by a deep one: of many symbols all are in sync sooner. `depths`
    adds up the whole book now and then.
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
        depths: Depths | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.resyncs: Counter[str] = Counter()
        self.newest_id = 0
        self.newest_time = 0
        self.clock_back = 0
        """How often the exchange's clock went back by more than a second."""
        self._symbol = symbol
        self._levels = levels
        self._verify = verify
        self._book: OrderBook | None = None
        self._update_id = 0
        self._reach = Reach()
        self._is_first = False
        self._began = 0
        self._is_behind = False
        self._behind_since = 0
        self._waiting = Buffer(seconds=buffer_seconds, diffs=buffer_diffs)
        self._asked: SnapshotRequest | None = None
        self._attempt = 0
        self._is_last_snapshot = False
        self._shallow_first = shallow_first
        self._id_reset = IdReset()
        self._chain = Chain()
        self._depths = depths
        self._refresh = Refresh(
            symbol,
            levels=levels,
            wanted=refreshes,
            compare_seconds=compare_seconds,
            since_request=Buffer(seconds=buffer_seconds, diffs=buffer_diffs),
        )
        self.refreshes = self._refresh.outcomes
        self.levels = self._refresh.levels

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
        return self._waiting.first_update_id if self._waiting else self.newest_id + 1

    def receive_diff(self, diff: Diff, received_time: int) -> list[Step]:
        """Take a diff as it came off the stream; `received_time` is the wall clock then."""
        if diff.update_id <= self.newest_id:
            return self._receive_old(diff, received_time)
        self.newest_id = diff.update_id
        self.newest_time = diff.event_time
        self._id_reset.restart()
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
        is_shallow, self._asked = self._asked is not None and self._asked.shallow, None
        if not (snapshot.bids and snapshot.asks):
            return self._refuse("one_sided" if snapshot.bids or snapshot.asks else "empty")
        if self._id_reset.is_left_behind(snapshot.update_id, self.newest_id):
            return self._refuse("of_old_ids")
        if self._book is not None and not self._waiting:
            return self._receive_refresh(self._book, snapshot, is_shallow=is_shallow)
        if snapshot.update_id < self.first_at_hand - 1:
            return self._refuse("too_old")
        self._book = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        if self._depths:
            self._depths.begin(snapshot.bids, snapshot.asks)
        self._update_id = snapshot.update_id
        self._reach = reach_of(snapshot, None)
        self._is_first = True
        self._began = self.newest_time
        self._refresh.begin(shallow=is_shallow)
        self._is_behind = False
        self._behind_since = 0
        return self._catch_up()

    def interrupt(self) -> None:
        """Note that no connection was left: old ids with old times are no connection that lags, either."""
        self._id_reset.interrupt()

    def end_snapshots(self) -> None:
        """Note that there will be no further snapshot: none is asked for any more."""
        self._asked = None
        self._is_last_snapshot = True

    def lose(self, reason: str) -> list[Step]:
        """Give the book up because it can no longer be trusted; the next diff starts a synchronisation."""
        had_book = self._book is not None
        self._book = None
        for waiting in self._waiting.take():
            self._follow(waiting.diff)
        self._refresh.forget()
        if not had_book:
            return []
        self.resyncs[reason] += 1
        return [Fact(self._symbol, "resync", reason)]

    def _receive_old(self, diff: Diff, received_time: int) -> list[Step]:
        """Take a diff that is not newer than the stream's newest: a repeat, one out of order, or ids that restarted."""
        if self._id_reset.is_late(diff, self.newest_time):
            if self._waiting and self._waiting.is_filled_by(diff, self._update_id if self._book else 0):
                self.counts["out_of_order"] += 1
                return self._wait(diff, received_time)
            self.counts["stale"] += 1
            return []
        self.counts["stale"] += 1
        if not self._id_reset.is_proven_by(diff, self.newest_id):
            return []
        steps = self.lose("id_reset")
        self._chain.restart()
        self.newest_id, self.newest_time = diff.update_id, diff.event_time
        return [*steps, Fact(self._symbol, "id_reset"), *self._wait(diff, received_time)]

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
        for expired in self._waiting.add(diff, received_time, self.newest_time):
            self._follow(expired)
            self.counts["expired"] += 1
        return self._catch_up() if self._book is not None else self._ask()

    def _catch_up(self) -> list[Step]:
        """Apply what waits, as far as it joins; ask for a snapshot where a hole is left."""
        steps: list[Step] = []
        waiting = self._waiting.take()
        for position, (update_id, diff, received_time) in enumerate(waiting):
            if self._book is None:  # lost on the way: what is left waits for the next one
                self._waiting.put_back(waiting[position:])
                break
            if update_id <= self._update_id:
                self._follow(diff)
                continue
            if diff.first_update_id > self._update_id + 1:
                self._waiting.put_back(waiting[position:])
                break
            steps += self._advance(self._book, diff, received_time)
        return steps + self._ask() if self._waiting else steps

    def _ask(self) -> list[Step]:
        """Ask for a snapshot, once; a lost book does not wait for the turn of one in the background."""
        before, background = self._asked, self.in_sync
        if self._is_last_snapshot or (before and (background or not before.background)):
            return []
        self._refresh.remember_from_here()
        attempt = before.attempt if before else self._attempt
        self._attempt = attempt + 1
        self._asked = SnapshotRequest(self._symbol, attempt, self._shallow_first and not background, background)
        return [self._asked]

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
        depth = None
        if self._depths:
            self._depths.follow(diff)
            depth = self._depths.sample(times, bids, asks, self._reach)
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
                depth,
            )
        ]
        if self._is_first:
            self._refresh.begin_at(diff.event_time)
        self._is_first = False
        if self._attempt and diff.event_time >= self._began + STEADY_TIME:
            self._attempt = 0
        if self._asked or self._refresh.waits:
            self._refresh.remember(diff, received_time)
            steps += self._take_over(book)
        elif self._refresh.is_due(diff.event_time, best_bid, best_ask, self._reach):
            self.counts["refresh"] += 1
            steps += self._ask()
        return steps

    def _follow(self, diff: Diff) -> ChainTime:
        """Return the times of the next diff in the order of ids, whatever becomes of it."""
        times = self._chain.follow(diff)
        self.clock_back += times.set_back > 0
        return times

    def _receive_refresh(self, book: OrderBook, snapshot: Snapshot, *, is_shallow: bool) -> list[Step]:
        if not self._refresh.receive(snapshot, self._update_id, shallow=is_shallow):
            return self._refuse("too_old")
        return self._take_over(book)

    def _take_over(self, book: OrderBook) -> list[Step]:
        """Let a background snapshot take the book's place, if there is one and the book has come to its id."""
        fresh = self._refresh.take_over(book, self._reach, self._update_id, self.newest_time)
        if fresh is None:
            return []
        self._book, self._reach, steps = fresh
        if self._depths:
            self._depths.begin(fresh.book.bids, fresh.book.asks)
        return steps
