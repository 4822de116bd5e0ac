"""The crawler: streams in, books and gaps out."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from random import Random

import aiohttp
import structlog

from crawler import state
from crawler.book.depth_sync import Output, SnapshotRequest
from crawler.book.market_data import Snapshot
from crawler.book_feed import BookFeed
from crawler.connections import Connections
from crawler.settings import CrawlerSettings
from crawler.snapshots import SnapshotQueue
from crawler.state import Confirmed
from crawler.venues.binance.governor import Governor
from crawler.venues.binance.rest import RestClient
from crawler.venues.binance.wire import Frame
from fairprice.broker.outbox import Outbox
from fairprice.broker.port import Broker
from fairprice.errors import TransientError
from fairprice.messages import BOOKS_TYPE, Book, Event
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS

DRAIN_TIMEOUT = 4.0
SAVE_INTERVAL = 1.0
LAST_SNAPSHOTS_TIMEOUT = 10.0
"""Seconds to wait, when a recording has ended, for snapshots that may still make books of what is buffered."""

log = structlog.get_logger(__name__)


class Crawler:
    """Follows the symbols of its settings and publishes to `books`.

    `name` tells this instance from others. A `replay` ends when the exchange has closed the stream: the end of a
    recording.
    """

    def __init__(
        self,
        settings: CrawlerSettings,
        broker: Broker,
        *,
        name: str,
        random: Random,
        clock: Clock,
        replay: bool = False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._back_off = partial(delays, random)
        self._state_file = settings.state_dir / "confirmed.json" if settings.state_dir else None
        self._confirmed = state.load(self._state_file) if self._state_file else {}
        self._is_saved = True
        self._outbox = Outbox(
            broker,
            BOOKS,
            BOOKS_TYPE,
            f"crawler/{name}",
            confirmed=self._confirm,
            clock=clock,
            back_off=self._back_off,
        )
        self.feed = BookFeed(settings.symbols, self._confirmed, crawler=name, levels=settings.book_levels)
        self._governor = Governor()
        self._connections = Connections(
            settings.exchange_stream_url,
            settings.symbols,
            count=settings.stream_connections,
            silence_timeout=settings.silence_timeout,
            handle=self._on_frame,
            outbox=self._outbox,
            lost=self.feed.lost,
            back_off=self._back_off,
            monotonic=clock.monotonic,
            reconnect=not replay,
        )
        self._snapshots: SnapshotQueue | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain; raises a `FatalError` when the exchange refuses for good."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            rest = RestClient(
                session,
                self._settings.exchange_rest_url,
                self._governor,
                monotonic=self._clock.monotonic,
                wall_clock=self._clock.wall,
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

    def checks(self) -> dict[str, Check]:
        """Return what has to be true for the crawler to be ready."""
        return {"stream": self._check_stream, "books": self._check_books}

    def samples(self) -> Iterator[Sample]:
        """Yield the crawler's metrics."""
        yield from self.feed.samples()
        yield "crawler_connections", (), self._connections.open
        yield "crawler_reconnects_total", (), self._connections.reconnects
        yield "crawler_request_weight", (), self._governor.reported_weight
        yield "crawler_unconfirmed_events", (), len(self._outbox)
        if self._snapshots:
            yield "crawler_snapshots_total", ("fetched",), self._snapshots.fetched
            yield "crawler_snapshots_total", ("failed",), self._snapshots.failed

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
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SNAPSHOTS_TIMEOUT):
                    await self._snapshots.answered()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._outbox.drain()
        except TimeoutError:
            log.warning("not all events were confirmed in time; their gap is recorded at the next start")
        await self._save()

    def _on_frame(self, frame: bytes) -> Frame | None:
        event, outputs = self.feed.receive_frame(frame, self._clock.wall())
        self._publish(outputs)
        return event

    def _on_snapshot(self, symbol: str, snapshot: Snapshot) -> None:
        self._publish(self.feed.receive_snapshot(symbol, snapshot))

    def _publish(self, outputs: list[Output]) -> None:
        for output in outputs:
            if not isinstance(output, SnapshotRequest):
                self._outbox.put(output)
            elif self._snapshots:
                self._snapshots.ask(output)

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
            try:
                await asyncio.to_thread(state.save, self._state_file, dict(self._confirmed))
                self._is_saved = True
            except OSError as error:
                if self._is_saved:
                    log.warning(
                        "cannot save the confirmed ids, a restart would record too long a gap", error=str(error)
                    )
                self._is_saved = False

    def _check_stream(self) -> str | None:
        return None if self._connections.open else f"not connected to {self._settings.exchange_stream_url}"

    def _check_books(self) -> str | None:
        waiting = self.feed.out_of_sync
        return f"not in sync: {', '.join(waiting[:10])}" if waiting else None
