"""A recording played to its subscribers: byte for byte, at any speed, or as fast as they read."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from simulator.connection import Audience, Connection
from simulator.edge import Edge
from simulator.faults import Board
from simulator.frames import Book, Frame, Level
from simulator.instruments import Instrument, instrument_of
from simulator.knobs import Knobs
from simulator.recorded_book import RecordedBook
from simulator.recording import Line, contents, read
from simulator.replies import Reply, error, snapshot_reply

LINES_AT_ONCE = 128
UNREAD_BYTES = 64 * 1024
PAUSE_S = 0.001
DEPTH_NAMES = ("depth@100ms", "depth")


class Playback:
    """A venue whose market is a recording. Playing starts with the first subscriber to any of its depth streams.

    `speed` is how many times faster than recorded; None: as fast as the clients read. While nobody is subscribed to
    depth, playing pauses: nothing is lost. The first depth request of each symbol is answered with the recording's
    own first snapshot, whenever it comes; later ones with the book as of the last event sent.

    Raises:
        RecordingError: the recording is not readable from beginning to end.
    """

    def __init__(self, path: Path | str, *, speed: float | None = None, knobs: Knobs | None = None) -> None:
        self.knobs = knobs or Knobs()
        self.path = Path(path)
        self.contents = contents(self.path)
        self.board = Board()
        self.instruments: tuple[Instrument, ...] = tuple(
            replace(instrument_of(symbol), tick=1, step=1, status="TRADING") for symbol in self.contents.symbols
        )
        self._speed = speed
        self._books = {symbol: RecordedBook(symbol) for symbol in self.contents.symbols}
        self._asked = {symbol: asyncio.Event() for symbol in self.contents.symbols}
        self._expected: set[str] = set()  # symbols whose recorded snapshot has come by, not yet asked for
        self._begun: set[str] = set()  # symbols of which an event was sent
        self._last_sent: dict[str, bytes] = {}
        self._names = self._listened_names()

    # What a venue offers

    def edge(self) -> Edge:
        """The edge of one more connection."""
        return Edge(self.board, self.best)

    def best(self, symbol: str) -> tuple[Level, Level]:
        """Best bid and ask as of the last event sent; of an unknown book, one that nothing can lie beyond."""
        book = self._books[symbol].book()
        nothing = ("0.00000001", "1.00000000")
        return (book.bids[0] if book and book.bids else nothing), (book.asks[0] if book and book.asks else nothing)

    def update_ids(self) -> dict[str, int]:
        """The id of each symbol's book as of the last event sent; 0 while there is none."""
        books = {symbol: book.book() for symbol, book in self._books.items()}
        return {symbol: book.update_id if book else 0 for symbol, book in books.items()}

    def book_at(self, symbol: str, update_id: int) -> Book:
        """The book as of the last event sent, if that is the id asked for.

        Raises:
            LookupError: unknown symbol, or any other id.
        """
        if symbol not in self._books:
            raise LookupError(f"{symbol} is not in this recording; these are: {', '.join(self._books)}")
        book = self._books[symbol].book()
        if book is None or book.update_id != update_id:
            known = f"only {book.update_id} is" if book else "none is yet"
            raise LookupError(f"{symbol}: update id {update_id} is not known; {known} at this point of the recording")
        return book

    def snapshot(self, symbol: str, limit: int) -> Reply:
        """The recording's first snapshot, whole; after that the book at the play position, faults applied."""
        body = self._snapshot_body(symbol, limit)
        if body is None:
            return error(503, -1008, f"Server is currently overloaded: the recording holds no snapshot of {symbol}.")
        reply = snapshot_reply(self.board, symbol, time.time_ns() // 1000, lambda: body)
        if reply.body == body and not reply.cut:
            self._asked[symbol].set()
        return reply

    def _snapshot_body(self, symbol: str, limit: int) -> bytes | None:
        first = self.contents.first_snapshots.get(symbol)
        stale = first and self.board.take("stale_snapshot", symbol, time.time_ns() // 1000)
        if first is not None and (stale or not self._asked[symbol].is_set()):
            return first
        book = self._books[symbol].book()
        return book.snapshot(limit, self.board.id_shift.get(symbol, 0)) if book else first

    # Playing

    async def play(self, audience: Audience) -> None:
        """Plays the recording to whoever is subscribed, and returns when the last event has left."""
        listening = asyncio.Event()
        audience.changed = lambda: _set(listening, on=bool(self._depth_names() & audience.wanted))
        audience.changed()
        batch: list[Line] = []
        await listening.wait()
        start_s, start_ns = time.monotonic(), 0
        for line in read(self.path):
            start_ns = start_ns or line.time_ns
            due_s = start_s + (line.time_ns - start_ns) / 1e9 / self._speed if self._speed else 0.0
            waits = self._must_wait(line)
            if batch and (waits or len(batch) >= LINES_AT_ONCE or due_s > time.monotonic()):
                start_s += await self._send(batch, audience, listening)
                batch = []
            if waits:
                start_s += await self._wait_for_request(line.channel.symbol)
            if due_s > time.monotonic():
                await asyncio.sleep(due_s - time.monotonic())
            batch.append(line)
        await self._send(batch, audience, listening)

    def _must_wait(self, line: Line) -> bool:
        """Whether the client should have asked for the snapshot before this event, as the recorder had."""
        symbol, kind = line.channel.symbol, line.channel.kind
        if kind == "snapshot":
            self._expected.add(self.contents.snapshot_symbols[line.number])
        elif kind == "depth" and symbol in self._expected and symbol in self._begun:
            self._expected.discard(symbol)
            return not self._asked[symbol].is_set()
        elif kind == "depth":
            self._begun.add(symbol)
        return False

    async def _wait_for_request(self, symbol: str) -> float:
        """Waits, with patience, for a client to ask for the recorded snapshot; returns the seconds waited."""
        began = time.monotonic()
        with suppress(TimeoutError):  # this client does not want a snapshot
            await asyncio.wait_for(self._asked[symbol].wait(), self.knobs.wait_for_snapshot_s)
        return time.monotonic() - began

    async def _send(self, batch: list[Line], audience: Audience, listening: asyncio.Event) -> float:
        """Sends lines to everybody who wants them and waits until they are read; returns the seconds paused."""
        began = time.monotonic()
        await listening.wait()
        paused = time.monotonic() - began
        if self.board.quiet:
            self._send_recorded(batch, audience)
        else:
            for line in batch:
                self._send_faulted(line, audience)
        for line in batch:
            self._fold(line)
        for connection in list(audience.connections):
            connection.flush()
        await asyncio.sleep(0)
        # aiohttp's own signal that the transport may be written to again is private; the loop ends with the connection
        while any(one.is_open and one.unread_bytes > UNREAD_BYTES for one in audience.connections):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
        return paused

    def _send_recorded(self, batch: list[Line], audience: Audience) -> None:
        for connection in [one for one in audience.connections if one.is_open]:
            sent = Counter(line.channel.kind for line in batch if self._post(line, connection))
            for kind, number in sent.items():
                audience.count(kind, number)

    def _post(self, line: Line, connection: Connection) -> bool:
        streams, stream = connection.subscriptions.streams, line.channel.stream
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

    def _fold(self, line: Line) -> None:
        if line.channel.kind == "snapshot":
            self._books[self.contents.snapshot_symbols[line.number]].add(line.data, is_snapshot=True)
        elif line.channel.stream in self._names:
            self._books[line.channel.symbol].add(line.data, is_snapshot=False)

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
        frame.first_id, frame.last_id = event["U"], event["u"]
    return frame


def _set(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
