"""Recordings played to their subscribers: byte for byte, at any speed, or as fast as they read."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from simulator.clock import Clock, ScaledClock
from simulator.connection import Audience, Connection
from simulator.contents import contents, files_of, period_of, within
from simulator.dialects import DIALECTS
from simulator.edge import Edge
from simulator.faults import Board
from simulator.frames import Book, Frame
from simulator.instruments import Instrument, instrument_of
from simulator.knobs import Knobs
from simulator.period import Moment
from simulator.recording import HOLE_NOTES, NOTES, Channel, Damage, Line, ids_of, read
from simulator.replies import Reply, error, snapshot_reply
from simulator.shelf import Shelf

LOG = logging.getLogger(__name__)
LINES_AT_ONCE = 128
UNREAD_BYTES = 64 * 1024
PAUSE_S = 0.001
DEPTH_NAMES = ("depth@100ms", "depth")
NONE_LEFT, NOT_FOR_THIS = -9001, -9002
"""Codes of our own: no exchange answers that there will never be another snapshot."""
FEWEST_LEVELS = 5
"""Who asks for so few levels wants to know where the book stands, which a recording cannot tell."""


class Playback:
    """A source whose market is recordings, one after the other. Playing starts with the first subscriber to depth.

    `paths` are files in their order, or folders of them. `speed` is how many times faster than recorded; None: as fast
    as the clients read. `clock` is the machine's, unless a test drives another one. While nobody is subscribed to
    depth, playing pauses: nothing is lost. Between two recordings there is no pause. Depth requests are answered with
    the recordings' own snapshots, whole, each once: the first whenever it is asked for, a later one from its place on,
    where playing waits for the answer to be written. Where none is left, that is said.
    Played is what was received from `start` on and before `end`.

    What cannot be read is told, and is a hole: at its place the subscribers get a frame that cannot be read, since
    something may be missing from there on.

    Raises:
        RecordingError: nothing can be read, or if `strict` not all, or a venue is not that of the others.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        speed: float | None = None,
        knobs: Knobs | None = None,
        clock: Clock | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        strict: bool = False,
    ) -> None:
        files = files_of(paths)
        self.period = period_of(files, start, end)
        self.files = within(files, self.period)
        self.contents = contents(self.files, self.period, strict=strict)
        self.dialect = DIALECTS[self.contents.venue]
        self.knobs = knobs or self.dialect.knobs
        self.board = Board()
        self.instruments: tuple[Instrument, ...] = tuple(
            replace(instrument_of(symbol), tick=1, step=1, status="TRADING") for symbol in self.contents.symbols
        )
        self._speed = speed
        self._clock = clock or ScaledClock(time.time_ns() // 1000, 1.0)
        self._shelves = {
            symbol: Shelf(self.contents.first_snapshots.get(symbol), max(0, self.contents.snapshots[symbol] - 1))
            for symbol in self.contents.symbols
        }
        self._places: Counter[str] = Counter()  # snapshots passed by, by symbol
        self._expected: set[str] = set()  # symbols whose client should ask for a snapshot now
        self._begun: set[str] = set()  # symbols of which a diff was sent
        self._lost: set[str] = set()  # symbols with a hole since their last snapshot
        self._last_ids = dict.fromkeys(self.contents.symbols, 0)
        self._names = self._listened_names()
        for damage in self.contents.damages:
            LOG.warning("not readable, and a hole: %s", damage)
        if (more := self.contents.damaged - len(self.contents.damages)) > 0:
            LOG.warning("and %d more that cannot be read", more)

    # What a source offers

    def edge(self) -> Edge:
        """The edge of one more connection."""
        return Edge(self.board)

    def update_ids(self) -> dict[str, int]:
        """The id of the last diff of each symbol that was played; 0 while there is none."""
        return dict(self._last_ids)

    def book_at(self, symbol: str, update_id: int, limit: int | None = None) -> Book:  # noqa: ARG002  the same for all
        """Nothing: a recording holds diffs and snapshots; always raises LookupError."""
        raise LookupError(f"{symbol}: the book at {update_id} is not known, a recording is played as it is")

    def set_status(self, symbol: str, status: str) -> None:
        """Nothing: always raises LookupError."""
        raise LookupError(f"{symbol} cannot become {status}: a recording is played as it is")

    def snapshot(self, symbol: str, limit: int) -> Reply:
        """An answer that may have to wait for the place of its snapshot, faults applied."""
        if limit <= FEWEST_LEVELS:
            return error(503, NOT_FOR_THIS, "A recording cannot tell where its book stands; ask for more levels.")
        return Reply(200, b"", held=partial(self._snapshot, symbol))

    @asynccontextmanager
    async def _snapshot(self, symbol: str) -> AsyncIterator[Reply]:
        shelf = self._shelves[symbol]
        async with shelf.request() as body:
            if body is None:
                yield error(503, NONE_LEFT, f"No snapshot of {symbol} is left in this recording.")
                return
            reply = snapshot_reply(self.board, symbol, time.time_ns() // 1000, lambda: body)
            yield reply
            if reply.body != body or reply.cut:
                shelf.put_back(body)

    # Playing

    async def play(self, audience: Audience) -> None:
        """Plays the recordings to whoever is subscribed, and returns when the last event has left."""
        listening = asyncio.Event()
        audience.changed = lambda: _set(listening, on=bool(self._depth_names() & audience.wanted))
        audience.changed()
        await listening.wait()
        for number, path in enumerate(self.files):
            await self._play_file(number, path, audience, listening)

    async def _play_file(self, number: int, path: Path, audience: Audience, listening: asyncio.Event) -> None:
        batch: list[Line] = []
        clock = self._clock
        start_us, start_ns = clock.wall(), 0
        for line in self._lines(path):
            start_ns = start_ns or line.time_ns
            due_us = start_us + int((line.time_ns - start_ns) / 1000 / self._speed) if self._speed else 0
            wait = self._what_to_wait_for(number, line, audience)
            if batch and (wait or len(batch) >= LINES_AT_ONCE or (due_us and due_us > clock.wall())):
                start_us += await self._send(batch, audience, listening)
                batch = []
            if wait:
                began_us = clock.wall()
                await wait()
                start_us += clock.wall() - began_us
            if due_us and (early_us := due_us - clock.wall()) > 0:
                await clock.sleep(early_us / 1e6)
            batch.append(line)
        await self._send(batch, audience, listening)

    def _lines(self, path: Path) -> Iterator[Line]:
        """What is sent of a file, and frames that cannot be read where something may be missing."""
        last_ns = 0
        for item in read(path, self.period):
            if isinstance(item, Damage):
                yield from self._holes(self.contents.symbols, item.first, item.before_ns or last_ns)
                continue
            last_ns = item.time_ns
            if item.channel.kind in HOLE_NOTES:
                symbols = orjson.loads(item.data).get("symbols", ())
                yield from self._holes(symbols, item.number, last_ns)
            elif item.channel.kind not in NOTES:
                yield item

    def _holes(self, symbols: Iterable[str], number: int, time_ns: int) -> Iterator[Line]:
        for stream in self._names:
            symbol = stream.partition("@")[0].upper()
            if symbol in symbols:
                opening = b'{"stream":"%b","data":' % stream.encode()
                yield Line(number, time_ns, Channel(stream, symbol, "hole"), opening + b"null}", len(opening))

    def _what_to_wait_for(self, number: int, line: Line, audience: Audience) -> Callable[[], Awaitable[None]] | None:
        """What has to happen before this line is sent, so that a client's books are the same at any speed."""
        if line.channel.kind == "snapshot":
            return self._reach(self.contents.owner(number, line), line.data)
        if line.channel.stream not in self._names or line.channel.kind == "hole":
            return None
        symbol = line.channel.symbol
        self._note_ids(symbol, line.data)
        if symbol in self._expected and symbol in self._begun:
            self._expected.discard(symbol)
            return partial(self._shelves[symbol].asked_for, self._clock, self.knobs.wait_for_snapshot_s)
        if symbol not in self._begun:
            names = (line.channel.stream, *self._names[line.channel.stream])
            self._begun.update([symbol] if audience.wanted.intersection(names) else [])
        return None

    def _reach(self, symbol: str, body: bytes) -> Callable[[], Awaitable[None]] | None:
        """Takes note of a snapshot's place: who has no book should ask for it here, as the recorder did."""
        is_first = not self._places[symbol] and symbol in self.contents.first_snapshots
        self._places[symbol] += 1
        if is_first or symbol in self._lost:
            self._expected.add(symbol)
            self._lost.discard(symbol)
        return None if is_first else partial(self._shelves[symbol].reach, body)

    def _note_ids(self, symbol: str, diff: bytes) -> None:
        """Takes note of a hole, whose client will ask for a later snapshot."""
        if ids := ids_of(diff):
            first_id, last_id = ids
            known = self._last_ids[symbol]
            if known and first_id > known + 1:
                self._lost.add(symbol)
                self._shelves[symbol].miss()
            self._last_ids[symbol] = max(known, last_id)

    async def _send(self, batch: list[Line], audience: Audience, listening: asyncio.Event) -> int:
        """Sends lines to everybody who wants them and waits until they are read; returns the microseconds paused."""
        began_us = self._clock.wall()
        await listening.wait()
        paused_us = self._clock.wall() - began_us
        if self.board.quiet:
            self._send_recorded(batch, audience)
        else:
            for line in batch:
                self._send_faulted(line, audience)
        for connection in list(audience.connections):
            connection.flush()
        await asyncio.sleep(0)
        # aiohttp's own signal that the transport may be written to again is private; the loop ends with the connection
        while any(one.is_open and one.unread_bytes > UNREAD_BYTES for one in audience.connections):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
        return paused_us

    def _send_recorded(self, batch: list[Line], audience: Audience) -> None:
        for connection in [one for one in audience.connections if one.is_open]:
            sent = Counter(line.channel.kind for line in batch if self._post(line, connection))
            for kind, number in sent.items():
                audience.count(kind, number)

    def _post(self, line: Line, connection: Connection) -> bool:
        streams, stream = connection.subscriptions.sent, line.channel.stream
        if stream in streams:
            connection.post_text(line.wrapped if connection.subscriptions.combined else line.data)
            return True
        others = [name for name in self._names.get(stream, ()) if name in streams]
        for name in others:
            renamed = b'{"stream":"%b","data":%b}' % (name.encode(), line.data)
            connection.post_text(renamed if connection.subscriptions.combined else line.data)
        return bool(others)

    def _send_faulted(self, line: Line, audience: Audience) -> None:
        for name in (line.channel.stream, *self._names.get(line.channel.stream, ())):
            if listeners := audience.listeners(name):
                frame = _frame(line, name)
                for connection in listeners:
                    audience.pass_on(frame, connection)

    def _depth_names(self) -> frozenset[str]:
        return frozenset((*self._names, *(name for names in self._names.values() for name in names)))

    def _listened_names(self) -> dict[str, list[str]]:
        """The depth stream that stands for each symbol -> other depth streams of it that the recording lacks.

        Who subscribes to `@depth` of a recording of `@depth@100ms`, or the other way round, is sent what there is.
        """
        names: dict[str, list[str]] = {}
        for symbol in self.contents.symbols:
            recorded = [stream for stream in self.contents.streams if _is_depth_of(stream, symbol)]
            if recorded:
                usual = [f"{symbol.lower()}@{name}" for name in DEPTH_NAMES]
                chosen = next((stream for stream in usual if stream in recorded), recorded[0])
                names[chosen] = [stream for stream in usual if stream not in recorded]
        return names


def _is_depth_of(stream: str, symbol: str) -> bool:
    name, _, kind = stream.partition("@")
    return name.upper() == symbol and (kind == "depth" or kind.startswith("depth@"))


def _frame(line: Line, stream: str) -> Frame:
    """The line as a frame that faults can be applied to; its time is the receive time."""
    frame = Frame(stream, line.channel.symbol, line.channel.kind, line.time_ns // 1000, 0, 0, lambda: line.data)
    if frame.kind == "depth":
        event = frame.event()
        frame.first_id, frame.last_id = event["pu"] + 1 if "pu" in event else event["U"], event["u"]
    return frame


def _set(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
