"""Who stands at the crawler's ends: what is shown all that comes in, as it came, and what takes all that goes out."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from crawler.book.market_data import Snapshot
from crawler.link import Link
from crawler.stream_events import StreamEvent
from crawler.venues.port import Rest, SymbolStatus
from fairprice.messages import Event


class Tap(Protocol):
    """Is called in the order in which things happen."""

    def event(self, event: StreamEvent) -> None:
        """Take what the frame that is being read says, or what befell the connections."""

    def frame(self, link: Link, frame: bytes) -> None:
        """Take a frame, after its event; without one it was a repeat, or nothing of the market."""

    def opened(self, link: Link) -> None:
        """Take note that a connection has all that it asked for."""

    def ended(self, link: Link) -> None:
        """Take note that a connection has ended, or that it did not come about."""

    def snapshot(self, symbol: str, body: bytes) -> None:
        """Take a snapshot."""

    def listing(self, symbols: Mapping[str, SymbolStatus], body: bytes) -> None:
        """Take a list of symbols."""


@runtime_checkable
class Outgoing(Protocol):
    """Takes the crawler's events: an outbox in front of a broker, or a recorder."""

    def __len__(self) -> int:
        """Return the number of events that are not confirmed yet."""

    @property
    def is_full(self) -> bool:
        """Whether to read no more until there is `room`."""

    async def room(self) -> None:
        """Return when there is room again."""

    def put(self, event: Event) -> None:
        """Take an event."""

    async def run(self) -> None:
        """Work until cancelled."""

    async def drain(self) -> None:
        """Return when everything that was put is where it belongs."""


class TappedRest:
    """A `Rest` whose answers a tap is shown."""

    def __init__(self, rest: Rest, tap: Tap) -> None:
        self._rest = rest
        self._tap = tap

    @property
    def used_weight(self) -> int:
        """See `Rest.used_weight`."""
        return self._rest.used_weight

    async def symbols(self) -> Mapping[str, SymbolStatus]:
        """See `Rest.symbols`."""
        symbols, _ = await self.symbols_body()
        return symbols

    async def symbols_body(self) -> tuple[Mapping[str, SymbolStatus], bytes]:
        """See `Rest.symbols_body`."""
        symbols, body = await self._rest.symbols_body()
        self._tap.listing(symbols, body)
        return symbols, body

    async def turnovers(self) -> Mapping[str, float]:
        """See `Rest.turnovers`."""
        return await self._rest.turnovers()

    async def snapshot(self, symbol: str, levels: int) -> Snapshot:
        """See `Rest.snapshot`."""
        snapshot, _ = await self.snapshot_body(symbol, levels)
        return snapshot

    async def snapshot_body(self, symbol: str, levels: int) -> tuple[Snapshot, bytes]:
        """See `Rest.snapshot_body`."""
        snapshot, body = await self._rest.snapshot_body(symbol, levels)
        self._tap.snapshot(symbol, body)
        return snapshot, body

    async def newest_update_id(self, symbol: str) -> int | None:
        """See `Rest.newest_update_id`."""
        return await self._rest.newest_update_id(symbol)
