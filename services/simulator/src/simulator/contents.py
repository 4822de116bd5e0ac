"""What recordings hold, found out before they are played: files, venue, symbols, snapshots, damages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from simulator.lines import Broken, RecordingError, lines_of
from simulator.period import ALWAYS, Moment, Period, told
from simulator.recording import BARE_SNAPSHOT, NOTES, Channel, Damage, Line, ids_of, read

INDEX = ".index.json"
MOST_KEPT = 100
"""Damages that are kept to be told; more are counted."""


@dataclass(slots=True)
class Contents:
    """What recordings hold: symbols and streams in order of appearance, and the venue that they are of.

    `snapshots` is how many there are of a symbol, `first_snapshots` the bodies of those that stand first; `bare` are
    the symbols of those that name none, by the number of their file and line. `lines` are those that can be read.
    """

    venue: str = "binance"
    symbols: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    first_snapshots: dict[str, bytes] = field(default_factory=dict)
    snapshots: Counter[str] = field(default_factory=Counter)
    bare: dict[tuple[int, int], str] = field(default_factory=dict)
    lines: int = 0
    damages: list[Damage] = field(default_factory=list)
    damaged: int = 0

    def owner(self, file: int, line: Line) -> str:
        """The symbol of a snapshot."""
        return line.channel.symbol or self.bare[file, line.number]


def files_of(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The recordings that are meant: files as they stand, of a folder its files in the order of their first lines.

    Raises:
        RecordingError: a folder is empty.
    """
    return tuple(file for path in paths for file in (_files_in(path) if path.is_dir() else [path]))


def period_of(files: Sequence[Path], start: Moment | None, end: Moment | None) -> Period:
    """The times between two moments, of recordings that begin with the first file's first line."""
    begin_ns = _first_time(files[0]) if files else 0
    return Period(start.after(begin_ns) if start else 0, end.after(begin_ns) if end else ALWAYS.to_ns)


def within(files: Sequence[Path], period: Period) -> tuple[Path, ...]:
    """The files less those whose index says that they hold nothing of a period."""
    return tuple(path for path in files if _may_hold(path, period))


def contents(files: Sequence[Path], period: Period = ALWAYS, *, strict: bool = False) -> Contents:
    """Reads recordings once, without decoding their events, and says what is in them.

    Raises:
        RecordingError: as `read`; also when none holds market events, when one is of a venue that cannot be played or
            of another than others, and, if strict, when something cannot be read.
    """
    found = Contents()
    venues: dict[str, Path] = {}
    for number, path in enumerate(files):
        scan = _Scan(path, period)
        _note_damages(found, scan, strict=strict)
        symbols = scan.symbols()
        if venue := scan.venue():
            venues.setdefault(venue, path)
        found.symbols = tuple(dict.fromkeys((*found.symbols, *symbols)))
        found.streams = tuple(dict.fromkeys((*found.streams, *scan.streams)))
        found.snapshots += scan.snapshots
        for symbol, body in scan.first_snapshots.items():
            found.first_snapshots.setdefault(symbol, body)
        for bare in scan.bare if symbols else ():
            symbol = found.bare[number, bare.line] = scan.owner(bare, symbols)
            found.snapshots[symbol] += 1
            if bare.body:
                found.first_snapshots.setdefault(symbol, bare.body)
        found.lines += scan.lines
    if not found.symbols:
        raise _nothing(files, period, found.damages)
    if len(venues) > 1:
        listed = ", ".join(f"{path} is of {venue}" for venue, path in venues.items())
        raise RecordingError(files[0], 0, f"recordings of different venues cannot be played together: {listed}")
    found.venue = next(iter(venues), found.venue)
    return found


class _Bare(NamedTuple):
    """A snapshot that names no symbol; its body is kept of the first ones only."""

    line: int
    update_id: int
    body: bytes


