"""Many symbols on one crawler: what a diff costs, how long a moment takes in which all of them change, and memory.

The markets of a few are made up and run under many names, so that each crawler does the same work, diff for diff; a
smaller one does it for longer. Everything between the socket and the broker is the crawler's own.
"""

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import structlog

from benchmarks.bench_book_engine import whole_snapshot
from benchmarks.rounds import Work, cpu_seconds, each, interleaved, ratio
from crawler.book.market_data import Snapshot
from crawler.book.steps import SnapshotRequest
from crawler.checkpoint import Checkpoint
from crawler.dispatch import Dispatch
from crawler.feeds import Feeds
from crawler.group import Groups
from crawler.intake import Intake
from crawler.link import Link
from crawler.liveness import SilenceWatch
from crawler.report import Report
from crawler.settings import CrawlerSettings
from crawler.symbols import SymbolBoard
from crawler.venues.port import SymbolStatus
from fairprice.messages import Event, encode
from simulator import Exchange, Frame

NUMBERS = (10, 100, 500)
MARKETS = 10
WINDOW = 0.1
SECOND = 10
"""Windows between two readings of the clock."""

WINDOWS = 50
"""Of the largest crawler: in five seconds each symbol's whole book is added up once."""

WARM_UP = 30
SNAPSHOT_AFTER = 20
CONNECTIONS = 2
LEVELS = 1000

Window = list[bytes]
"""The frames of some symbols in a tenth of a second."""


class Outgoing:
    """Encodes what is published, and counts it."""

    is_full = False

    def __init__(self) -> None:
        self.events = 0

    def __len__(self) -> int:
        return 0

    def put(self, event: Event) -> None:
        """See `Outgoing.put`."""
        encode(event)
        self.events += 1

    async def room(self) -> None:
        """Return at once, as `run` and `drain` do."""

    run = drain = room


class MarketClock:
    """Goes on with the windows; nobody sleeps by it."""

    def __init__(self, start: int) -> None:
        self._start = self._now = start

    def advance(self) -> None:
        """Go on by a window."""
        self._now += round(WINDOW * 1_000_000)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return (self._now - self._start) / 1_000_000

    def wall(self) -> int:
        """See `Clock.wall`."""
        return self._now

    async def sleep(self, _seconds: float) -> None:
        """See `Clock.sleep`."""
        raise NotImplementedError


class Markets:
    """What the markets of a few symbols send, window after window, and a snapshot of each among them."""

    def __init__(self, windows: int) -> None:
        names = [f"MARKET{number}" for number in range(MARKETS)]
        exchange = Exchange(names, seed=1)
        self.start = exchange.now_us
        self.windows: list[dict[str, list[bytes]]] = []
        self.snapshots: dict[str, bytes] = {}
        for number in range(windows):
            sent: dict[str, list[bytes]] = {name: [] for name in names}
            for frame in exchange.advance(exchange.now_us + round(WINDOW * 1_000_000)):
                if isinstance(frame, Frame):
                    sent[frame.symbol].append(frame.on_wire(combined=True))
            self.windows.append(sent)
            if number == SNAPSHOT_AFTER:
                self.snapshots = {name: exchange.snapshot(name, LEVELS).body for name in names}


