"""Recordings: `<receive time, ns since epoch> <JSON>` a line, gzip or plain.

The JSON is a combined-stream frame `{"stream":...,"data":{...}}` or the body of a REST depth snapshot. A bare body
names no symbol: it is of the one whose update ids it fits. Wrapped it does: `{"stream":"<symbol>@snapshot","data":..}`.
A frame may have a last field `"connection"`, which is left out. Streams whose names begin with `!` may be notes of the
recorder: `!loss` and `!unreadable` say that something of their symbols may be missing from here on, the rest is
passed over.

What cannot be read is a hole. So is a diff whose event time is more than a day away from its receive time: one of the
two is wrong.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson

from simulator.lines import Broken, lines_of
from simulator.period import ALWAYS, Period, told

OPENING, MIDDLE = b'{"stream":"', b'","data":'
CONNECTION = b',"connection":'
OTHER = b'{"stream":"!other","data":'
"""Begins what the recorder has from another connection already; it may be anything and is not looked into."""
HOLE_NOTES = frozenset({"!loss", "!unreadable"})
NOTES = frozenset({"!other", "!connection", "!exchangeInfo"}) | HOLE_NOTES
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
ERA = range(10**18, 41 * 10**17)
"""Receive times of 2001 to 2099."""
OUT_OF_ORDER_NS = 60 * 10**9
"""How far behind the end of a period a line may stand that belongs into it."""


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


class Damage(NamedTuple):
    """What cannot be read: these lines, between two that can, whose times are told (0: there is none)."""

    path: Path
    first: int
    last: int
    after_ns: int
    before_ns: int
    problem: str

    def __str__(self) -> str:
        lines = f"line {self.first}" if self.first == self.last else f"lines {self.first} to {self.last}"
        after = f"after {told(self.after_ns)}" if self.after_ns else "from the begin"
        before = f"before {told(self.before_ns)}" if self.before_ns else "to the end"
        return f"{self.path}, {lines} ({after}, {before}): {self.problem}"


class Unreadable(Exception):
    """A line is none of a recording; the text says why."""


@lru_cache(maxsize=4096)
def channel_of(stream: str) -> Channel:
    """Takes a stream's name apart; `kind` is `depth`, `snapshot`, `bookTicker`, `trade`, ..., or the name of a note."""
    if stream in NOTES:
        return Channel(stream, "", stream)
    name, _, suffix = stream.partition("@")
    return Channel(stream, "" if name.startswith("!") else name.upper(), "depth" if DIFF.fullmatch(suffix) else suffix)


BARE_SNAPSHOT = Channel("", "", "snapshot")


def read(path: Path, period: Period = ALWAYS) -> Iterator[Line | Damage]:
    """What a recording holds, and where something of it cannot be read.

    Raises:
        RecordingError: the file cannot be opened.
    """
    damage: Damage | None = None
    last_ns = 0
    for item in lines_of(path):
        line: Line | None = None
        if isinstance(item, Broken):
            number, problem = item
        else:
            number, text = item
            try:
                line = parsed(number, text)
            except Unreadable as error:
                problem = str(error)
        if line is None:
            damage = damage._replace(last=number) if damage else Damage(path, number, number, last_ns, 0, problem)
            continue
        last_ns = line.time_ns
        if last_ns in period:
            if damage:
                yield damage._replace(before_ns=last_ns)
            yield line
        elif last_ns >= period.to_ns + OUT_OF_ORDER_NS:
            return
        damage = None
    if damage and (not last_ns or last_ns in period):
        yield damage


def parsed(number: int, text: bytes) -> Line:
    """One line taken apart.

    Raises:
        Unreadable: it is malformed, or its time is wrong.
    """
    space = text.find(b" ") % (len(text) + 1)  # without a blank all of it is the time
    if not text[:space].isdigit():
        raise Unreadable("does not begin with a receive time in nanoseconds")
    time_ns = int(text[:space])
    if not text.endswith(b"}}"):
        text = _without_connection(text)
    end = text.find(MIDDLE)
    channel = _channel_at(text[space + 1 : end]) if end > 0 and text.endswith(b"}}") else None
    if channel:
        line = Line(number, time_ns, channel, text[space + 1 :], end - space - 1 + len(MIDDLE))
    else:
        line = _unusual_line(number, time_ns, text[space + 1 :])
    if time_ns not in ERA:
        _check_unit(time_ns)
    if line.channel.kind == "depth" and _is_misdated(time_ns, line.wrapped):
        raise Unreadable(_why_misdated(time_ns, line.wrapped))
    return line


def ids_of(diff: bytes) -> tuple[int, int] | None:
    """The update ids that a diff adds: from `U`, of futures the one behind `pu`, to `u`; None for what has none."""
    if not (last := LAST_ID.search(diff)):
        return None
    if before := LAST_ID_BEFORE.search(diff, last.end(), last.end() + NEARBY):
        return int(before[1]) + 1, int(last[1])
    first = FIRST_ID.search(diff)
    return (int(first[1]), int(last[1])) if first else None


def _without_connection(text: bytes) -> bytes:
    """The line without the number of the connection that brought it, if it has one."""
    at = text.rfind(CONNECTION, -40)
    return text[:at] + b"}" if at > 0 and text[at + len(CONNECTION) : -1].isdigit() and text.endswith(b"}") else text


@lru_cache(maxsize=4096)
def _channel_at(opening: bytes) -> Channel | None:
    """The channel of a frame that begins like this, up to `"data":`, if it is written as the exchange writes it."""
    name = opening.removeprefix(OPENING)
    return None if name == opening or b'"' in name or b"\\" in name else channel_of(name.decode())


def _unusual_line(number: int, time_ns: int, body: bytes) -> Line:
    """A bare snapshot, or a frame that is not written the way the exchange writes it."""
    if body.startswith(OTHER) and body.endswith(b"}"):
        return Line(number, time_ns, channel_of("!other"), body, len(OTHER))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Unreadable(f"not valid JSON ({problem})") from None
    if isinstance(document, dict) and isinstance(document.get("stream"), str) and "data" in document:
        canonical = orjson.dumps({"stream": document["stream"], "data": document["data"]})
        return Line(number, time_ns, channel_of(document["stream"]), canonical, canonical.index(MIDDLE) + len(MIDDLE))
    if isinstance(document, dict) and {"lastUpdateId", "bids", "asks"} <= set(document):
        return Line(number, time_ns, BARE_SNAPSHOT, body, 0)
    raise Unreadable("neither a combined-stream frame (stream, data) nor a depth snapshot (lastUpdateId, bids, asks)")


def _check_unit(time: int) -> None:
    """Refuse what is a time of our days in microseconds or milliseconds; seconds are too small a number to tell."""
    for factor, unit in list(UNITS.items())[:2]:
        if time * factor in ERA:
            raise Unreadable(f"it begins with a receive time in {unit}; it has to be in nanoseconds")


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


def _why_misdated(time: int, text: bytes) -> str:
    for factor, unit in UNITS.items():
        if not _is_misdated(time * factor, text):
            return f"it begins with a receive time in {unit}; it has to be in nanoseconds"
    return "its event time is more than a day away from its receive time; does each line begin with nanoseconds?"