class _Scan:
    """One recording, read once. `diffs` are the first and the last diff of each stream of diffs."""

    def __init__(self, path: Path, period: Period) -> None:
        self.path = path
        self.streams: dict[str, Channel] = {}
        self.lines = 0
        self.damages: list[Damage] = []
        self.damaged = 0
        self.snapshots: Counter[str] = Counter()
        self.first_snapshots: dict[str, bytes] = {}
        self.bare: list[_Bare] = []
        self._diffs: dict[Channel, list[bytes]] = {}
        for item in read(path, period):
            if isinstance(item, Damage):
                self.damaged += 1
                self.damages += [item] if len(self.damages) < MOST_KEPT else []
            else:
                self.lines += 1
                self._note(item)

    def _note(self, line: Line) -> None:
        channel = line.channel
        if channel.kind == "depth":
            self._diffs.setdefault(channel, [line.data])[1:] = [line.data]
        elif channel is BARE_SNAPSHOT:
            update_id = int(orjson.loads(line.data)["lastUpdateId"])
            self.bare.append(_Bare(line.number, update_id, line.data if len(self.bare) < MOST_KEPT else b""))
            return
        elif channel.kind == "snapshot":
            self.snapshots[channel.symbol] += 1
            self.first_snapshots.setdefault(channel.symbol, line.data)
        elif channel.kind in NOTES:
            return
        self.streams.setdefault(channel.stream, channel)

    def symbols(self) -> tuple[str, ...]:
        """The symbols in order of appearance."""
        return tuple(dict.fromkeys(channel.symbol for channel in self.streams.values() if channel.symbol))

    def venue(self) -> str | None:
        """The venue that the diffs are of; None where there are none."""
        venues = {_venue(self.path, text) for texts in self._diffs.values() for text in texts}
        if len(venues) > 1:
            raise RecordingError(self.path, 0, f"diffs of different venues are mixed: {', '.join(sorted(venues))}")
        return venues.pop() if venues else None

    def owner(self, bare: _Bare, symbols: tuple[str, ...]) -> str:
        """The symbol of a bare snapshot: the one whose diffs' ids it is among, or nearest to."""
        spans = {channel.symbol: _span(texts[0], texts[-1]) for channel, texts in self._diffs.items()}

        def distance(symbol: str) -> int:
            low, high = spans[symbol]
            return max(low - bare.update_id, bare.update_id - high, 0)

        return min(spans, key=distance) if spans else symbols[0]


def _note_damages(found: Contents, scan: _Scan, *, strict: bool) -> None:
    damages = scan.damages
    if not damages and not scan.symbols():
        damages = [Damage(scan.path, 1, max(1, scan.lines), 0, 0, "holds no market events; is this a recording?")]
    if damages and strict:
        raise RecordingError(scan.path, damages[0].first, damages[0].problem)
    found.damages += damages[: MOST_KEPT - len(found.damages)]
    found.damaged += max(scan.damaged, len(damages))


def _nothing(files: Sequence[Path], period: Period, damages: Sequence[Damage]) -> RecordingError:
    """Why there is nothing to play."""
    if period != ALWAYS:
        start = told(period.from_ns) if period.from_ns else "the begin"
        end = told(period.to_ns) if period.to_ns != ALWAYS.to_ns else "the end"
        return RecordingError(files[0] if files else Path("--capture"), 0, f"nothing is recorded from {start} to {end}")
    return RecordingError(damages[0].path, damages[0].first, damages[0].problem)


def _files_in(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    files = sorted(path for path in files if not path.name.endswith(INDEX))
    if not files:
        raise RecordingError(folder, 0, "the folder holds no file")
    return sorted(files, key=_first_time)


def _first_time(path: Path) -> int:
    for item in lines_of(path):
        if not isinstance(item, Broken):
            time = item[1].partition(b" ")[0]
            return int(time) if time.isdigit() else 0
    return 0


def _may_hold(path: Path, period: Period) -> bool:
    """Whether a file may hold something of a period; its index is believed if the file was ended and is as it was."""
    index = path.with_name(path.name.partition(".")[0] + INDEX)
    with suppress(OSError, orjson.JSONDecodeError, KeyError, TypeError):
        known = orjson.loads(index.read_bytes())
        if known["is_complete"] and known["size"] == path.stat().st_size:
            return bool(known["last_received_ns"] >= period.from_ns and known["first_received_ns"] < period.to_ns)
    return True


def _venue(path: Path, diff: bytes) -> str:
    if b'"ps":' in diff:
        raise RecordingError(path, 0, "a recording of COIN-M futures, which count contracts: it cannot be played")
    return "binance-usdm" if b'"pu":' in diff else "binance"


def _span(first: bytes, last: bytes) -> tuple[int, int]:
    """The update ids from the first diff of a recording to the last, of one symbol."""
    (low, _), (_, high) = ids_of(first) or (0, 0), ids_of(last) or (0, 0)
    return low, high
