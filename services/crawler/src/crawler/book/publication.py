"""Makes events of what was applied, so that every update id is inside a book or inside a gap. Pure.

The rule is one comparison at the moment of publishing: where a book's first id does not follow the last published one,
a gap goes before it, whatever the cause was.
"""

from typing import NamedTuple

from crawler.book.model import MarketModel
from crawler.book.steps import Applied
from fairprice.gaps import begins_anew
from fairprice.messages import Book, Gap, Model, Start


class Confirmed(NamedTuple):
    """The last id of a symbol that is known to be published, and its event time in microseconds."""

    update_id: int
    event_time: int


class Publication:
    """What was published of one symbol; `confirmed` is where that ended before, `since` the reason why.

    One that `is_alone`, with no other crawler that writes the same rows, publishes books with uncertain times, too. One
    that `tells_start` says so where nothing is known of before.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        crawler: str,
        confirmed: Confirmed | None,
        *,
        since: str = "restart",
        is_alone: bool = False,
        tells_start: bool = False,
    ) -> None:
        self.books = 0
        self.model = MarketModel()
        self.reason = since if confirmed else ""
        """Why updates may be missing, should a hole show."""
        self._venue = venue
        self._symbol = symbol
        self._crawler = crawler
        self._before_start = confirmed
        self._last = confirmed
        self._ids_restart = False
        self._is_alone = is_alone
        self._tells_start = tells_start

    def restart_ids(self) -> None:
        """Note that the exchange has restarted its ids: smaller ones are not what was published before."""
        self._ids_restart = self._last is not None

    def began_anew(self, update_id: int, event_time: int) -> bool:
        """Return whether ids have begun anew since the earlier run; then a gap leads from its last one to these.

        In one numbering a smaller id is never a later one. True once at most; to be asked before each book.
        """
        last = self._before_start
        if last is None:
            return False
        if update_id > last.update_id:
            self._before_start = None
            return False
        if not begins_anew(update_id, event_time, last_id=last.update_id, last_time=last.event_time):
            return False
        self._before_start = None
        self.restart_ids()
        return True

    def publish(self, applied: Applied, *, is_proven: bool) -> list[Gap | Start | Book]:
        """Return the book, behind a gap if ids are missing before it; nothing for one that was published before.

        `is_proven` tells that the ticker has confirmed its top. A book whose time is uncertain is left out: another
        crawler may know a better one, and under a wrong one it would take another row's place.
        """
        diff, event_time = applied.diff, applied.times.event_time
        if not (applied.times.is_certain or self._is_alone):
            return []
        first = diff.first_update_id
        events: list[Gap | Start | Book] = []
        last, restarted = self._last, self._ids_restart
        if last and not restarted:
            if diff.update_id <= last.update_id:
                return []
            first = max(first, last.update_id + 1)
        if last and (restarted or first > last.update_id + 1):
            events.append(self._gap(last, first - 1, event_time))
        if events:
            self.model.restart()
        if self._tells_start and last is None:
            events.append(Start(self._venue, self._symbol, first, diff.update_id, event_time, self._crawler))
        events.append(self._book(applied, first, is_proven=is_proven))
        self.books += 1
        self._last = Confirmed(diff.update_id, event_time)
        self._ids_restart = False
        self.reason = ""
        return events

    def end(self, newest_id: int, newest_time: int) -> list[Gap]:
        """Return the gap up to the newest id that was seen, if anything of that was not published."""
        if self._last is None or (newest_id <= self._last.update_id and not self._ids_restart):
            return []
        return [self._gap(self._last, newest_id, max(newest_time, self._last.event_time))]

    def _book(self, applied: Applied, first: int, *, is_proven: bool) -> Book:
        floor, ceiling = _bounds(applied, is_proven=is_proven)
        model = self._learn(applied, is_proven=is_proven)
        return Book(
            self._venue,
            self._symbol,
            first,
            applied.diff.update_id,
            applied.times.event_time,
            applied.times.previous_event_time,
            applied.received_time,
            self._crawler,
            applied.bids,
            applied.asks,
            floor,
            ceiling,
            model,
        )

    def _learn(self, applied: Applied, *, is_proven: bool) -> Model | None:
        """Return the model that holds for this book; one whose top nobody knows is as good as missing."""
        bids, asks, time = applied.bids, applied.asks, applied.times.event_time
        floor, ceiling = applied.reach.floor, applied.reach.ceiling
        if bids and asks:
            bid, bid_size, ask, ask_size = float(bids[0][0]), float(bids[0][1]), float(asks[0][0]), float(asks[0][1])
            if is_proven or ((floor is None or bid >= float(floor)) and (ceiling is None or ask <= float(ceiling))):
                return self.model.follow(time, (bid + ask) / 2, (bid_size - ask_size) / (bid_size + ask_size))
        elif (bids or floor is None) and (asks or ceiling is None):
            return self.model.follow(time, None, 0.0)
        self.model.restart()
        return None

    def _gap(self, last: Confirmed, to_update_id: int, to_time: int) -> Gap:
        reason = self.reason or "missed_updates"
        return Gap(self._venue, self._symbol, last.update_id + 1, to_update_id, last.event_time, to_time, reason)


def _bounds(applied: Applied, *, is_proven: bool) -> tuple[str | None, str | None]:
    """Return the prices between which the published levels tell the whole book.

    A side that is cut tells as much as its last level; no more than the reach is known. A top that is proven is known
    wherever the reach ends.
    """
    bids, asks, reach = applied.bids, applied.asks, applied.reach
    floor, ceiling = reach.floor, reach.ceiling
    if applied.bids_cut and (floor is None or float(bids[-1][0]) > float(floor)):
        floor = bids[-1][0]
    if applied.asks_cut and (ceiling is None or float(asks[-1][0]) < float(ceiling)):
        ceiling = asks[-1][0]
    if is_proven:
        if floor is not None and bids and float(bids[0][0]) < float(floor):
            floor = bids[0][0]
        if ceiling is not None and asks and float(asks[0][0]) > float(ceiling):
            ceiling = asks[0][0]
    return floor, ceiling
