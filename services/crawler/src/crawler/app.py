"""The crawler: streams in, books and gaps out."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import aiohttp
import structlog

from crawler import state
from crawler.audit import TopAudit
from crawler.binance.governor import Governor
from crawler.binance.rest import RestClient
from crawler.binance.wire import Frame, FrameDecoder
from crawler.connections import Connections
from crawler.depth_sync import DepthSync, Output, SnapshotRequest
from crawler.market_data import Diff, Snapshot
from crawler.settings import Settings
from crawler.snapshots import SnapshotQueue
from crawler.state import Confirmed
from fairprice.broker.outbox import Outbox
from fairprice.broker.port import Broker
from fairprice.errors import InvalidMarketData, TransientError
from fairprice.messages import BOOKS_TYPE, Book, Event, Gap
from fairprice.runtime.backoff import delays
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS

VENUE = "binance"
DRAIN_TIMEOUT = 4.0
SAVE_INTERVAL = 1.0

log = structlog.get_logger(__name__)


class Crawler:
    """Follows the symbols of its settings and publishes to `books`.

    `name` tells this instance from others. `wall_clock` returns microseconds since the epoch, `monotonic` seconds.
    With `reconnect=False` the run ends when the exchange has closed the stream: the end of a recording.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        name: str,
        random: Random,
        wall_clock: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        reconnect: bool = True,
    ) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._back_off = partial(delays, random)
        self._state_file = settings.state_dir / "confirmed.json" if settings.state_dir else None
        self._confirmed = state.load(self._state_file) if self._state_file else {}
        self._outbox = Outbox(
            broker,
            BOOKS,
            BOOKS_TYPE,
            f"crawler/{name}",
            confirmed=self._confirm,
            wall_clock=wall_clock,
            back_off=self._back_off,
        )
        self._decoder = FrameDecoder()
        self._syncs = {symbol: self._sync(symbol, name) for symbol in settings.symbols}
        self._audits = {symbol: TopAudit() for symbol in settings.symbols}
        self._tickers = {f"{symbol.lower()}@bookTicker".encode(): audit for symbol, audit in self._audits.items()}
        self._governor = Governor()
        self._connections = Connections(
            settings.exchange_stream_url,
            settings.symbols,
            count=settings.stream_connections,
            silence_timeout=settings.silence_timeout,
            handle=self._on_frame,
            room=self._outbox.room,
            lost=self._on_lost,
            back_off=self._back_off,
            monotonic=monotonic,
            reconnect=reconnect,
        )
        self._snapshots: SnapshotQueue | None = None
        self._frames: Counter[str] = Counter()
        self._gaps: Counter[tuple[str, str]] = Counter()
        self._missing: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain; raises a `FatalError` when the exchange refuses for good."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            rest = RestClient(
                session,
                self._settings.exchange_rest_url,
                self._governor,
                monotonic=self._monotonic,
                wall_clock=self._wall_clock,
            )
            self._snapshots = SnapshotQueue(rest, self._settings.snapshot_levels, self._on_snapshot, self._back_off)
            background = [
                tasks.create_task(self._outbox.run()),
                tasks.create_task(self._snapshots.run()),
                tasks.create_task(self._save_regularly()),
            ]
            follow = tasks.create_task(self._follow(session, rest))
            stopped = tasks.create_task(stop.wait())
            await asyncio.wait({follow, stopped}, return_when=asyncio.FIRST_COMPLETED)
            follow.cancel()
            await self._drain()
            for task in (stopped, *background):
                task.cancel()

    @property
    def books(self) -> int:
        """Books published so far."""
        return sum(sync.books for sync in self._syncs.values())

    @property
    def out_of_sync(self) -> tuple[str, ...]:
        """Symbols whose book is not in sync."""
        return tuple(symbol for symbol, sync in self._syncs.items() if not sync.in_sync)

    def checks(self) -> dict[str, Check]:
        """Return what has to be true for the crawler to be ready."""
        return {"stream": self._check_stream, "books": self._check_books}

    def samples(self) -> Iterator[Sample]:
        """Yield the crawler's metrics."""
        for kind, count in self._frames.items():
            yield "crawler_frames_total", (kind,), count
        yield "crawler_connections", (), self._connections.open
        yield "crawler_reconnects_total", (), self._connections.reconnects
        yield "crawler_request_weight", (), self._governor.reported_weight
        yield "crawler_unconfirmed_events", (), len(self._outbox)
        if self._snapshots:
            yield "crawler_snapshots_total", ("fetched",), self._snapshots.fetched
            yield "crawler_snapshots_total", ("failed",), self._snapshots.failed
        for (symbol, reason), count in self._gaps.items():
            yield "crawler_gaps_total", (symbol, reason), count
        for symbol, count in self._missing.items():
            yield "crawler_missing_updates_total", (symbol,), count
        for symbol, sync in self._syncs.items():
            yield "crawler_in_sync", (symbol,), sync.in_sync
            yield "crawler_books_total", (symbol,), sync.books
            for outcome, count in sync.counts.items():
                yield "crawler_diffs_total", (symbol, outcome), count
            for reason, count in sync.resyncs.items():
                yield "crawler_resyncs_total", (symbol, reason), count
            yield "crawler_audits_total", (symbol, "match"), self._audits[symbol].matches
            yield "crawler_audits_total", (symbol, "mismatch"), self._audits[symbol].mismatches

    async def _follow(self, session: aiohttp.ClientSession, rest: RestClient) -> None:
        for failures, delay in enumerate(self._back_off()):
            try:
                await rest.require_symbols(self._settings.symbols)
                break
            except TransientError as error:
                if failures == 0:
                    log.warning("cannot reach the exchange, trying until it answers", error=str(error))
                await asyncio.sleep(delay)
        await self._connections.run(session)
        if self._snapshots:
            await self._snapshots.answered()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._outbox.drain()
        except TimeoutError:
            log.warning("not all events were confirmed in time; their gap is recorded at the next start")
        await self._save()

    def _sync(self, symbol: str, name: str) -> DepthSync:
        last = self._confirmed.get(symbol)
        return DepthSync(
            VENUE,
            symbol,
            name,
            levels=self._settings.book_levels,
            published_id=last.update_id if last else None,
            published_time=last.event_time if last else 0,
        )

    def _on_frame(self, frame: bytes) -> Frame | None:
        stream = frame[11 : frame.find(b'"', 11)]
        if audit := self._tickers.get(stream):
            self._frames["ticker"] += 1
            audit.receive(frame)
            return None
        try:
            event = self._decoder.decode(frame)
        except InvalidMarketData as error:
            self._frames["invalid"] += 1
            log.warning("unreadable frame dropped", error=str(error), frame=frame[:500].decode(errors="replace"))
            self._suspect(stream)
            return None
        if type(event) is Diff and (sync := self._syncs.get(event.symbol)):
            self._frames["diff"] += 1
            self._publish(event.symbol, sync.receive_diff(event, self._wall_clock()))
        else:
            self._frames["other"] += 1
        return event

    def _on_snapshot(self, symbol: str, snapshot: Snapshot) -> None:
        self._publish(symbol, self._syncs[symbol].receive_snapshot(snapshot))

    def _on_lost(self, reason: str) -> None:
        for sync in self._syncs.values():
            sync.expect_loss(reason)

    def _suspect(self, stream: bytes) -> None:
        symbol = stream.partition(b"@")[0].decode(errors="replace").upper()
        if sync := self._syncs.get(symbol):
            sync.expect_loss("unreadable_frame")

    def _publish(self, symbol: str, outputs: list[Output]) -> None:
        for output in outputs:
            if type(output) is Book:
                self._outbox.put(output)
                self._audit(symbol, output)
            elif type(output) is Gap:
                self._count_gap(output)
                self._outbox.put(output)
            elif type(output) is SnapshotRequest and self._snapshots:
                self._snapshots.ask(output)

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

    def _count_gap(self, gap: Gap) -> None:
        missing = max(0, gap.to_update_id - gap.from_update_id + 1)
        self._gaps[gap.symbol, gap.reason] += 1
        self._missing[gap.symbol] += missing
        seconds = (gap.to_time - gap.from_time) / 1_000_000
        log.warning("gap recorded", symbol=gap.symbol, reason=gap.reason, update_ids=missing, seconds=seconds)

    def _confirm(self, events: list[Event]) -> None:
        for event in events:
            if type(event) is Book:
                self._confirmed[event.symbol] = Confirmed(event.update_id, event.event_time)

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL)
            await self._save()

    async def _save(self) -> None:
        if self._state_file:
            await asyncio.to_thread(state.save, self._state_file, dict(self._confirmed))

    def _check_stream(self) -> str | None:
        return None if self._connections.open else f"not connected to {self._settings.exchange_stream_url}"

    def _check_books(self) -> str | None:
        waiting = self.out_of_sync
        return f"not in sync: {', '.join(waiting[:10])}" if waiting else None
