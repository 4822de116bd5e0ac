"""Records what the exchange sends: a line is `<receive time, ns since epoch> <JSON>`, as of hftbacktest's collector.

A line is a frame of the combined streams or the body of a depth snapshot. The body names no symbol; where several are
recorded it is wrapped like a frame of a stream `<symbol>@snapshot`.
"""

import asyncio
import gzip
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp
import structlog

from crawler.book.market_data import Diff
from crawler.settings import CrawlerSettings
from crawler.venues.binance.rest import RestClient
from crawler.venues.binance.stream import Connection, connect, stream_names
from crawler.venues.binance.wire import FrameDecoder, decode_snapshot
from fairprice.errors import InvalidMarketData, StartupError

SNAPSHOT_PAUSE = 0.5
"""Seconds until another snapshot is asked for after one that was too old."""

log = structlog.get_logger(__name__)


class Capture:
    """One recording; `clock_ns` returns nanoseconds since the epoch."""

    def __init__(self, settings: CrawlerSettings, file: BinaryIO, clock_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._file = file
        self._clock_ns = clock_ns
        self.lines = 0

    async def run(self, session: aiohttp.ClientSession, rest: RestClient, stop: asyncio.Event) -> None:
        """Record until `stop` is set or the stream ends; a snapshot of each symbol follows its first diff.

        Raises `StartupError` for unknown symbols, `ExchangeUnavailable` when the exchange cannot be reached.
        """
        await rest.require_symbols(self._settings.symbols)
        async with connect(session, self._settings.exchange_stream_url) as connection, asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(_close_on(stop, connection))
            await connection.subscribe(stream_names(self._settings.symbols))
            waiting = set(self._settings.symbols)
            async for frame in connection.frames():
                if not frame.startswith(b'{"stream"'):
                    continue
                self._write(frame)
                if waiting and (diff := _diff(frame)) and diff.symbol in waiting:
                    waiting.remove(diff.symbol)
                    tasks.create_task(self._snapshot(rest, diff))
            closing.cancel()
            log.info("recording ended", lines=self.lines, reason=connection.ending)

    async def _snapshot(self, rest: RestClient, first: Diff) -> None:
        """Record a snapshot that the diffs from the first one on continue."""
        levels, symbol = self._settings.snapshot_levels, first.symbol
        body = await rest.depth_body(symbol, levels)
        while decode_snapshot(body, levels).update_id < first.first_update_id - 1:
            await asyncio.sleep(SNAPSHOT_PAUSE)
            body = await rest.depth_body(symbol, levels)
        if len(self._settings.symbols) > 1:
            body = b'{"stream":"%b@snapshot","data":%b}' % (symbol.lower().encode(), body)
        self._write(body)

    def _write(self, text: bytes) -> None:
        self._file.write(b"%d %b\n" % (self._clock_ns(), text))
        self.lines += 1


def open_recording(stack: ExitStack, path: Path) -> BinaryIO:
    """Open a new file to record into, compressed if its name ends in `.gz`; raises `StartupError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(path.open("xb"))
    except OSError as error:
        raise StartupError(f"cannot record into {path}: {error.strerror or error}; name a new file") from error
    return cast("BinaryIO", stack.enter_context(gzip.open(file, "wb"))) if path.suffix == ".gz" else file


def _diff(frame: bytes) -> Diff | None:
    try:
        event = FrameDecoder().decode(frame)
    except InvalidMarketData:
        return None
    return event if isinstance(event, Diff) else None


async def _close_on(stop: asyncio.Event, connection: Connection) -> None:
    await stop.wait()
    await connection.close()
