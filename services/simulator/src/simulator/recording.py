"""Recordings: `<receive time, ns since epoch> <JSON>` a line, gzip or plain; read line by line, never held whole.

The JSON is a combined-stream frame `{"stream":...,"data":{...}}` or the body of a REST depth snapshot. A bare body
belongs to the recording's only symbol; among several symbols it is wrapped: `{"stream":"<symbol>@snapshot","data":..}`.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 64 * 1024 * 1024
PIECE = 256 * 1024
OPENING, MIDDLE = b'{"stream":"', b'","data":'
DIFF = re.compile(r"depth(@\d+ms)?")


class RecordingError(Exception):
    """A recording cannot be read; the message names file, line and what is wrong."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}: {problem}" if line else f"{path}: {problem}")
        self.path = path
        self.line = line


class Channel(NamedTuple):
    """A stream's name taken apart: symbol in upper case ("" for none) and what it carries."""

    stream: str
    symbol: str
    kind: str


class Line(NamedTuple):
    """One line: `wrapped` is the JSON as recorded; the event inside it begins at `start`, 0 where it is not wrapped."""

    number: int
    time_ns: int
    channel: Channel
    wrapped: bytes
    start: int

    @property
    def data(self) -> bytes:
        """The event or snapshot alone, byte for byte."""
        return self.wrapped[self.start : -1] if self.start else self.wrapped


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recording holds: symbols and streams in order of appearance, and each symbol's first snapshot."""

    symbols: tuple[str, ...]
    streams: tuple[str, ...]
    first_snapshots: dict[str, bytes]
    lines: int


@lru_cache(maxsize=4096)
def channel_of(stream: str) -> Channel:
    """Takes a stream's name apart; `kind` is `depth`, `snapshot`, `bookTicker`, `trade`, ..."""
    name, _, suffix = stream.partition("@")
    return Channel(stream, "" if name.startswith("!") else name.upper(), "depth" if DIFF.fullmatch(suffix) else suffix)


BARE_SNAPSHOT = Channel("", "", "snapshot")


def read(path: Path) -> Iterator[Line]:
    """The lines of a recording.

    Raises:
        RecordingError: the file cannot be opened or read to its end, or a line is malformed.
    """
    for number, text in _texts(path):
        yield _line(path, number, text)


def _texts(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; read in large pieces, much faster than line by line."""
    number, rest = 0, b""
    try:
        with _opened(path) as file:
            while piece := file.read1(PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    number += 1
                    if text := line.strip():
                        yield number, text
                if len(rest) > LONGEST_LINE:
                    raise RecordingError(path, number + 1, f"longer than {LONGEST_LINE} bytes; is this a recording?")
        if text := rest.strip():
            yield number + 1, text
    except EOFError:
        raise RecordingError(path, number + 1, "the compressed file is cut off here; was it copied whole?") from None
    except (zlib.error, gzip.BadGzipFile) as problem:
        raise RecordingError(path, number + 1, f"the compressed data is damaged ({problem})") from None
    except OSError as problem:
        raise RecordingError(path, number, f"cannot be read: {problem.strerror or problem}") from None


def contents(path: Path) -> Contents:
    """Reads a recording once, without decoding its events, and says what is in it.

    Raises:
        RecordingError: as `read`; also when the recording is empty, or a bare snapshot could be of several symbols.
    """
    symbols: dict[str, None] = {}
    streams: dict[str, None] = {}
    snapshots: dict[str, bytes] = {}
    bare: Line | None = None
    number = 0
    ordinary: set[bytes] = set()
    for number, text in _texts(path):
        opening = _opening(text)
        if opening in ordinary and text.endswith(b"}}"):
            continue
        line = _line(path, number, text)
        channel = line.channel
        if channel is BARE_SNAPSHOT:
            bare = bare or line
            continue
        streams[channel.stream] = None
        if channel.symbol:
            symbols[channel.symbol] = None
        if channel.kind == "snapshot":
            snapshots.setdefault(channel.symbol, line.data)
        elif opening:
            ordinary.add(opening)
    if not symbols:
        raise RecordingError(path, number, "no market events up to here, the end; is this a recording?")
    if bare:
        if len(symbols) > 1:
            problem = f"a snapshot without a symbol, but the recording is of {', '.join(symbols)}"
            raise RecordingError(path, bare.number, problem)
        snapshots.setdefault(next(iter(symbols)), bare.data)
    return Contents(tuple(symbols), tuple(streams), snapshots, number)


def symbols_of(path: Path) -> tuple[str, ...]:
    """The symbols of a recording, in order of appearance; raises as `contents`."""
    return contents(path).symbols


def _opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    with path.open("rb") as file:
        magic = file.read(2)
    return gzip.open(path, "rb") if magic == GZIP_MAGIC else path.open("rb")


def _opening(text: bytes) -> bytes:
    """What a frame's line begins with, from behind its time up to `"data":`; nothing if the time is no number."""
    space = text.find(b" ")
    return text[space + 1 : text.find(MIDDLE)] if text[:space].isdigit() else b""


@lru_cache(maxsize=4096)
def _channel_at(opening: bytes) -> Channel | None:
    """The channel of a frame that begins like this, up to `"data":`, if it is written as the exchange writes it."""
    name = opening.removeprefix(OPENING)
    return None if name == opening or b'"' in name or b"\\" in name else channel_of(name.decode())


def _line(path: Path, number: int, text: bytes) -> Line:
    time, _, body = text.partition(b" ")
    if not time.isdigit():
        raise RecordingError(path, number, "does not begin with a receive time in nanoseconds")
    end = body.find(MIDDLE)
    if end > 0 and body.endswith(b"}}") and (channel := _channel_at(body[:end])):
        return Line(number, int(time), channel, body, end + len(MIDDLE))
    return _unusual_line(path, number, int(time), body)


def _unusual_line(path: Path, number: int, time_ns: int, body: bytes) -> Line:
    """A bare snapshot, or a frame that is not written the way the exchange writes it."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise RecordingError(path, number, f"not valid JSON ({problem})") from None
    if isinstance(document, dict) and isinstance(document.get("stream"), str) and "data" in document:
        canonical = orjson.dumps({"stream": document["stream"], "data": document["data"]})
        return Line(number, time_ns, channel_of(document["stream"]), canonical, canonical.index(MIDDLE) + len(MIDDLE))
    if isinstance(document, dict) and {"lastUpdateId", "bids", "asks"} <= set(document):
        return Line(number, time_ns, BARE_SNAPSHOT, body, 0)
    expected = "neither a combined-stream frame (stream, data) nor a depth snapshot (lastUpdateId, bids, asks)"
    raise RecordingError(path, number, expected)
