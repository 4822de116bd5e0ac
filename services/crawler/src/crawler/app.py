"""The crawler: joins streams, feeds, snapshots and the outbox. Market data in, books and gaps out, in one direction."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from types import MappingProxyType

import aiohttp

from crawler.book.publication import Confirmed
from crawler.book.steps import SnapshotRequest
from crawler.checkpoint import Checkpoint
from crawler.dispatch import Dispatch
from crawler.feeds import Feeds
from crawler.following import LIST_INTERVAL, Following
from crawler.proxy import ProxyFor, session
from crawler.quoting import Quoting
from crawler.report import Report, some
from crawler.settings import CrawlerSettings
from crawler.snapshots import SnapshotQueue
from crawler.state import StateFile
from crawler.stream_events import StreamEvent
from crawler.streams import Streams
from crawler.symbols import SymbolBoard
from crawler.tap import Outgoing, Tap, TappedRest
from crawler.venues.port import Rest
from fairprice.broker.outbox import CAPACITY_BYTES, Outbox
from fairprice.broker.port import Broker
from fairprice.messages import BOOKS_TYPE
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock, timeout
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS

TICK = 1.0
"""Seconds between two readings of the clock, two saves of the state, two looks at what has to be told."""

LAST_SNAPSHOTS_TIMEOUT = 10.0
"""Seconds to wait, when a recording has ended, for snapshots that may still make books of what waits."""


class Crawler:
    """Follows the symbols of its settings and publishes to `books`, or hands its events to what takes a broker's place.

    `name` tells this instance from others. `confirmed` is where an earlier run ended, for whoever keeps no state in a
    file. A replay ends when the exchange has closed the stream, the end of a recording; it keeps no state, and its
    books depend on nothing but what was recorded. A `tap` is shown all that comes in.
    """

    def __init__(
        self,
        settings: CrawlerSettings,
        broker: Broker | Outgoing,
        *,
        name: str,
        random: Random,
        clock: Clock,
        replay: bool = False,
        confirmed: Mapping[str, Confirmed] = MappingProxyType({}),
        proxy: ProxyFor = lambda _address: None,
        tick: float = TICK,
        list_interval: float = LIST_INTERVAL,
        last_snapshots_timeout: float = LAST_SNAPSHOTS_TIMEOUT,
        capacity_bytes: int = CAPACITY_BYTES,
        tap: Tap | None = None,
    ) -> None:
        self._settings = settings
        self._venue = settings.the_venue()
        self._rest_url, self._stream_url = settings.urls()
        self._clock = clock
        self._random = random
        self._replay = replay
        self._proxy = proxy
        self._tap = tap
        self._tick = tick
        self._list_interval = list_interval
        self._last_snapshots_timeout = last_snapshots_timeout
        self._rest_proxy = proxy(self._rest_url)
        file = StateFile.claim(settings.state_dir, self._venue.name) if settings.state_dir else None
        self._checkpoint = Checkpoint(file, confirmed)
        self._board = SymbolBoard(settings.selection())
        self._feeds = Feeds(settings, self._board, self._checkpoint, crawler=name, replay=replay)
        self._outbox: Outgoing = (
            broker if isinstance(broker, Outgoing) else self._make_outbox(broker, name, capacity_bytes)
        )
        self._report = Report(self._venue.name, name, self._feeds.of, self._board, clock)
        self._quoting = None if isinstance(broker, Outgoing) else self._make_quoting(broker, name)
        self._dispatch = Dispatch(self._feeds.of, self._report, self._outbox, self._ask, clock, quoting=self._quoting)
        self._rest: Rest | None = None
        self._streams: Streams | None = None
        self._snapshots: SnapshotQueue | None = None

    @property
    def summary(self) -> "Report":
        """What was made of each symbol."""
        return self._report

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set or a replay has ended, and return when the broker has confirmed everything.

        Cancelling ends it at once. Raises a `FatalError` when the exchange refuses for good.
        """
        try:
            async with session(self._rest_url, self._rest_proxy) as http, asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._outbox.run()), tasks.create_task(self._tick_regularly())]
                if self._quoting:
                    background.append(tasks.create_task(self._quoting.run()))
                follow = tasks.create_task(self._follow(http))
                stopped = tasks.create_task(stop.wait())
                await asyncio.wait({follow, stopped}, return_when=asyncio.FIRST_COMPLETED)
                follow.cancel()
                await asyncio.gather(follow, return_exceptions=True)
                for feed in self._feeds.of.values():
                    self._dispatch.end(feed)
                await self._outbox.drain()
                for task in (stopped, *background):
                    task.cancel()
        finally:
            await self._checkpoint.end()

    def refresh(self) -> None:
        """Ask for a snapshot of each symbol whose book is in sync; the others ask by themselves."""
        for symbol, feed in self._feeds.of.items():
            if self._snapshots and feed.in_sync and not self._venue.snapshots_in_stream:
                self._snapshots.ask(SnapshotRequest(symbol, 0, background=True))

    def checks(self) -> dict[str, Check]:
        """Return what has to be true for the crawler to be ready."""
        return {"stream": self._check_stream, "books": self._report.problem}

    def notes(self) -> dict[str, Check]:
        """Return what a person should know although the crawler is ready."""
        return {"symbols": self._board.describe}

    def samples(self) -> Iterator[Sample]:
        """Yield the crawler's metrics."""
        venue = self._venue.name
        yield from self._report.samples()
        yield "crawler_unconfirmed_events", (), len(self._outbox)
        if self._quoting:
            yield "crawler_quotes_total", (venue,), self._quoting.quotes
        if self._streams:
            yield "crawler_connections", (venue,), self._streams.open
            yield "crawler_reconnects_total", (venue,), self._streams.reconnects
            yield "crawler_frames_total", (venue, "repeat"), self._streams.repeats
        if self._rest:
            yield "crawler_request_weight", (venue,), self._rest.used_weight
        if self._snapshots:
            yield "crawler_snapshots_total", (venue, "fetched"), self._snapshots.fetched
            yield "crawler_snapshots_total", (venue, "failed"), self._snapshots.failed

    def _make_outbox(self, broker: Broker, name: str, capacity_bytes: int) -> Outbox:
        return Outbox(
            broker,
            BOOKS,
            BOOKS_TYPE,
            f"crawler/{name}",
            confirmed=self._checkpoint.confirm,
            clock=self._clock,
            back_off=partial(delays, self._random),
            capacity_bytes=capacity_bytes,
        )

    def _make_quoting(self, broker: Broker, name: str) -> Quoting | None:
        interval = self._settings.quote_interval
        if not interval:
            return None
        return Quoting(self._feeds.of, broker, f"crawler/{name}", interval=interval, clock=self._clock)

    def _make_rest(self, http: aiohttp.ClientSession) -> Rest:
        rest = self._venue.rest(http, self._rest_url, clock=self._clock, share=self._settings.address_share)
        return TappedRest(rest, self._tap) if self._tap else rest

    async def _follow(self, http: aiohttp.ClientSession) -> None:
        """List the symbols, then follow those that are listed until cancelled, or until a replay has ended."""
        self._rest = rest = self._make_rest(http)
        following = Following(
            rest, self._board, self._feeds, self._dispatch, self._report, clock=self._clock, random=self._random
        )
        await following.begin(self._rest_url)
        rank = await following.rank()
        self._snapshots = SnapshotQueue(
            rest,
            self._settings.snapshot_levels,
            self._dispatch.receive_snapshot,
            clock=self._clock,
            random=self._random,
            rank=rank,
        )
        self._streams = Streams(
            self._venue,
            self._stream_url,
            rank or self._board.followed,
            sink=self._show if self._tap else self._dispatch.receive,
            tap=self._tap,
            pause=self._outbox,
            clock=self._clock,
            back_off=partial(delays, self._random),
            connections=self._settings.stream_connections,
            silence_timeout=self._settings.silence_timeout,
            address_share=self._settings.address_share,
            reconnect=not self._replay,
            probe=None if self._venue.snapshots_in_stream else rest.newest_update_id,
            proxy=self._proxy,
        )
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._snapshots.run()),
                tasks.create_task(following.go_on(self._streams, self._list_interval)),
            ]
            await self._streams.run()
            with suppress(TimeoutError):
                async with timeout(self._clock, self._last_snapshots_timeout):
                    await self._snapshots.idle()
            for task in background:
                task.cancel()

    def _show(self, event: StreamEvent) -> None:
        if self._tap:
            self._tap.event(event)
        self._dispatch.receive(event)

    def _ask(self, request: SnapshotRequest) -> None:
        if self._venue.snapshots_in_stream:
            if self._streams:
                self._streams.renew("a snapshot is needed", [request.symbol])
        elif self._snapshots:
            self._snapshots.ask(request)

    async def _tick_regularly(self) -> None:
        while True:
            await self._clock.sleep(self._tick)
            if not self._replay:
                self._dispatch.tick(self._clock.monotonic())
            self._dispatch.publish_audits()
            for status in self._report.statuses():
                self._outbox.put(status)
            await self._checkpoint.save()

    def _check_stream(self) -> str | None:
        if not self._streams or (self._streams.uncovered and not self._streams.open):
            return f"not connected to {self._stream_url}"
        missing = self._streams.uncovered
        return f"no connection carries {some(missing)}" if missing else None
