"""Recordings: `<receive time, ns since epoch> <JSON>` a line, gzip or plain; read line by line, never held whole.

They are read more than once, so they have to be files. A byte order mark of UTF-8 is passed over.

The JSON is a combined-stream frame `{"stream":...,"data":{...}}` or the body of a REST depth snapshot. A bare body
names no symbol: it is of the one whose update ids it fits. Wrapped it does: `{"stream":"<symbol>@snapshot","data":..}`.
A diff whose event time is more than a day away from its receive time is left out: one of the two is wrong.
"""

import codecs
import gzip
import io
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 64 * 1024 * 1024
PIECE = 256 * 1024
OPENING, MIDDLE = b'{"stream":"', b'","data":'
DIFF = re.compile(r"depth(@\d+ms)?")
EVENT_TIME = re.compile(rb'"E":\s*([0-9]+)')
FIRST_ID, LAST_ID, LAST_ID_BEFORE = (re.compile(rb'"%b":\s*([0-9]+)' % name) for name in (b"U", b"u", b"pu"))
NEARBY = 40
"""Bytes behind `u` in which a diff of futures has its `pu`."""
LARGEST_MILLISECONDS = 10**14
"""A greater event time is one in microseconds."""
DAY_US = 86_400_000_000
UNITS = {1_000: "microseconds", 1_000_000: "milliseconds", 1_000_000_000: "seconds"}
"""What a receive time is written in, by the nanoseconds that a unit of it lasts."""


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


@dataclass(slots=True)
class Contents:
    """What recordings hold: symbols and streams in order of appearance, snapshots, and the venue that they are of.

    `snapshots` are the symbols of all snapshots, by the number of their file and line; `first_snapshots` the bodies of
    those that stand first. `misdated` counts the diffs that are left out.
    """

    venue: str = "binance"
    symbols: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    first_snapshots: dict[str, bytes] = field(default_factory=dict)
    snapshots: dict[tuple[int, int], str] = field(default_factory=dict)
    lines: int = 0
    misdated: int = 0


@lru_cache(maxsize=4096)
def channel_of(stream: str) -> Channel:
    """Takes a stream's name apart; `kind` is `depth`, `snapshot`, `bookTicker`, `trade`, ..."""
    name, _, suffix = stream.partition("@")
    return Channel(stream, "" if name.startswith("!") else name.upper(), "depth" if DIFF.fullmatch(suffix) else suffix)


BARE_SNAPSHOT = Channel("", "", "snapshot")


