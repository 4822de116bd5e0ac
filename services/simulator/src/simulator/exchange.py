"""The exchange without sockets: markets and a virtual clock in, frames and snapshots out."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import cycle

from simulator.dialects import DIALECTS
from simulator.edge import Edge, Sent
from simulator.faults import Board, Fault
from simulator.feed import Feed
from simulator.frames import Book, Frame
from simulator.instruments import Instrument, instrument_of
from simulator.knobs import Knobs
from simulator.market import STEP_US, Market
from simulator.replies import Reply, snapshot_reply

START_US = 1_789_000_000_000_000
"""Where the virtual clock begins by default."""


UNLISTED = "UNLISTED"
"""The status of a symbol that is on the list no more."""


class Exchange:
    """Several seeded markets on one virtual clock, in microseconds since the epoch.

    The same seed, start and calls give the same bytes. `frames` is the truth; `advance` is what one client is sent,
    faults applied, and `connect` gives that client a fresh connection. Unless streams are named it has `@depth@100ms`
    and `@bookTicker` of every symbol. `venue` is whose protocol it speaks: `binance` or `binance-usdm`.
    """

    def __init__(
        self,
        symbols: Iterable[str] = ("BTCUSDT",),
        seed: int = 1,
        *,
        venue: str = "binance",
        start_us: int = START_US,
        knobs: Knobs | None = None,
    ) -> None:
        self.dialect = DIALECTS[venue]
        self.knobs = knobs or self.dialect.knobs
        self.board = Board()
        self.now_us = start_us
        self.seed = seed
        self._feeds = {symbol: self._make_feed(symbol) for symbol in dict.fromkeys(symbols)}
        self._start_us = start_us
        self._lags_us = cycle([int(lag * 1000) for lag in self.knobs.snapshot_lags_ms] or [0])
        self._usual_streams = frozenset(stream for feed in self._feeds.values() for stream in feed.usual_streams())
        self._edge = self.edge()

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What is listed here."""
        listed = (feed.market.instrument for feed in self._feeds.values())
        return tuple(instrument for instrument in listed if instrument.status != UNLISTED)

    def edge(self) -> Edge:
        """The edge of one more connection."""
        return Edge(self.board)

    def connect(self) -> None:
        """The in-process client opens a new connection: what the edge remembered of the old one is gone."""
        self._edge = self.edge()

    def inject(self, fault: Fault) -> int:
        """Arms a fault; returns its number."""
        return self.board.inject(fault)

    def frames(self, now_us: int, wanted: Collection[str] | None = None) -> list[Frame]:
        """Moves every market to `now_us` and returns the true frames of the wanted streams, in order of time.

        Of depth streams there are those of each stream server.
        """
        streams = self._usual_streams if wanted is None else wanted
        frames = [
            frame
            for feed in self._feeds.values()
            for _ in range((now_us - feed.market.now_us) // STEP_US)
            for frame in feed.step(streams)
        ]
        self.now_us = max(now_us, self.now_us)
        frames.sort(key=_time)
        return frames

    def advance(self, now_us: int, wanted: Collection[str] | None = None) -> list[Sent]:
        """As `frames`, but as the first stream server sends them to the in-process client, faults applied."""
        moments = (*range(self.now_us + STEP_US, now_us, STEP_US), now_us)  # so that faults see the book of the moment
        return [
            sent
            for moment in moments
            for frame in self.frames(moment, wanted)
            if not frame.server
            for sent in self._edge.pass_on(frame)
        ]

    def set_status(self, symbol: str, status: str) -> None:
        """Changes a symbol's status from now on; it moves, and frames of it are sent, only while it is TRADING.

        A symbol that is not traded here is listed from now on; `UNLISTED` takes one off the list.

        Raises:
            LookupError: the venue knows no such status, or the symbol that is to go is not traded here.
        """
        if status not in (*self.dialect.statuses, UNLISTED):
            raise LookupError(f"{status} is no status; these are: {', '.join((*self.dialect.statuses, UNLISTED))}")
        if symbol not in self._feeds and status != UNLISTED:
            self._feeds[symbol] = self._make_feed(symbol)
        market = self._feed(symbol).market
        market.instrument = replace(market.instrument, status=status)

    def update_ids(self) -> dict[str, int]:
        """The last id of each symbol."""
        return {symbol: feed.market.last_id for symbol, feed in self._feeds.items()}

    def book_at(self, symbol: str, update_id: int, limit: int | None = None) -> Book:
        """The true book right after `update_id`, an id as clients were sent it: `limit` levels a side, or all.

        What was sent before the ids began anew, once or several times, is known, too.

        Raises:
            LookupError: unknown symbol, or an id of which the book is not known; the message says which are.
        """
        feed = self._feed(symbol)
        true_ids = (update_id + shift for shift in (0, *self.board.id_shifts.get(symbol, ())))
        return feed.book_at(next(filter(feed.market.knows, true_ids), update_id), limit)

    def snapshot(self, symbol: str, limit: int = 100) -> Reply:
        """The answer to a depth request, by a replica that lags, faults applied.

        Raises:
            KeyError: the symbol is not traded here.
        """
        feed = self._feeds[symbol]
        limit = min(limit, self.knobs.most_levels or limit)

        def body() -> bytes:
            shift, times = self.board.id_shift(symbol), self.dialect.snapshot_times(self.now_us)
            return feed.book_at(self._snapshot_id(symbol), limit).snapshot(limit, shift, times)

        return snapshot_reply(self.board, symbol, self.now_us, body)

    def _make_feed(self, symbol: str) -> Feed:
        market = Market(self._instrument(symbol), self.seed, self.now_us)
        knobs = self.knobs
        return Feed(
            market,
            send_unchanged_windows=knobs.send_unchanged_windows,
            dialect=self.dialect,
            servers_ms=knobs.stream_servers_ms,
        )

    def _instrument(self, symbol: str) -> Instrument:
        instrument = instrument_of(symbol)
        return instrument if instrument.status == "TRADING" else replace(instrument, status=self.dialect.halted)

    def _feed(self, symbol: str) -> Feed:
        if symbol not in self._feeds:
            raise LookupError(f"{symbol} is not traded here; these are: {', '.join(self._feeds)}")
        return self._feeds[symbol]

    def _snapshot_id(self, symbol: str) -> int:
        market = self._feeds[symbol].market
        if fault := self.board.take("stale_snapshot", symbol, self.now_us):
            stale = market.id_at(self.now_us - fault.microseconds)
            return max(market.oldest_id, min(stale, self.board.first_sent.get(symbol, stale + 2) - 2))
        if symbol in self.board.last_sent and (fault := self.board.take("boundary_snapshot", symbol, self.now_us)):
            return min(max(self._boundary(symbol, fault.variant), market.oldest_id), market.last_id)
        return market.id_at(self.now_us - next(self._lags_us))

    def _boundary(self, symbol: str, variant: str) -> int:
        first, last = self.board.last_sent[symbol]
        ids = {
            "last_event": last,
            "before_first": self.board.first_sent[symbol] - 1,
            "first": self.board.first_sent[symbol],
            "inside": (first + last) // 2,
        }
        return ids.get(variant, self._feeds[symbol].market.last_id)


def _time(frame: Frame) -> int:
    return frame.time_us
