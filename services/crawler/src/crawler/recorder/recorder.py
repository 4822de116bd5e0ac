"""Makes lines of all that comes in."""

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import orjson

from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.link import Link
from crawler.recorder.files import RecordingFiles
from crawler.stream_events import Disconnected, StreamEvent, Suspected, Unreadable
from crawler.venues.port import SymbolStatus


class Recorder:
    """A crawler's `Tap`, which writes into files.

    `wraps_snapshots`: they name their symbol. `refresh`, to be set, asks for snapshots when a file begins.
    """

    def __init__(self, files: RecordingFiles, *, wraps_snapshots: bool) -> None:
        self._files = files
        self._wraps_snapshots = wraps_snapshots
        self.refresh: Callable[[], None] = lambda: None
        self._event: StreamEvent | None = None
        self._numbers: WeakKeyDictionary[Link, int] = WeakKeyDictionary()
        self._connections = 0
        self._listed: Mapping[str, SymbolStatus] = {}
        self._list = b""

    def event(self, event: StreamEvent) -> None:
        """See `Tap.event`."""
        if isinstance(event, Disconnected | Suspected):
            self._files.index.losses += 1
            kind = "disconnect" if isinstance(event, Disconnected) else "silence"
            self._note("loss", symbols=event.symbols, kind=kind, reason=event.reason)
        else:
            self._event = event

    def frame(self, link: Link, frame: bytes) -> None:
        """See `Tap.frame`."""
        event, self._event = self._event, None
        index, number = self._files.index, self._number(link)
        frame = frame.replace(b"\n", b" ").strip()
        match event:
            case Unreadable():
                index.unreadable += 1
                symbols = [event.symbol] if event.symbol else []
                self._note("unreadable", symbols=symbols, frame=frame.decode(errors="replace"), connection=number)
                return
            case Diff():
                index.note_diff(event)
            case Ticker():
                index.of(event.symbol).tickers += 1
            case Snapshot():
                index.of(event.symbol).snapshots += 1
            case _:
                self._files.write(
                    b'{"stream":"!other","data":{"e":"other","frame":%b},"connection":%d}' % (frame, number)
                )
                return
        self._files.write(b'%b,"connection":%d}' % (frame[:-1], number) if frame.endswith(b"}") else frame)

    def opened(self, link: Link) -> None:
        """See `Tap.opened`."""
        self._note("connection", connection=self._number(link), is_open=True, symbols=link.symbols)

    def ended(self, link: Link) -> None:
        """See `Tap.ended`."""
        self._note("connection", connection=self._number(link), is_open=False, reason=link.end_reason)

    def snapshot(self, symbol: str, body: bytes) -> None:
        """See `Tap.snapshot`."""
        self._files.index.of(symbol).snapshots += 1
        body = body.replace(b"\n", b" ")
        if self._wraps_snapshots:
            body = b'{"stream":"%b@snapshot","data":%b}' % (symbol.lower().encode(), body)
        self._files.write(body)

    def listing(self, symbols: Mapping[str, SymbolStatus], body: bytes) -> None:
        """See `Tap.listing`; a list that tells nothing new is not written."""
        self._list = body.replace(b"\n", b" ")
        if symbols != self._listed:
            self._listed = symbols
            self._write_list()

    def begin_file(self) -> None:
        """Write what a file needs to stand alone."""
        if self._list:
            self._write_list()
        self.refresh()

    def _write_list(self) -> None:
        self._files.write(b'{"stream":"!exchangeInfo","data":{"e":"exchangeInfo","body":%b}}' % self._list)

    def _note(self, name: str, **fields: object) -> None:
        self._files.write(orjson.dumps({"stream": f"!{name}", "data": {"e": name, **fields}}))

    def _number(self, link: Link) -> int:
        """Return a connection's number, counted from 1 as they come."""
        if link not in self._numbers:
            self._connections += 1
            self._numbers[link] = self._connections
        return self._numbers[link]
