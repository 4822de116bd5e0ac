"""Replays recordings through the crawler's own feeds, without a network or a broker, and counts what comes out."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from crawler.book.feed import Feed, Output
from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.recorder.reader import Line, Unread, read
from crawler.recorder.tally import Tally
from crawler.venues.port import Decoder, Venue
from crawler.venues.table import VENUES
from fairprice.errors import InvalidMarketData, StartupError
from fairprice.messages import Book, Gap

OPENING = b'{"stream":"'
NOTE = b'{"stream":"!'
LOSS, UNREADABLE = b'{"stream":"!loss"', b'{"stream":"!unreadable"'
LINES_AT_ONCE = 10_000
MOST_TOLD = 20
NO_DIFF = "no diff of a venue that is known; is this a recording?"
BUFFER_DIFFS = 6000
"""Diffs that may wait for a snapshot; by their times they may wait for ever."""


class Lost(NamedTuple):
    """Diffs or tickers of a symbol may be missing from here on."""

    reason: str


Witness = Callable[[str, int, Book | Gap | Ticker | Lost], None]
"""Is told a symbol, the receive time in microseconds and what came out then, in the order of the recording."""


def nobody(_symbol: str, _received_time: int, _event: Book | Gap | Ticker | Lost) -> None:
    """Witness nothing."""


class _Symbol:
    def __init__(self, venue: Venue, symbol: str, levels: int) -> None:
        self.decoder: Decoder = venue.decoder([symbol])
        self.tally = Tally()
        self.feed = Feed(
            venue.name,
            symbol,
            "verify",
            levels=levels,
            verify=venue.verify,
            buffer_diffs=BUFFER_DIFFS,
            buffer_seconds=1e9,
        )


class Verification:
    """What was found in recordings: a tally of each symbol, and what could not be read.

    A `witness` sees the events themselves, books with so many `levels` a side.
    """

    def __init__(self, files: Iterable[Path], *, levels: int = 1, witness: Witness = nobody) -> None:
        self._files = list(files)
        self._levels = levels
        self._witness = witness
        self._received_time = 0
        self.venue = venue_of(self._files)
        self.lines = 0
        self.unread: list[Unread] = []
        self.unreadable = 0
        self._symbols: dict[str, _Symbol] = {}
        self._ownerless: list[Snapshot] = []

    @property
    def tallies(self) -> dict[str, Tally]:
        """What was found of each symbol."""
        return {symbol: self._symbols[symbol].tally for symbol in sorted(self._symbols)}

    def run(self, is_stopped: Callable[[], bool]) -> bool:
        """Read all; returns False when it was stopped before."""
        for path in self._files:
            for item in read(path):
                self.lines += 1
                if self.lines % LINES_AT_ONCE == 0 and is_stopped():
                    return False
                if isinstance(item, Line):
                    self._take(path, item)
                else:
                    self._note_unread(item)
        for symbol in self._symbols.values():
            self._count(symbol, symbol.feed.end())
            tops, levels = symbol.feed.audit, symbol.feed.sync.levels
            symbol.tally.tops, symbol.tally.tops_wrong = tops.matches + tops.mismatches, tops.mismatches
            symbol.tally.levels, symbol.tally.levels_wrong = levels.total(), levels["mismatch"]
        return True

    def problems(self) -> list[str]:
        """Say what is wrong, of each symbol and of the lines."""
        found = [f"{symbol}: {text}" for symbol, tally in self.tallies.items() for text in tally.problems()]
        if self.unreadable:
            found.append(f"{self.unreadable} lines or parts of files cannot be read")
        return found

    def _take(self, path: Path, line: Line) -> None:
        text, self._received_time = line.text, line.received_ns // 1000
        if text.startswith(NOTE):
            if text.startswith((LOSS, UNREADABLE)):
                self._take_loss(text)
            return
        try:
            name = _symbol_of(text)
            if name is None:
                self._take_bare(self.venue.recorded_snapshot(text, ""))
            elif text.startswith(b"snapshot", len(OPENING) + len(name) + 1):
                body = orjson.loads(text)["data"]
                self._take_snapshot(self._symbol(name), self.venue.recorded_snapshot(orjson.dumps(body), name))
            else:
                self._take_frame(self._symbol(name), text)
        except (InvalidMarketData, ValueError, KeyError, TypeError) as error:
            self._note_unread(Unread(path, self.lines, str(error)))

    def _take_frame(self, symbol: _Symbol, text: bytes) -> None:
        event = symbol.decoder.peek(text)
        if not isinstance(event, Ticker):
            decoded = symbol.decoder.decode(text)
            if isinstance(decoded, Diff):
                symbol.tally.diffs += 1
                self._count(symbol, symbol.feed.receive_diff(decoded, self._received_time))
                if self._ownerless:
                    self._give_to_owners()
                return
            if isinstance(decoded, Snapshot):
                self._take_snapshot(symbol, decoded)
                return
            event = decoded if isinstance(decoded, Ticker) else None
        if isinstance(event, Ticker):
            self._witness(symbol.feed.symbol, self._received_time, event)
            self._count(symbol, symbol.feed.receive_ticker(event))

    def _take_snapshot(self, symbol: _Symbol, snapshot: Snapshot) -> None:
        symbol.tally.snapshots += 1
        self._count(symbol, symbol.feed.receive_snapshot(snapshot))

    def _take_bare(self, snapshot: Snapshot) -> None:
        """Take a snapshot that names no symbol: it is of the one whose ids are nearest."""
        self._ownerless.append(snapshot)
        if any(symbol.feed.sync.newest_id for symbol in self._symbols.values()):
            self._give_to_owners()

    def _give_to_owners(self) -> None:
        snapshots, self._ownerless = self._ownerless, []
        known = {name: symbol.feed.sync.newest_id for name, symbol in self._symbols.items()}
        for snapshot in snapshots:
            name = min(known, key=lambda each: abs(known[each] - snapshot.update_id))
            self._take_snapshot(self._symbols[name], snapshot._replace(symbol=name))

    def _take_loss(self, text: bytes) -> None:
        note = orjson.loads(text)["data"]
        reason = note.get("kind", "unreadable_frame")
        for name in note["symbols"]:
            self._lose(self._symbol(name), reason)

    def _note_unread(self, unread: Unread) -> None:
        """Count it; whose it was nobody knows, so something may be missing of all."""
        self.unreadable += 1
        self.unread += [unread] if len(self.unread) < MOST_TOLD else []
        for symbol in self._symbols.values():
            self._lose(symbol, "unreadable_line")

    def _lose(self, symbol: _Symbol, reason: str) -> None:
        self._count(symbol, symbol.feed.expect_loss(reason))
        self._witness(symbol.feed.symbol, self._received_time, Lost(reason))

    def _count(self, symbol: _Symbol, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Book):
                symbol.tally.add_book(output)
            elif isinstance(output, Gap):
                symbol.tally.add_gap(output)
            else:
                continue
            self._witness(symbol.feed.symbol, self._received_time, output)

    def _symbol(self, name: str) -> _Symbol:
        if name not in self._symbols:
            self._symbols[name] = _Symbol(self.venue, name, self._levels)
        return self._symbols[name]


def venue_of(files: Iterable[Path]) -> Venue:
    """Return the venue that reads the first diff; raises `StartupError` where there is none that any venue reads."""
    for path in files:
        for line in read(path):
            if isinstance(line, Line) and (name := _symbol_of(line.text)):
                for venue in VENUES.values():
                    if _is_diff(venue, name, line.text):
                        return venue
    raise StartupError(NO_DIFF)


def by_venue(files: Iterable[Path]) -> list[list[Path]]:
    """Return the files of each venue together, in their order; one without a diff is taken with the one before it.

    Raises `StartupError` where no file has a diff.
    """
    groups: dict[str, list[Path]] = {}
    leading: list[Path] = []
    group = leading
    for file in files:
        with suppress(StartupError):  # it tells nothing of a venue; if none does, that is said below
            group = groups.setdefault(venue_of([file]).name, [])
        group.append(file)
    if not groups:
        raise StartupError(NO_DIFF)
    first = next(iter(groups.values()))
    first[:0] = leading
    return list(groups.values())


def _is_diff(venue: Venue, symbol: str, text: bytes) -> bool:
    try:
        return isinstance(venue.decoder([symbol]).decode(text), Diff)
    except InvalidMarketData:
        return False


def _symbol_of(text: bytes) -> str | None:
    """Return the symbol that the stream's name begins with; None for a body without a stream."""
    if not text.startswith(OPENING):
        stream = orjson.loads(text).get("stream")
        return str(stream).partition("@")[0].upper() if stream else None
    return text[len(OPENING) : text.find(b"@", len(OPENING))].decode().upper()
