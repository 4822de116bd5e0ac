"""Recordings: `<receive time, ns since epoch> <JSON>` a line, gzip or plain; read line by line, never held whole.

The JSON is a combined-stream frame `{"stream":...,"data":{...}}` or the body of a REST depth snapshot. A bare body
names no symbol: it is of the one whose update ids it fits. Wrapped it does: `{"stream":"<symbol>@snapshot","data":..}`.
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
    """What a recording holds: symbols and streams in order of appearance, each symbol's first snapshot, whose they are.

    `snapshot_symbols` tells the symbol of each snapshot by the number of its line.
    """

    symbols: tuple[str, ...]
    streams: tuple[str, ...]
    first_snapshots: dict[str, bytes]
    snapshot_symbols: dict[int, str]
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
        RecordingError: as `read`; also when the recording is empty.
    """
    streams: dict[str, Channel] = {}
    snapshots: list[Line] = []
    diffs: dict[str, list[bytes]] = {}
    number = 0
    ordinary: dict[bytes, list[bytes]] = {}
    for number, text in _texts(path):
        opening = _opening(text)
        if opening in ordinary and text.endswith(b"}}"):
            ordinary[opening][-1] = text
            continue
        line = _line(path, number, text)
        if line.channel is not BARE_SNAPSHOT:
            streams[line.channel.stream] = line.channel
        if line.channel.kind == "snapshot":
            snapshots.append(line)
        elif opening:
            ordinary[opening] = [text, text]
            if line.channel.kind == "depth":
                diffs[line.channel.symbol] = ordinary[opening]
    symbols = tuple(dict.fromkeys(channel.symbol for channel in streams.values() if channel.symbol))
    if not symbols:
        raise RecordingError(path, number, "no market events up to here, the end; is this a recording?")
    spans = {symbol: _span(first, last) for symbol, (first, last) in diffs.items()}
    first_snapshots: dict[str, bytes] = {}
    owners: dict[int, str] = {}
    for line in snapshots:
        owners[line.number] = line.channel.symbol or _owner(line, symbols, spans)
        first_snapshots.setdefault(owners[line.number], line.data)
    return Contents(symbols, tuple(streams), first_snapshots, owners, number)


def _span(first: bytes, last: bytes) -> tuple[int, int]:
    """The update ids from the first diff of a recording to the last, of one symbol."""
    ids = [re.search(name + rb":([0-9]+)", text) for name, text in ((rb'"U"', first), (rb'"u"', last))]
    low, high = (int(found[1]) if found else 0 for found in ids)
    return low, high


def _owner(line: Line, symbols: tuple[str, ...], spans: dict[str, tuple[int, int]]) -> str:
    """The symbol of a bare snapshot: the one whose diffs' ids it is among, or nearest to."""
    update_id = int(orjson.loads(line.data)["lastUpdateId"])

    def distance(symbol: str) -> int:
        low, high = spans[symbol]
        return max(low - update_id, update_id - high, 0)

    return min(spans, key=distance) if spans else symbols[0]


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