class Crowd:
    """A crawler of so many symbols, each of which is one of the markets."""

    def __init__(self, markets: Markets, number: int) -> None:
        self.symbols = {f"S{each:04}USDT": f"MARKET{each % MARKETS}" for each in range(number)}
        self.outgoing = Outgoing()
        self._markets = markets
        self._clock = MarketClock(markets.start)
        settings = CrawlerSettings.load({}, symbols=tuple(self.symbols), state_dir=None)
        venue, board = settings.the_venue(), SymbolBoard(settings.selection())
        board.begin(dict.fromkeys(self.symbols, SymbolStatus(is_trading=True, word="TRADING")), "")
        self.feeds = Feeds(settings, board, Checkpoint(None, {}), crawler="benchmark", replay=False)
        self._report = Report(venue.name, "benchmark", self.feeds.of, board, self._clock)
        self._dispatch = Dispatch(self.feeds.of, self._report, self.outgoing, self._ask, self._clock)
        groups = Groups(venue, partial(SilenceWatch, timeout=10.0))
        groups.begin(self.symbols)
        self._intake = Intake(
            venue.decoder(self.symbols), groups.of, sink=self._dispatch.receive, push=self._dispatch.receive,
            fail=_fail, clock=self._clock,
        )  # fmt: skip
        self._links = [self._link() for _ in range(CONNECTIONS)]
        self._asked: set[str] = set()
        self._live = 0

    def frames(self, first: int, windows: int) -> list[Window]:
        """Return the frames of these windows of the markets under the crawler's names."""
        return [
            [_renamed(frame, market, symbol) for symbol, market in self.symbols.items() for frame in window[market]]
            for window in self._markets.windows[first : first + windows]
        ]

    def live(self, windows: list[Window]) -> None:
        """Take the frames, each from both connections, and do each second what the crawler does each second."""
        for window in windows:
            self._clock.advance()
            for frame in window:
                for link in self._links:
                    self._intake.receive(link, frame)
            self._live += 1
            if self._live % SECOND == 0:
                self._dispatch.tick(self._clock.monotonic())
                self._dispatch.publish_audits()
                for status in self._report.statuses():
                    self.outgoing.put(status)

    def synchronise(self) -> None:
        """Begin, with a snapshot of each symbol as soon as there is one."""
        before, after = (
            self.frames(0, SNAPSHOT_AFTER + 1),
            self.frames(SNAPSHOT_AFTER + 1, WARM_UP - SNAPSHOT_AFTER - 1),
        )
        self.live(before)
        for symbol in sorted(self._asked):
            self._dispatch.receive_snapshot(self._snapshot(symbol))
        self.live(after)
        if missing := self._report.out_of_sync:
            raise AssertionError(f"not in sync: {missing}")

    def _snapshot(self, symbol: str) -> Snapshot:
        return whole_snapshot(self._markets.snapshots[self.symbols[symbol]])._replace(symbol=symbol)

    def _ask(self, request: SnapshotRequest) -> None:
        self._asked.add(request.symbol)

    def _link(self) -> Link:
        venue = CrawlerSettings.load({}).the_venue()
        return Link(self, venue, self._clock, tuple(self.symbols), patience=10.0, reply_timeout=10.0)

    def receive(self, link: Link, frame: bytes) -> None:
        """See `Owner.receive`; nothing comes from a socket here."""

    def receive_complete(self, link: Link) -> None:
        """See `Owner.receive_complete`."""

    def receive_end(self, link: Link) -> None:
        """See `Owner.receive_end`."""


def report(rounds: int) -> Iterator[str]:
    """Yield the figures, a line each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    least, most = NUMBERS[0], NUMBERS[-1]
    markets = Markets(WARM_UP + WINDOWS * most // least)
    before = _resident()
    crowd = Crowd(markets, most)
    crowd.synchronise()
    megabytes = _resident() - before
    moments = [cpu_seconds(partial(crowd.live, [window])) * 1000 for window in crowd.frames(WARM_UP, WINDOWS)]
    del crowd
    seconds = interleaved(rounds, {str(number): partial(_prepare, markets, number) for number in NUMBERS})
    diffs = most * WINDOWS
    for number in NUMBERS:
        of = seconds[str(number)]
        yield f"{number} symbols: {each(of, diffs)}/diff, {ratio(of, seconds[str(least)])} the cost with {least}"
    told = f"{median(moments):.0f} ms CPU until the last is encoded, p99 {quantiles(moments, n=100)[98]:.0f}"
    yield f"a diff of each of {most} in one moment: {told}"
    kilobytes = megabytes * 1000 / most
    yield f"memory of {most} symbols: {megabytes:.0f} MB, {kilobytes:.0f} kB each ({LEVELS:,} levels a side)"


def _prepare(markets: Markets, number: int) -> Work:
    crowd = Crowd(markets, number)
    crowd.synchronise()
    windows = crowd.frames(WARM_UP, WINDOWS * NUMBERS[-1] // number)
    return partial(_measure, crowd, windows)


def _measure(crowd: Crowd, windows: list[Window]) -> None:
    before = sum(feed.books for feed in crowd.feeds.of.values())
    crowd.live(windows)
    books = sum(feed.books for feed in crowd.feeds.of.values()) - before
    expected = len(windows) * len(crowd.symbols)
    if books < 0.95 * expected:
        raise AssertionError(f"{books} books of {expected} diffs")


def _renamed(frame: bytes, market: str, symbol: str) -> bytes:
    return frame.replace(market.encode(), symbol.encode()).replace(market.lower().encode(), symbol.lower().encode())


def _fail(error: Exception) -> None:
    raise error


def _resident() -> float:
    """Return the megabytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
