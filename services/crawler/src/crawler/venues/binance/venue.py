"""Binance spot, and what its other markets share with it: `binance_usdm` builds on this folder."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from crawler.book.market_data import Diff, Snapshot
from crawler.book.order_book import OrderBook
from crawler.venues.binance.decoder import BinanceDecoder, decode_snapshot
from crawler.venues.binance.dialect import COIN_M, Dialect
from crawler.venues.binance.rest_client import BinanceRest
from crawler.venues.binance.weight import RequestWeight
from crawler.venues.port import Limits
from fairprice.runtime.clock import Clock

SPOT = Dialect(
    first_id_field="U",
    first_id_offset=0,
    foreign_fields={
        "ps": COIN_M,
        "pu": "is one of USD-M futures; FAIRPRICE_VENUE=binance-usdm follows those",
    },
    depth_path="/api/v3/depth",
    depth_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    is_fixed_depth=False,
    symbols_path="/api/v3/exchangeInfo",
    symbols_parameters={"showPermissionSets": "false"},
    symbols_weight=20,
    turnovers_path="/api/v3/ticker/24hr",
    turnovers_weight=80,
)


class Binance:
    """Binance spot, by its market-data-only hosts, which need no account.

    Limits: web-socket-streams.md and rest-api.md; 300 attempts to connect in five minutes are 60 a minute. A connection
    is cut after 24 hours.
    """

    name: str = "binance"
    rest_url: str = "https://data-api.binance.vision"
    stream_url: str = "wss://data-stream.binance.vision"
    limits: Limits = Limits(weight=6000, attempts=60, messages=5, streams=1024)
    max_age: float = 23 * 3600.0
    ping_interval: float = 20.0
    snapshots_in_stream: bool = False
    dialect: ClassVar[Dialect] = SPOT
    stream_path: ClassVar[str] = "/stream?timeUnit=MICROSECOND"
    rest_endings: ClassVar[str] = r"/api(/v\d+)?"
    stream_endings: ClassVar[str] = r"/(ws|stream)"

    def normal_urls(self, rest_url: str, stream_url: str) -> tuple[str, str]:
        """See `Venue.normal_urls`: what other libraries want behind the host is taken off."""
        return (
            _normal(rest_url, ("https", "http"), "REST", self.rest_endings, self.rest_url),
            _normal(stream_url, ("wss", "ws"), "stream", self.stream_endings, self.stream_url),
        )

    def stream_address(self, stream_url: str) -> str:
        """See `Venue.stream_address`."""
        return stream_url + self.stream_path

    def streams(self, symbol: str) -> Sequence[str]:
        """See `Venue.streams`: diffs each 100 ms, and every change of the top."""
        return [f"{symbol.lower()}@{kind}" for kind in ("depth@100ms", "bookTicker")]

    def subscription(self, names: Sequence[str], request_id: int) -> str:
        """See `Venue.subscription`."""
        return orjson.dumps({"method": "SUBSCRIBE", "params": list(names), "id": request_id}).decode()

    def decoder(self, symbols: Iterable[str]) -> BinanceDecoder:
        """See `Venue.decoder`."""
        return BinanceDecoder(symbols, self.dialect)

    def rest(self, session: aiohttp.ClientSession, url: str, *, clock: Clock, share: float = 1.0) -> BinanceRest:
        """See `Venue.rest`."""
        return BinanceRest(session, url, self.dialect, RequestWeight(self.limits.weight, share=share), clock)

    def recorded_snapshot(self, body: bytes, symbol: str) -> Snapshot:
        """See `Venue.recorded_snapshot`: how many levels were asked for is not recorded, so no side is complete."""
        return decode_snapshot(body, symbol)

    def verify(self, book: OrderBook, diff: Diff) -> bool:  # noqa: ARG002  the ids are the proof
        """See `Venue.verify`."""
        return True


def _normal(url: str, schemes: tuple[str, str], kind: str, endings: str, example: str) -> str:
    """Return an address as scheme, host and what path is not the exchange's own; raises `ValueError`."""
    try:
        parts = urlsplit(url.strip())
        is_usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise ValueError(
            f"{url!r} is no {kind} address; write {schemes[0]}:// or {schemes[1]}:// and a host, like {example}"
        )
    path = re.sub(rf"({endings})?/*$", "", parts.path.rstrip("/"))
    return f"{parts.scheme}://{parts.netloc}{path}"
