"""What a stream of frames and the snapshots asked for make of the books of several symbols: no I/O but the log."""

from collections import Counter
from collections.abc import Iterator, Mapping

import structlog

from crawler.book.audit import TopAudit
from crawler.book.depth_sync import DepthSync, Output
from crawler.book.market_data import Diff, Snapshot
from crawler.state import Confirmed
from crawler.venues.binance.wire import Frame, FrameDecoder
from fairprice.errors import InvalidMarketData
from fairprice.messages import Book, Gap
from fairprice.runtime.metrics import Histogram, Sample

VENUE = "binance"

log = structlog.get_logger(__name__)


class BookFeed:
    """One `DepthSync` and one `TopAudit` for each symbol; symbols never disturb each other.

    `confirmed` tells where an earlier run ended, `crawler` names this instance in the books.
    """

    def __init__(
        self, symbols: tuple[str, ...], confirmed: Mapping[str, Confirmed], *, crawler: str, levels: int
    ) -> None:
        self._decoder = FrameDecoder()
        self._syncs = {symbol: _sync(symbol, confirmed.get(symbol), crawler, levels) for symbol in symbols}
        self._audits = {symbol: TopAudit() for symbol in symbols}
        self._tickers = {f"{symbol.lower()}@bookTicker".encode(): audit for symbol, audit in self._audits.items()}
        self._ticker_frames = 0
        self._frames = Counter({"invalid": 0})
        self._gaps: Counter[tuple[str, str]] = Counter()
        self._missing: Counter[str] = Counter()
        self._latency = Histogram()

    @property
    def books(self) -> int:
        """Books made so far."""
        return sum(sync.books for sync in self._syncs.values())

    @property
    def out_of_sync(self) -> tuple[str, ...]:
        """Symbols whose book is not in sync."""
        return tuple(symbol for symbol, sync in self._syncs.items() if not sync.in_sync)

    @property
    def without_books(self) -> tuple[str, ...]:
        """Symbols that no book was made of yet."""
        return tuple(symbol for symbol, sync in self._syncs.items() if not sync.books)

    def receive_frame(self, frame: bytes, received_time: int) -> tuple[Frame | None, list[Output]]:
        """Take a frame; return what it says, None if that is of no further interest, and what follows from it.

        A frame that cannot be read is as good as not received: the next one shows the hole.
        """
        stream = frame[11 : frame.find(b'"', 11)]
        try:
            if audit := self._tickers.get(stream):
                self._ticker_frames += 1
                audit.receive(frame)
                return None, []
            event = self._decoder.decode(frame)
        except InvalidMarketData as error:
            self._drop(stream, frame, error)
            return None, []
        if type(event) is Diff and (sync := self._syncs.get(event.symbol)):
            self._frames["diff"] += 1
            return event, self._checked(event.symbol, sync.receive_diff(event, received_time))
        self._frames["other"] += 1
        return event, []

    def receive_snapshot(self, symbol: str, snapshot: Snapshot) -> list[Output]:
        """Take the answer to a request for a snapshot; return what follows from it."""
        return self._checked(symbol, self._syncs[symbol].receive_snapshot(snapshot))

    def lost(self, reason: str) -> None:
        """Note that no stream is connected any more."""
        for symbol in self._syncs:
            self._expect_loss(symbol, reason)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        yield "crawler_frames_total", ("ticker",), self._ticker_frames
        yield "crawler_latency_seconds", (), self._latency
        for kind, count in self._frames.items():
            yield "crawler_frames_total", (kind,), count
        for (symbol, reason), count in self._gaps.items():
            yield "crawler_gaps_total", (symbol, reason), count
        for symbol, sync in self._syncs.items():
            yield "crawler_missing_updates_total", (symbol,), self._missing[symbol]
            yield "crawler_in_sync", (symbol,), sync.in_sync
            yield "crawler_books_total", (symbol,), sync.books
            for outcome, count in sync.counts.items():
                yield "crawler_diffs_total", (symbol, outcome), count
            for reason, count in sync.resyncs.items():
                yield "crawler_resyncs_total", (symbol, reason), count
            yield "crawler_audits_total", (symbol, "match"), self._audits[symbol].matches
            yield "crawler_audits_total", (symbol, "mismatch"), self._audits[symbol].mismatches

    def _checked(self, symbol: str, outputs: list[Output]) -> list[Output]:
        for output in outputs:
            if type(output) is Book:
                self._latency.observe(output.received_time - output.event_time)
                self._audit(symbol, output)
            elif type(output) is Gap:
                self._count(output)
        return outputs

    def _audit(self, symbol: str, book: Book) -> None:
        audit = self._audits[symbol]
        try:
            passes = audit.passes(book)
        except InvalidMarketData as error:
            log.warning("unreadable ticker, audit starts anew", symbol=symbol, error=str(error))
            audit.reset()
            return
        if not passes:
            log.error("the book contradicts bookTicker, synchronising again", symbol=symbol, update_id=book.update_id)
            self._syncs[symbol].lose("audit")
            audit.reset()

    def _count(self, gap: Gap) -> None:
        missing = max(0, gap.to_update_id - gap.from_update_id + 1)
        self._gaps[gap.symbol, gap.reason] += 1
        self._missing[gap.symbol] += missing
        seconds = (gap.to_time - gap.from_time) / 1_000_000
        log.warning("gap recorded", symbol=gap.symbol, reason=gap.reason, update_ids=missing, seconds=seconds)

    def _drop(self, stream: bytes, frame: bytes, error: InvalidMarketData) -> None:
        self._frames["invalid"] += 1
        log.warning("unreadable frame dropped", error=str(error), frame=frame[:500].decode(errors="replace"))
        symbol = stream.partition(b"@")[0].decode(errors="replace").upper()
        if symbol in self._syncs:
            self._expect_loss(symbol, "unreadable_frame")

    def _expect_loss(self, symbol: str, reason: str) -> None:
        self._syncs[symbol].expect_loss(reason)
        self._audits[symbol].reset()


def _sync(symbol: str, last: Confirmed | None, crawler: str, levels: int) -> DepthSync:
    if last is None:
        return DepthSync(VENUE, symbol, crawler, levels=levels)
    return DepthSync(VENUE, symbol, crawler, levels=levels, published_id=last.update_id, published_time=last.event_time)
