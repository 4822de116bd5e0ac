"""The snapshots in the background of one book: when one is due, and how it takes the book's place. Pure.

A snapshot reaches only so far from the price; long before the price gets there, another one is asked for and takes over
at the id where both are known. There the two are compared, every level; now and then one is asked for only to do that.
"""

from collections import Counter
from math import inf
from typing import NamedTuple
from zlib import crc32

from crawler.book.buffer import Buffer
from crawler.book.market_data import Diff, Snapshot
from crawler.book.order_book import OrderBook
from crawler.book.reach import Reach, compare, reach_of
from crawler.book.steps import Compared, Fact, Step

REFRESH_PAUSE = 10_000_000
"""Microseconds of the exchange's time between two background snapshots for the same purpose."""

URGENT_PAUSE = 2_000_000
"""The same where the price has left the reach already: without a snapshot there is no price."""

COMPARE_SECONDS = 600.0
"""Seconds of the exchange's time between two comparisons of a book with a fresh snapshot, level by level."""


class Fresh(NamedTuple):
    """The book that takes another one's place, how far it is known, and what the comparison of the two says."""

    book: OrderBook
    reach: Reach
    steps: list[Step]


class Refresh:
    """The background snapshots of one symbol's book.

    A book is compared each `compare_seconds` of the exchange's time (None: never), at a phase that differs from symbol
    to symbol. One that is not `wanted` is left with the reach that it has. `since_request` is an empty buffer for the
    diffs that a snapshot on its way may lack.
    """

    def __init__(
        self, symbol: str, *, levels: int, wanted: bool, compare_seconds: float | None, since_request: Buffer
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        """Levels compared with a fresh snapshot: those that matched, those that did not."""
        self._symbol = symbol
        self._levels = levels
        self._is_wanted = wanted
        self._compare_time = round((compare_seconds or 0) * 1_000_000)
        self._compare_phase = crc32(symbol.encode()) * self._compare_time >> 32
        self._compared_from, self._compared_until = -inf, inf
        self._since_request = since_request
        self._asked_times = {"reach": 0, "comparison": 0}
        self._snapshot: Snapshot | None = None
        self._is_shallow = self._will_be_shallow = False

    @property
    def waits(self) -> bool:
        """Whether there is a snapshot to whose id the book has not come yet."""
        return self._snapshot is not None

    def begin(self, *, shallow: bool) -> None:
        """Note that a synchronisation has made a book, of a shallow snapshot or a deep one."""
        self._is_shallow = shallow
        self.forget()

    def begin_at(self, event_time: int) -> None:
        """Note when a snapshot became the book, or was compared with it: the next comparison is in another interval."""
        if self._compare_time:
            self._compared_from = event_time - (event_time + self._compare_phase) % self._compare_time
            self._compared_until = self._compared_from + self._compare_time

    def is_due(self, event_time: int, best_bid: float, best_ask: float, reach: Reach) -> bool:
        """Return whether to ask for a snapshot now, and count on that being done."""
        if self._is_shallow or best_bid < reach.low_mark or best_ask > reach.high_mark:
            pause = URGENT_PAUSE if reach.is_left(best_bid, best_ask) else REFRESH_PAUSE
            return self._may_ask("reach", event_time, pause)
        if self._compared_from <= event_time < self._compared_until:
            return False
        return self._may_ask("comparison", event_time, REFRESH_PAUSE)

    def remember(self, diff: Diff, received_time: int) -> None:
        """Keep a diff for a snapshot that may be older."""
        self._since_request.add(diff, received_time, diff.event_time)

    def remember_from_here(self) -> None:
        """Keep what comes from now on: a snapshot is asked for."""
        self._since_request.take()

    def receive(self, snapshot: Snapshot, update_id: int, *, shallow: bool) -> bool:
        """Take a snapshot for the book of this id; return whether it is new enough for what was kept."""
        first = self._since_request.first_update_id if self._since_request else update_id + 1
        if snapshot.update_id < first - 1:
            return False
        self._snapshot = snapshot
        self._will_be_shallow = shallow
        return True

    def take_over(self, book: OrderBook, reach: Reach, update_id: int, newest_time: int) -> Fresh | None:
        """Put the snapshot in the book's place once the book has come to its id, and compare the two."""
        snapshot = self._snapshot
        if snapshot is None or update_id < snapshot.update_id:
            return None
        fresh = OrderBook(snapshot.bids, snapshot.asks, levels=self._levels)
        for waiting_id, diff, _ in self._since_request:
            if waiting_id > snapshot.update_id:
                fresh.apply(diff.bids, diff.asks)
        fresh_reach = reach_of(snapshot, None)
        levels, wrong = compare(book, fresh, reach, fresh_reach)
        fresh.extend(book, fresh_reach.floor, fresh_reach.ceiling)
        self.forget()
        self.outcomes["contradiction" if wrong else "taken"] += 1
        self.levels["match"] += levels - wrong
        self.levels["mismatch"] += wrong
        self.begin_at(newest_time)
        self._is_shallow = self._is_shallow and self._will_be_shallow
        steps: list[Step] = [Compared(self._symbol, newest_time, update_id, levels, wrong)]
        if wrong:
            detail = f"{wrong} of {levels} levels differ from a fresh snapshot of the same id"
            steps.append(Fact(self._symbol, "contradiction", detail))
        return Fresh(fresh, reach_of(snapshot, reach), steps)

    def forget(self) -> None:
        """Do without the snapshot that there is, and without what was kept for one."""
        self._snapshot = None
        self._since_request.take()

    def _may_ask(self, purpose: str, event_time: int, pause: int) -> bool:
        """Return whether it is long enough since a snapshot was asked for to the same purpose; if so, note the time."""
        if not self._is_wanted or abs(event_time - self._asked_times[purpose]) < pause:
            return False
        self._asked_times[purpose] = event_time
        return True
