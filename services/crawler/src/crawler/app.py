"""The crawler: joins streams, feeds, snapshots and the outbox. Market data in, books and gaps out, in one direction."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from types import MappingProxyType

import aiohttp
import structlog

from crawler.book.feed import Feed, Output
from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.book.publication import Confirmed
from crawler.book.refresh import COMPARE_SECONDS
from crawler.book.steps import Fact, SnapshotRequest
from crawler.checkpoint import Checkpoint
from crawler.proxy import ProxyFor, session
from crawler.report import Report, some
from crawler.settings import CrawlerSettings
from crawler.snapshots import SHALLOW_LEVELS, NoneLeft, SnapshotQueue
from crawler.state import StateFile
from crawler.stream_events import Disconnected, StreamEvent, Suspected, Unreadable
from crawler.streams import Streams
from crawler.symbols import Changes, SymbolBoard
from crawler.tap import Outgoing, Tap, TappedRest
from crawler.venues.port import Rest
from fairprice.broker.outbox import CAPACITY_BYTES, Outbox
from fairprice.broker.port import Broker
from fairprice.errors import TransientError
from fairprice.messages import BOOKS_TYPE, Book, Gap
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock, timeout
from fairprice.runtime.health import Check
from fairprice.runtime.metrics import Sample
from fairprice.topology import BOOKS

TICK = 1.0
"""Seconds between two readings of the clock, two saves of the state, two looks at what has to be told."""

LIST_INTERVAL = 300.0
"""Seconds between two lists of symbols."""

MANY_SYMBOLS = 40
"""With more symbols their books begin with shallow snapshots, the most traded first, and deep ones follow."""

SECONDS_A_COMPARISON = 5.0
"""A book is compared with a fresh snapshot at most so often, over all symbols: that costs a tenth of the weight."""

LAST_SNAPSHOTS_TIMEOUT = 10.0
"""Seconds to wait, when a recording has ended, for snapshots that may still make books of what waits."""

REPLAY_BUFFER_DIFFS = 6000
"""Diffs that may wait in a replay, whose recording may be played a thousand times as fast as snapshots are fetched."""

log = structlog.get_logger(__name__)


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
        self._name = name
        selection = settings.selection()
        self._board = SymbolBoard(selection)
        self._feeds = {symbol: self._feed(symbol) for symbol in selection.names}
        self._outbox: Outgoing = (
            broker if isinstance(broker, Outgoing) else self._make_outbox(broker, name, capacity_bytes)
        )
        self._report = Report(self._venue.name, name, self._feeds, self._board, clock)
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
                follow = tasks.create_task(self._follow(http))
                stopped = tasks.create_task(stop.wait())
                await asyncio.wait({follow, stopped}, return_when=asyncio.FIRST_COMPLETED)
                follow.cancel()
                await asyncio.gather(follow, return_exceptions=True)
                for feed in self._feeds.values():
                    self._publish(feed.end())
                self._publish_audits(self._feeds.values(), at_end=True)
                await self._outbox.drain()
                for task in (stopped, *background):
                    task.cancel()
        finally:
            await self._checkpoint.end()

    def refresh(self) -> None:
        """Ask for a snapshot of each symbol whose book is in sync; the others ask by themselves."""
        for symbol, feed in self._feeds.items():
            if self._snapshots and feed.in_sync and not self._venue.snapshots_in_stream:
                self._snapshots.ask(SnapshotRequest(symbol, 0))

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
            prepare=self._checkpoint.prepare,
            clock=self._clock,
            back_off=partial(delays, self._random),
            capacity_bytes=capacity_bytes,
        )

    def _feed(self, symbol: str) -> Feed:
        feed = partial(Feed, self._venue.name, symbol, self._name, levels=self._settings.book_levels)
        if self._replay:
            return feed(
                verify=self._venue.verify,
                buffer_diffs=REPLAY_BUFFER_DIFFS,
                buffer_seconds=1e9,
                refreshes=False,
                is_alone=True,
            )
        pause = max(COMPARE_SECONDS, self._symbols * SECONDS_A_COMPARISON)
        return feed(
            verify=self._venue.verify,
            confirmed=self._checkpoint.of(symbol),
            compare_seconds=None if self._venue.snapshots_in_stream else pause,
            shallow_first=self._is_shallow_first,
        )

    @property
    def _is_shallow_first(self) -> bool:
        """Whether books begin with shallow snapshots; where those are all that is asked for, nothing would follow."""
        has_deeper = self._settings.snapshot_levels > SHALLOW_LEVELS
        return self._has_many and has_deeper and not self._venue.snapshots_in_stream

    @property
    def _symbols(self) -> int:
        """How many symbols there are to follow, as far as that is known."""
        return len(self._board.followed) or len(self._board.unfollowed)

    @property
    def _has_many(self) -> bool:
        """Whether deep snapshots of all symbols would take more than a fraction of a minute's weight."""
        return not self._replay and self._symbols > MANY_SYMBOLS

    async def _follow(self, http: aiohttp.ClientSession) -> None:
        """List the symbols, then follow those that are listed until cancelled, or until a replay has ended."""
        share = self._settings.address_share
        rest: Rest = self._venue.rest(http, self._rest_url, clock=self._clock, share=share)
        if self._tap:
            rest = TappedRest(rest, self._tap)
        self._rest = rest
        self._change_feeds(await self._begin(rest))
        rank = await self._rank(rest)
        self._snapshots = SnapshotQueue(
            rest,
            self._settings.snapshot_levels,
            self._on_snapshot,
            clock=self._clock,
            random=self._random,
            rank=rank,
        )
        self._streams = Streams(
            self._venue,
            self._stream_url,
            rank or self._board.followed,
            sink=self._show if self._tap else self._on_event,
            tap=self._tap,
            pause=self._outbox,
            clock=self._clock,
            back_off=partial(delays, self._random),
            connections=self._settings.stream_connections,
            silence_timeout=self._settings.silence_timeout,
            address_share=share,
            reconnect=not self._replay,
            probe=None if self._venue.snapshots_in_stream else rest.newest_update_id,
            proxy=self._proxy,
        )
        self._apply_board()
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._snapshots.run()), tasks.create_task(self._list_regularly(rest))]
            await self._streams.run()
            with suppress(TimeoutError):
                async with timeout(self._clock, self._last_snapshots_timeout):
                    await self._snapshots.idle()
            for task in background:
                task.cancel()

    async def _begin(self, rest: Rest) -> Changes:
        """Return the symbols to follow as soon as the exchange answers."""
        for failures, delay in enumerate(delays(self._random)):
            try:
                return self._board.begin(await rest.symbols(), self._rest_url)
            except TransientError as error:
                if failures == 0:
                    log.warning("cannot reach the exchange, trying until it answers", error=str(error))
                await self._clock.sleep(delay)
        raise AssertionError("delays have no end")

    async def _rank(self, rest: Rest) -> dict[str, int]:
        """Return the place of each symbol, the most traded first; nothing where it hardly matters or cannot be had."""
        if not self._has_many:
            return {}
        try:
            turnovers = await rest.turnovers()
        except TransientError as error:
            log.warning("cannot tell which symbols are traded most, snapshots come in any order", error=str(error))
            return {}
        most_traded = sorted(self._board.followed, key=lambda symbol: turnovers.get(symbol, 0.0), reverse=True)
        return {symbol: place for place, symbol in enumerate(most_traded)}

    async def _list_regularly(self, rest: Rest) -> None:
        while True:
            await self._clock.sleep(self._list_interval)
            try:
                changes = self._board.update(await rest.symbols())
            except TransientError as error:
                log.warning("cannot list the symbols, what is known of them is kept", error=str(error))
            else:
                self._change_feeds(changes)
                self._apply_board()

    def _change_feeds(self, changes: Changes) -> None:
        """Follow the symbols that are new and let others go, without touching the rest."""
        for symbol in changes.removed:
            feed = self._feeds.pop(symbol)
            self._publish(feed.end())
            self._publish_audits([feed], at_end=True)
            self._report.forget(symbol)
        for symbol in (*self._board.followed, *self._board.unfollowed):
            if symbol not in self._feeds:
                self._feeds[symbol] = self._feed(symbol)
        if self._streams and (changes.added or changes.removed):
            self._report.count_changes(changes)
            self._streams.follow(self._board.followed)

    def _apply_board(self) -> None:
        for symbol, feed in self._feeds.items():
            feed.follow(is_trading=self._board[symbol].is_trading)
        if self._streams:
            self._streams.set_quiet(self._board.not_trading())

    def _show(self, event: StreamEvent) -> None:
        if self._tap:
            self._tap.event(event)
        self._on_event(event)

    def _on_event(self, event: StreamEvent) -> None:
        match event:
            case Ticker():
                feed = self._feeds.get(event.symbol)
                if feed and (outputs := feed.receive_ticker(event)):
                    self._publish(outputs)
            case Diff():
                if feed := self._feeds.get(event.symbol):
                    now = self._clock.wall()
                    self._report.count_diff(event.event_time, now)
                    self._publish(feed.receive_diff(event, now))
            case Snapshot():
                self._on_snapshot(event)
            case Unreadable():
                self._report.count_unreadable(event)
                self._expect_loss((event.symbol,) if event.symbol else (), "unreadable_frame")
            case Disconnected() | Suspected():
                self._expect_loss(event.symbols, "disconnect" if isinstance(event, Disconnected) else "silence")

    def _on_snapshot(self, answer: Snapshot | NoneLeft) -> None:
        if feed := self._feeds.get(answer.symbol):
            self._publish(feed.end_snapshots() if isinstance(answer, NoneLeft) else feed.receive_snapshot(answer))

    def _expect_loss(self, symbols: Iterable[str], reason: str) -> None:
        for symbol in symbols:
            if feed := self._feeds.get(symbol):
                self._publish(feed.expect_loss(reason))

    def _publish(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Book() | Gap():
                    self._report.count(output)
                    self._outbox.put(output)
                case SnapshotRequest():
                    self._ask(output)
                case Fact():
                    self._report.log_fact(output)

    def _publish_audits(self, feeds: Iterable[Feed], *, at_end: bool = False) -> None:
        for feed in feeds:
            for audit in feed.take_audits(at_end=at_end):
                self._outbox.put(audit)

    def _ask(self, request: SnapshotRequest) -> None:
        if self._venue.snapshots_in_stream:
            if self._streams:
                self._streams.renew("a snapshot is needed", [request.symbol])
        elif self._snapshots:
            self._snapshots.ask(request)

    async def _tick_regularly(self) -> None:
        while True:
            await self._clock.sleep(self._tick)
            now = self._clock.monotonic()
            for feed in self._feeds.values() if not self._replay else ():
                self._publish(feed.tick(now))
            self._publish_audits(self._feeds.values())
            for status in self._report.statuses():
                self._outbox.put(status)
            await self._checkpoint.save()

    def _check_stream(self) -> str | None:
        if not self._streams or (self._streams.uncovered and not self._streams.open):
            return f"not connected to {self._stream_url}"
        missing = self._streams.uncovered
        return f"no connection carries {some(missing)}" if missing else None
