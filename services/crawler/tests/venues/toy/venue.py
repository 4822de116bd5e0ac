"""A venue for tests: snapshots come in the stream, a checksum proves each book, ids count messages, no glance tells.

{"kind":"full","pair":"BTC-USD","n":7,"buy":[["99.5","1"]],"sell":[["100.5","2"]]}
{"kind":"change","pair":"BTC-USD","n":8,"at":1789000000100,"buy":[],"sell":[["100.5","0"]],"crc":3735928559}
{"kind":"best","pair":"BTC-USD","n":8,"buy":["99.5","1"],"sell":["101.0","2"]}
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import aiohttp
import orjson

from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.order_book import OrderBook
from crawler.venues.port import DiffHead, Event, Limits, Reply, Shutdown, SymbolStatus
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, NoSnapshotLeft
from fairprice.messages import are_levels
from fairprice.runtime.clock import Clock

PROVEN_LEVELS = 10


class ToyDecoder:
    def __init__(self, symbols: Iterable[str]) -> None:
        self._symbols = frozenset(symbols)

    def peek(self, frame: bytes) -> DiffHead | Ticker | None:
        return None

    def decode(self, frame: bytes) -> Event | None:
        event = _object(frame)
        if "re" in event:
            return Reply(event["re"], event.get("refused"))
        if event.get("kind") == "bye":
            return Shutdown()
        symbol = event.get("pair")
        if symbol not in self._symbols:
            return None
        try:
            kind, update_id, buy, sell = event["kind"], event["n"], event["buy"], event["sell"]
            time, proof = (event["at"], event["crc"]) if kind == "change" else (1, None)
        except KeyError as error:
            raise InvalidMarketData(f"field {error} is missing", symbol) from error
        if type(update_id) is not int or type(time) is not int:
            raise InvalidMarketData(f"number or time out of range: {update_id!r:.30} {time!r:.30}", symbol)
        if kind == "best":
            return Ticker(symbol, update_id, frame, _read_top)
        if not (are_levels(buy) and are_levels(sell)):
            raise InvalidMarketData("levels have to be pairs of decimal strings", symbol)
        if kind == "full":
            return Snapshot(symbol, update_id, buy, sell, bids_complete=True, asks_complete=True)
        return Diff(symbol, update_id, update_id, time * 1000, buy, sell, proof)


class ToyRest:
    used_weight = 0

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def symbols(self) -> Mapping[str, SymbolStatus]:
        symbols, _ = await self.symbols_body()
        return symbols

    async def symbols_body(self) -> tuple[Mapping[str, SymbolStatus], bytes]:
        try:
            async with self._session.get(f"{self._url}/pairs", timeout=aiohttp.ClientTimeout(total=10)) as response:
                body = await response.read()
                response.raise_for_status()
                pairs = orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ExchangeUnavailable(f"{self._url}/pairs: {error!r}") from error
        return {name: SymbolStatus(word == "open", word) for name, word in pairs.items()}, body

    async def turnovers(self) -> Mapping[str, float]:
        return {}

    async def snapshot(self, symbol: str, levels: int) -> Snapshot:
        raise NoSnapshotLeft("snapshots come in the stream")

    async def snapshot_body(self, symbol: str, levels: int) -> tuple[Snapshot, bytes]:
        raise NoSnapshotLeft("snapshots come in the stream")

    async def newest_update_id(self, symbol: str) -> int | None:
        return None


class Toy:
    name = "toy"
    rest_url = "https://toy.example"
    stream_url = "wss://toy.example"
    limits = Limits(weight=100, attempts=30, messages=2, streams=50, connections=1)
    max_age = 3600.0
    ping_interval = 10.0
    snapshots_in_stream = True

    def normal_urls(self, rest_url: str, stream_url: str) -> tuple[str, str]:
        for url, scheme in ((rest_url, "http"), (stream_url, "ws")):
            if not urlsplit(url).scheme.startswith(scheme):
                raise ValueError(f"{url!r} does not begin with {scheme}:// or {scheme}s://")
        return rest_url.rstrip("/"), stream_url.rstrip("/")

    def stream_address(self, stream_url: str) -> str:
        return f"{stream_url}/feed"

    def streams(self, symbol: str) -> Sequence[str]:
        return [f"book:{symbol}", f"best:{symbol}"]

    def subscription(self, names: Sequence[str], request_id: int) -> str:
        return orjson.dumps({"want": list(names), "re": request_id}).decode()

    def decoder(self, symbols: Iterable[str]) -> ToyDecoder:
        return ToyDecoder(symbols)

    def rest(self, session: aiohttp.ClientSession, url: str, *, clock: Clock, share: float = 1.0) -> ToyRest:
        return ToyRest(session, url)

    def recorded_snapshot(self, body: bytes, symbol: str) -> Snapshot:
        raise InvalidMarketData("snapshots come in the stream", symbol)

    def verify(self, book: OrderBook, diff: Diff) -> bool:
        bids, asks = book.best()
        return crc32(orjson.dumps([asks[:PROVEN_LEVELS], bids[:PROVEN_LEVELS]])) == diff.proof


def _object(text: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidMarketData(f"not JSON: {error}") from error
    if type(read) is not dict:
        raise InvalidMarketData(f"no object: {text[:80]!r}")
    return read


def _read_top(frame: bytes) -> Top:
    event = _object(frame)
    buy, sell = event["buy"], event["sell"]
    if not are_levels([buy, sell]):
        raise InvalidMarketData(f"no best levels: {frame[:80]!r}")
    return Top(buy, sell)
