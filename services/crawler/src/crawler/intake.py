"""Reads what the connections bring, and merges it by update id: each event goes on once, from whoever is first."""

from collections.abc import Callable, Iterable, Mapping

import structlog

from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.group import Group
from crawler.link import Link
from crawler.liveness import Merged
from crawler.stream_events import StreamEvent, Unreadable
from crawler.venues.port import Decoder, DiffHead, Event, Reply, Shutdown
from fairprice.errors import InvalidMarketData
from fairprice.runtime.clock import Clock

EXCERPT_BYTES = 500

log = structlog.get_logger(__name__)


class Intake:
    """Takes the frames of all connections.

    `push` takes each event, `sink` those that nobody has to be slowed down for. `fail` takes what goes wrong in them.
    """

    def __init__(
        self,
        decoder: Decoder,
        group_of: Mapping[str, Group],
        *,
        sink: Callable[[StreamEvent], None],
        push: Callable[[StreamEvent], None],
        fail: Callable[[Exception], None],
        clock: Clock,
    ) -> None:
        self.repeats = 0
        self.use(decoder)
        self._group_of = group_of
        self._sink = sink
        self._push = push
        self._fail = fail
        self._clock = clock
        self._diffs, self._tickers = Merged(), Merged()

    def receive(self, link: Link, frame: bytes) -> None:
        """See `Owner.receive`; what goes wrong in the sink ends the run."""
        try:
            head = self._peek(frame)
            if type(head) is Ticker and self._tickers.is_newer(head.symbol, head.update_id):
                link.carries = True
                self._sink(head if head.symbol in link.ticking else _first(link, head))
            elif isinstance(head, Ticker):
                self._take_ticker(link, head)
            else:
                self._take(link, frame, head)
        except Exception as error:  # noqa: BLE001  it has to reach the caller of `run`, not the event loop
            self._fail(error)

    def use(self, decoder: Decoder) -> None:
        """Read what comes from now on by this decoder: the symbols are others."""
        self._peek, self._decode = decoder.peek, decoder.decode

    def forget(self, symbols: Iterable[str], *, diffs: bool = True) -> None:
        """Take any id next, of tickers and, by default, of diffs."""
        self._tickers.forget(symbols)
        if diffs:
            self._diffs.forget(symbols)

    def _take(self, link: Link, frame: bytes, head: DiffHead | None) -> None:
        now = self._clock.monotonic()
        if head and not self._is_news(link, head.symbol, head.update_id, now):
            return
        try:
            event = self._decode(frame)
        except InvalidMarketData as error:
            symbol = error.symbol or (head.symbol if head else None)
            self._push(Unreadable(symbol, str(error), frame[:EXCERPT_BYTES].decode(errors="replace")))
            return
        if type(event) is Diff:
            if head or self._is_news(link, event.symbol, event.update_id, now):
                self._merge(event, now)
        elif event is not None:
            self._take_other(link, event, now)

    def _take_other(self, link: Link, event: Event, now: float) -> None:
        match event:
            case Ticker():
                self._take_ticker(link, event)
            case Snapshot():
                self._group_of[event.symbol].hear(link, event.symbol, event.update_id, now)
                self._merge(event, now)
            case Reply():
                link.take_reply(event)
            case Shutdown():
                log.info("the exchange announced the end of a connection, opening its successor")
                link.make_due("shutdown")

    def _is_news(self, link: Link, symbol: str, update_id: int, now: float) -> bool:
        self._group_of[symbol].hear(link, symbol, update_id, now)
        if self._diffs.is_repeat(symbol, update_id, now):
            self.repeats += 1
            return False
        return True

    def _merge(self, event: Diff | Snapshot, now: float) -> None:
        first_update_id = event.first_update_id if isinstance(event, Diff) else 0
        if self._diffs.take(event.symbol, event.update_id, first_update_id):
            self._group_of[event.symbol].restart_ids(event.symbol, event.update_id, now)
        self._push(event)

    def _take_ticker(self, link: Link, ticker: Ticker) -> None:
        link.carries = True
        if self._tickers.is_repeat(ticker.symbol, ticker.update_id, self._clock.monotonic()):
            self.repeats += 1
            link.ticking.add(ticker.symbol)  # what this link brings next is next to what is there
            return
        self._tickers.take(ticker.symbol, ticker.update_id)
        self._push(ticker if ticker.symbol in link.ticking else _first(link, ticker))


def _first(link: Link, ticker: Ticker) -> Ticker:
    link.ticking.add(ticker.symbol)
    return ticker._replace(is_first=True)
