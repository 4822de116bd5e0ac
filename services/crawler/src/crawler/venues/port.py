"""What the crawler asks of an exchange, its venue.

`venue_contract.py` in the tests states every promise below as a test; each venue has to pass it unchanged. Nothing
outside of a venue's folder names it or knows a byte of its frames.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import aiohttp

from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.book.order_book import OrderBook
from fairprice.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange allows an address, and a connection.

    `weight` is of REST requests, `attempts` to connect, both a minute and address; `messages` a second from client to
    server, `streams`, both a connection; `names` in one request to subscribe. `connections`: how many may carry the
    same streams, 1 where their events cannot be merged by id.
    """

    weight: int
    attempts: int
    messages: float
    streams: int
    names: int = 200
    connections: int = 4


class Reply(NamedTuple):
    """The answer to a request on the stream; `error` is None for success."""

    id: object
    error: str | None


class Shutdown(NamedTuple):
    """The server is about to go: another connection should be opened at once."""


class DiffHead(NamedTuple):
    """Whose diff a frame holds and where it ends, read without decoding it."""

    symbol: str
    update_id: int


Event = Diff | Snapshot | Ticker | Reply | Shutdown


class Decoder(Protocol):
    """Reads the frames of one crawler, from all of its connections."""

    def peek(self, frame: bytes) -> DiffHead | Ticker | None:
        """Return what can be seen at a glance; None where the frame has to be decoded to know. Never raises."""

    def decode(self, frame: bytes) -> Event | None:
        """Return what a frame says, None for what is of no use here.

        Raises `InvalidMarketData` that names what is wrong with it, and the symbol where that is known.
        """


class SymbolStatus(NamedTuple):
    """Whether a symbol trades, and the exchange's own word for that."""

    is_trading: bool
    word: str


class Rest(Protocol):
    """Requests under the address's weight; each has a time-out.

    Every method raises `ExchangeUnavailable` for what may pass and `StartupError` where the exchange refuses for good.
    """

    @property
    def used_weight(self) -> int:
        """The weight used in the current minute, as the exchange counts it."""

    async def symbols(self) -> Mapping[str, SymbolStatus]:
        """Return every symbol that the exchange lists, and take over the limits that it tells."""

    async def symbols_body(self) -> tuple[Mapping[str, SymbolStatus], bytes]:
        """Return the list and its body as sent, for a recording."""

    async def turnovers(self) -> Mapping[str, float]:
        """Return of each symbol what was traded in the last 24 hours, in the quote currency, to rank them by."""

    async def snapshot(self, symbol: str, levels: int) -> Snapshot:
        """Return a snapshot of at most `levels` a side.

        Raises `InvalidMarketData` for one that cannot be read or for a symbol that is not known, `NoSnapshotLeft` where
        there will never be another (the end of a recording).
        """

    async def snapshot_body(self, symbol: str, levels: int) -> tuple[Snapshot, bytes]:
        """Return a snapshot and its body as sent, for a recording; raises as `snapshot` does."""

    async def newest_update_id(self, symbol: str) -> int | None:
        """Ask, at the lowest weight, for the id at which a book stands; None when the question has to wait.

        It has to wait while such questions have used a twentieth of the weight. Raises as `snapshot` does.
        """


class Venue(Protocol):
    """An exchange. Times in seconds.

    `max_age` is when the exchange cuts a connection, `ping_interval` how often to ping it and how long to wait for the
    pong. `snapshots_in_stream`: they come with the subscription, and `rest` serves the list of symbols only.
    """

    name: str
    rest_url: str
    stream_url: str
    limits: Limits
    max_age: float
    ping_interval: float
    snapshots_in_stream: bool

    def normal_urls(self, rest_url: str, stream_url: str) -> tuple[str, str]:
        """Return both addresses in this venue's form; raises `ValueError` that says what to write instead."""

    def stream_address(self, stream_url: str) -> str:
        """Return the address to connect to."""

    def streams(self, symbol: str) -> Sequence[str]:
        """Return the names of the streams to subscribe to for a symbol."""

    def subscription(self, names: Sequence[str], request_id: int) -> str:
        """Return the text of the request for these streams; its `Reply` carries the id."""

    def decoder(self, symbols: Iterable[str]) -> Decoder:
        """Return a decoder for these symbols."""

    def rest(self, session: aiohttp.ClientSession, url: str, *, clock: Clock, share: float = 1.0) -> Rest:
        """Return the REST client; `share` is the part of the address's weight that it may use.

        A proxy is the session's business.
        """

    def recorded_snapshot(self, body: bytes, symbol: str) -> Snapshot:
        """Read a snapshot of REST from a recording; raises `InvalidMarketData`."""

    def verify(self, book: OrderBook, diff: Diff) -> bool:
        """Return whether the book after the diff is what the diff's `proof` says; True where there is none."""
