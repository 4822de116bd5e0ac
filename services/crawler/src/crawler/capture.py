"""Records what the exchange sends: a line is `<receive time, ns since epoch> <JSON>`, as of hftbacktest's collector.

A line is a frame of the streams or the body of a depth snapshot. The body names no symbol; where several are recorded
it is wrapped like a frame of a stream `<symbol>@snapshot`.
"""

import asyncio
import gzip
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import BinaryIO, cast

import aiohttp
import structlog

from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.proxy import ProxyFor
from crawler.settings import CrawlerSettings
from crawler.stream_events import Disconnected, StreamEvent, Unreadable
from crawler.streams import Streams
from crawler.venues.port import Rest
from fairprice.errors import InvalidMarketData, NoSnapshotLeft, StartupError, TransientError
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock

log = structlog.get_logger(__name__)


class Capture:
    """One recording into a file; each event of the streams once, however many connections bring it."""

    def __init__(
        self,
        settings: CrawlerSettings,
        file: BinaryIO,
        *,
        clock: Clock,
        random: Random,
        proxy: ProxyFor = lambda _address: None,
    ) -> None:
        self._settings = settings
        self._venue = settings.the_venue()
        self._file = file
        self._clock = clock
        self._back_off = partial(delays, random)
        self._proxy = proxy
        self._without_snapshot = set(settings.symbols)
        self._first_diffs: asyncio.Queue[Diff] = asyncio.Queue()
        self.lines = 0
        self.unreadable = 0

    async def run(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Record until `stop` is set; a snapshot of each symbol follows its first diff, and the first after a loss.

        Raises `StartupError` for unknown symbols, `ExchangeUnavailable` when the exchange does not list what it has.
        """
        url, _ = self._settings.urls()
        rest = self._venue.rest(session, url, clock=self._clock, share=self._settings.address_share)
        listed = await rest.symbols()
        if unknown := [symbol for symbol in self._settings.symbols if symbol not in listed]:
            raise StartupError(f"{url} does not list {', '.join(unknown)}; correct FAIRPRICE_SYMBOLS (like BTCUSDT)")
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._streams(rest).run()), tasks.create_task(self._fetch_snapshots(rest))
            await stop.wait()
            for task in work:
                task.cancel()
        log.info("recording ended", lines=self.lines, unreadable=self.unreadable)

    def _streams(self, rest: Rest) -> Streams:
        _, url = self._settings.urls()
        streams = Streams(
            self._venue,
            url,
            self._settings.symbols,
            sink=lambda event: self._take(event, streams.frame),
            pause=_AlwaysRoom(),
            clock=self._clock,
            back_off=self._back_off,
            connections=self._settings.stream_connections,
            silence_timeout=self._settings.silence_timeout,
            address_share=self._settings.address_share,
            probe=None if self._venue.snapshots_in_stream else rest.newest_update_id,
            proxy=self._proxy,
        )
        return streams

    def _take(self, event: StreamEvent, frame: bytes) -> None:
        match event:
            case Diff():
                self._write(frame)
                if event.symbol in self._without_snapshot:
                    self._without_snapshot.remove(event.symbol)
                    self._first_diffs.put_nowait(event)
            case Ticker() | Snapshot():
                self._write(frame)
            case Disconnected():
                self._without_snapshot.update(event.symbols)
            case Unreadable():
                self.unreadable += 1

    async def _fetch_snapshots(self, rest: Rest) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                first = await self._first_diffs.get()
                if not self._venue.snapshots_in_stream:
                    tasks.create_task(self._fetch_snapshot(rest, first))

    async def _fetch_snapshot(self, rest: Rest, first: Diff) -> None:
        """Record a snapshot that the diffs from the first one on continue."""
        for delay in self._back_off():
            try:
                snapshot, body = await rest.snapshot_body(first.symbol, self._settings.snapshot_levels)
            except NoSnapshotLeft as error:
                log.warning("no snapshot to record", symbol=first.symbol, error=str(error))
                return
            except (TransientError, InvalidMarketData) as error:
                log.warning("no snapshot to record, asking again", symbol=first.symbol, error=str(error))
            else:
                if snapshot.update_id >= first.first_update_id - 1:
                    self._write_snapshot(first.symbol, body)
                    return
            await self._clock.sleep(delay)

    def _write_snapshot(self, symbol: str, body: bytes) -> None:
        if len(self._settings.symbols) > 1:
            body = b'{"stream":"%b@snapshot","data":%b}' % (symbol.lower().encode(), body)
        self._write(body)

    def _write(self, text: bytes) -> None:
        self._file.write(b"%d %b\n" % (self._clock.wall() * 1000, text))
        self.lines += 1


class _AlwaysRoom:
    """A `Pause` that never asks for one: a file takes what comes."""

    is_full = False

    async def room(self) -> None:
        """Return at once."""


def open_recording(stack: ExitStack, path: Path) -> BinaryIO:
    """Open a new file to record into, compressed if its name ends in `.gz`; raises `StartupError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(path.open("xb"))
    except OSError as error:
        raise StartupError(f"cannot record into {path}: {error.strerror or error}; name a new file") from error
    return cast("BinaryIO", stack.enter_context(gzip.open(file, "wb"))) if path.suffix == ".gz" else file