def files_of(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The recordings that are meant: files as they stand, of a folder its files in the order of their first lines.

    Raises:
        RecordingError: a folder is empty.
    """
    return tuple(file for path in paths for file in (_files_in(path) if path.is_dir() else [path]))


def _files_in(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise RecordingError(folder, 0, "the folder holds no file")
    return sorted(files, key=_first_time)


def _first_time(path: Path) -> int:
    _, text = next(_texts(path), (0, b""))
    time = text.partition(b" ")[0]
    return int(time) if time.isdigit() else 0


def read(path: Path) -> Iterator[Line]:
    """The lines of a recording, less those that are left out.

    Raises:
        RecordingError: the file cannot be opened or read to its end, or a line is malformed.
    """
    for number, text in _texts(path):
        line = _line(path, number, text)
        if line.channel.kind != "depth" or not _is_misdated(line.time_ns, line.wrapped):
            yield line


def _is_misdated(time_ns: int, text: bytes) -> bool:
    """Whether the event time of a diff is more than a day away from its receive time."""
    time = _event_time(text)
    return time is not None and abs(time - time_ns // 1000) > DAY_US


def _event_time(text: bytes) -> int | None:
    """The event time of a frame in microseconds; None where it has none."""
    if not (found := EVENT_TIME.search(text)):
        return None
    time = int(found[1])
    return time if time >= LARGEST_MILLISECONDS else time * 1000


def _why_misdated(text: bytes) -> str:
    """What is wrong with a recording whose diffs are all like this one."""
    time = int(text[: text.find(b" ")])
    for factor, unit in UNITS.items():
        if not _is_misdated(time * factor, text):
            return f"its lines begin with a receive time in {unit}; it has to be in nanoseconds"
    return "no diff was received within a day of its event time; does each line begin with nanoseconds?"


def _texts(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; read in large pieces, much faster than line by line."""
    number, rest = 0, b""
    try:
        for piece in _pieces(path):
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


def contents(files: Sequence[Path]) -> Contents:
    """Reads recordings once, without decoding their events, and says what is in them.

    Raises:
        RecordingError: as `read`; also when one is empty, of a venue that cannot be played, or of another than others.
    """
    found = Contents()
    venues: dict[str, Path] = {}
    for number, path in enumerate(files):
        scan = _Scan(path)
        symbols = scan.symbols()
        if venue := scan.venue():
            venues.setdefault(venue, path)
        found.symbols = tuple(dict.fromkeys((*found.symbols, *symbols)))
        found.streams = tuple(dict.fromkeys((*found.streams, *scan.streams)))
        for line, symbol in scan.owners(symbols):
            found.snapshots[number, line.number] = symbol
            found.first_snapshots.setdefault(symbol, line.data)
        found.lines += scan.lines
        found.misdated += scan.misdated
    if len(venues) > 1:
        listed = ", ".join(f"{path} is of {venue}" for venue, path in venues.items())
        raise RecordingError(files[0], 0, f"recordings of different venues cannot be played together: {listed}")
    found.venue = next(iter(venues), found.venue)
    return found


class _Scan:
    """One recording, read once. `diffs` are the first and the last diff of each stream of diffs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: dict[str, Channel] = {}
        self.lines = 0
        self.misdated = 0
        self._misdated = b""
        self._snapshots: list[Line] = []
        self._diffs: dict[Channel, list[bytes]] = {}
        ordinary: dict[bytes, Channel] = {}
        for number, text in _texts(path):
            self.lines = number
            opening = _opening(text)
            channel = ordinary.get(opening)
            if channel is None or not text.endswith(b"}}"):
                channel = self._note(_line(path, number, text))
                if opening and channel.kind != "snapshot":
                    ordinary[opening] = channel
            if channel.kind == "depth":
                self._note_diff(channel, text)
        if self._misdated and not self._diffs:
            raise RecordingError(path, 0, _why_misdated(self._misdated))

    def _note(self, line: Line) -> Channel:
        if line.channel is not BARE_SNAPSHOT:
            self.streams[line.channel.stream] = line.channel
        if line.channel.kind == "snapshot":
            self._snapshots.append(line)
        return line.channel

    def _note_diff(self, channel: Channel, text: bytes) -> None:
        if _is_misdated(int(text[: text.find(b" ")]), text):
            self.misdated += 1
            self._misdated = text
        elif channel in self._diffs:
            self._diffs[channel][-1] = text
        else:
            self._diffs[channel] = [text, text]

    def symbols(self) -> tuple[str, ...]:
        """The symbols in order of appearance; RecordingError where there are none."""
        symbols = tuple(dict.fromkeys(channel.symbol for channel in self.streams.values() if channel.symbol))
        if not symbols:
            raise RecordingError(self.path, 0, "holds no market events; is this a recording?")
        return symbols

    def venue(self) -> str | None:
        """The venue that the diffs are of; None where there are none."""
        venues = {_venue(self.path, text) for texts in self._diffs.values() for text in texts}
        if len(venues) > 1:
            raise RecordingError(self.path, 0, f"diffs of different venues are mixed: {', '.join(sorted(venues))}")
        return venues.pop() if venues else None

    def owners(self, symbols: tuple[str, ...]) -> Iterator[tuple[Line, str]]:
        """Each snapshot with its symbol."""
        spans = {channel.symbol: _span(first, last) for channel, (first, last) in self._diffs.items()}
        for line in self._snapshots:
            yield line, line.channel.symbol or _owner(line, symbols, spans)


def _venue(path: Path, diff: bytes) -> str:
    if b'"ps":' in diff:
        raise RecordingError(path, 0, "a recording of COIN-M futures, which count contracts: it cannot be played")
    return "binance-usdm" if b'"pu":' in diff else "binance"


def ids_of(diff: bytes) -> tuple[int, int] | None:
    """The update ids that a diff adds: from `U`, of futures the one behind `pu`, to `u`; None for what has none."""
    if not (last := LAST_ID.search(diff)):
        return None
    if before := LAST_ID_BEFORE.search(diff, last.end(), last.end() + NEARBY):
        return int(before[1]) + 1, int(last[1])
    first = FIRST_ID.search(diff)
    return (int(first[1]), int(last[1])) if first else None


def _span(first: bytes, last: bytes) -> tuple[int, int]:
    """The update ids from the first diff of a recording to the last, of one symbol."""
    (low, _), (_, high) = ids_of(first) or (0, 0), ids_of(last) or (0, 0)
    return low, high


def _owner(line: Line, symbols: tuple[str, ...], spans: dict[str, tuple[int, int]]) -> str:
    """The symbol of a bare snapshot: the one whose diffs' ids it is among, or nearest to."""
    update_id = int(orjson.loads(line.data)["lastUpdateId"])

    def distance(symbol: str) -> int:
        low, high = spans[symbol]
        return max(low - update_id, update_id - high, 0)

    return min(spans, key=distance) if spans else symbols[0]


def _pieces(path: Path) -> Iterator[bytes]:
    """What a file holds, unpacked, in pieces."""
    with _opened(path) as file:
        first = file.read1(PIECE)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise RecordingError(path, 1, "is written in UTF-16; write it in UTF-8")
        yield first.removeprefix(codecs.BOM_UTF8)
        while piece := file.read1(PIECE):
            yield piece


def _opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    if stat.S_ISFIFO(path.stat().st_mode):
        raise RecordingError(path, 0, "is a pipe; a recording is read more than once, so write it to a file first")
    with path.open("rb") as file:
        magic = file.read(2)
    return gzip.open(path, "rb") if magic == GZIP_MAGIC else path.open("rb")


def _opening(text: bytes) -> bytes:
    """What a frame's line begins with, from behind its time up to `"data":`; nothing for what is written otherwise."""
    space, end = text.find(b" "), text.find(MIDDLE)
    return text[space + 1 : end] if end > 0 and text[:space].isdigit() else b""


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
