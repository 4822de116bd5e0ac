"""Binance's REST: which symbols there are, and depth snapshots."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from crawler.book.market_data import Snapshot
from crawler.venues.binance.decoder import decode_snapshot
from crawler.venues.binance.dialect import Dialect
from crawler.venues.binance.weight import RequestWeight
from crawler.venues.port import SymbolStatus
from fairprice.errors import ExchangeUnavailable, FairpriceError, InvalidMarketData, NoSnapshotLeft, StartupError
from fairprice.runtime.clock import Clock, timeout

QUESTION_LEVELS = 5
NO_SNAPSHOT_LEFT = -9001
"""What a played-back exchange answers when its recording holds no further snapshot of a symbol."""
UNKNOWN_SYMBOL = -1121
TRADING = "TRADING"
UNTIMED = aiohttp.ClientTimeout(total=None)
"""Of the library's own: the clock that is handed in has them."""
LONGEST_BAN = 3 * 86_400.0
"""Seconds; no wait that the exchange asks for is longer."""


class BinanceRest:
    """Requests under one weight; times in seconds.

    `timeout` is for a request, `symbols_timeout` for the list of symbols, which has some megabytes. `ban_wait` is how
    long to wait after a 403, 418 or 429 that does not say; the shortest ban is two minutes.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        dialect: Dialect,
        weight: RequestWeight,
        clock: Clock,
        *,
        timeout: float = 10.0,
        symbols_timeout: float = 60.0,
        ban_wait: float = 120.0,
    ) -> None:
        self._session = session
        self._url = url
        self._dialect = dialect
        self._weight = weight
        self._clock = clock
        self._timeout = timeout
        self._symbols_timeout = symbols_timeout
        self._ban_wait = ban_wait
        self._cap = DepthCap()

    @property
    def used_weight(self) -> int:
        """See `Rest.used_weight`."""
        return self._weight.reported

    async def symbols(self) -> Mapping[str, SymbolStatus]:
        """See `Rest.symbols`."""
        symbols, _ = await self.symbols_body()
        return symbols

    async def symbols_body(self) -> tuple[Mapping[str, SymbolStatus], bytes]:
        """See `Rest.symbols_body`."""
        dialect = self._dialect
        await self._wait(dialect.symbols_weight)
        body = await self._get(dialect.symbols_path, dialect.symbols_parameters, self._symbols_timeout)
        info = _object(body)
        listed = info.get("symbols")
        if type(listed) is not list or not listed:
            raise ExchangeUnavailable(f"{self._url}{dialect.symbols_path} lists no symbols: {body[:200]!r}")
        if limit := _weight_limit(info.get("rateLimits")):
            self._weight.limit = limit
        symbols = dict(_symbol(entry) for entry in listed if type(entry) is dict and type(entry.get("symbol")) is str)
        return symbols, body

    async def turnovers(self) -> Mapping[str, float]:
        """See `Rest.turnovers`."""
        dialect = self._dialect
        await self._wait(dialect.turnovers_weight)
        body = await self._get(dialect.turnovers_path, {}, self._symbols_timeout)
        try:
            return {entry["symbol"]: float(entry["quoteVolume"]) for entry in orjson.loads(body)}
        except (ValueError, TypeError, KeyError) as error:
            raise ExchangeUnavailable(f"{self._url}{dialect.turnovers_path} tells no turnovers: {error!r}") from error

    async def snapshot(self, symbol: str, levels: int) -> Snapshot:
        """See `Rest.snapshot`."""
        snapshot, _ = await self.snapshot_body(symbol, levels)
        return snapshot

    async def snapshot_body(self, symbol: str, levels: int) -> tuple[Snapshot, bytes]:
        """See `Rest.snapshot_body`."""
        levels, weight = self._dialect.depth(levels)
        await self._wait(weight)
        body = await self._depth(symbol, levels)
        return self._cap.completed(decode_snapshot(body, symbol), levels), body

    async def newest_update_id(self, symbol: str) -> int | None:
        """See `Rest.newest_update_id`."""
        levels, weight = self._dialect.depth(QUESTION_LEVELS)
        if not self._weight.take_question(weight, self._clock.monotonic()):
            return None
        return decode_snapshot(await self._depth(symbol, levels), symbol).update_id

    async def _depth(self, symbol: str, levels: int) -> bytes:
        parameters = {"symbol": symbol, "limit": str(levels)}
        return await self._get(self._dialect.depth_path, parameters, self._timeout, symbol)

    async def _wait(self, weight: int) -> None:
        while delay := self._weight.delay(weight, self._clock.monotonic()):
            await self._clock.sleep(delay)

    async def _get(self, path: str, parameters: Mapping[str, str], seconds: float, symbol: str | None = None) -> bytes:
        url = self._url + path
        try:
            async with (
                timeout(self._clock, seconds),
                self._session.get(url, params=parameters, timeout=UNTIMED, allow_redirects=False) as response,
            ):
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ExchangeUnavailable(f"{url}: {str(error) or f'no answer within {seconds:.0f} s'}") from error
        self._report(response.headers)
        if response.status != 200:
            raise self._refusal(url, response.status, response.headers, body, symbol)
        return body

    def _report(self, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdecimal():
            self._weight.report(int(used), self._clock.monotonic())

    def _refusal(
        self, url: str, status: int, headers: Mapping[str, str], body: bytes, symbol: str | None
    ) -> FairpriceError:
        text = f"{url} answered {status}: {body[:200].decode(errors='replace')}"
        if status in {403, 418, 429}:
            wait = min(_wait_seconds(headers, body, self._clock.wall()) or self._ban_wait, LONGEST_BAN)
            self._weight.block(wait, self._clock.monotonic())
            return ExchangeUnavailable(text, retry_after=wait)
        if status == 451:
            return StartupError(
                f"{text} -- the exchange does not serve this place from this host; asking again will not help. "
                "FAIRPRICE_EXCHANGE_REST_URL and FAIRPRICE_EXCHANGE_STREAM_URL choose other hosts"
            )
        if 300 <= status < 400:
            target = headers.get("Location", "nowhere")
            return ExchangeUnavailable(
                f"{url} answered {status}, go to {target:.200}; redirects are not followed, "
                "FAIRPRICE_EXCHANGE_REST_URL has to name the host that answers itself"
            )
        code = _object(body).get("code")
        if status == 503 and code == NO_SNAPSHOT_LEFT:
            return NoSnapshotLeft(text)
        if status == 400 and code == UNKNOWN_SYMBOL:
            return InvalidMarketData(text, symbol)
        return ExchangeUnavailable(text)


@dataclass(slots=True)
class DepthCap:
    """Tells which sides of snapshots are whole.

    A side shorter than asked for is, unless the exchange cuts at less than it was asked for: then both sides are of one
    length, or the longest is met again and again.
    """

    sightings: int = 3
    _longest: int = 0
    _times: int = field(default=0)

    def completed(self, snapshot: Snapshot, levels: int) -> Snapshot:
        """Return the answer to a request for so many levels with its complete sides marked."""
        lengths = len(snapshot.bids), len(snapshot.asks)
        for length in lengths:
            self._see(length)
        is_cut = 0 < lengths[0] == lengths[1]
        bids, asks = (length < levels and not is_cut and not self._is_cap(length) for length in lengths)
        return snapshot._replace(bids_complete=bids, asks_complete=asks)

    def _see(self, length: int) -> None:
        if length > self._longest:
            self._longest, self._times = length, 1
        elif length == self._longest:
            self._times += 1

    def _is_cap(self, length: int) -> bool:
        return 0 < length == self._longest and self._times >= self.sightings


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, an empty one where it is something else."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return read if type(read) is dict else {}


def _symbol(entry: dict[str, Any]) -> tuple[str, SymbolStatus]:
    word = str(entry.get("status", TRADING))
    return entry["symbol"], SymbolStatus(word == TRADING, word)


def _weight_limit(limits: object) -> float | None:
    """Return the request weight a minute that the exchange tells, None where it tells none."""
    for row in limits if type(limits) is list else ():
        if type(row) is not dict or (row.get("rateLimitType"), row.get("interval")) != ("REQUEST_WEIGHT", "MINUTE"):
            continue
        limit, minutes = row.get("limit"), row.get("intervalNum")
        if type(limit) is int and type(minutes) is int and limit > 0 and minutes > 0:
            return limit / minutes
    return None


def _wait_seconds(headers: Mapping[str, str], body: bytes, now: int) -> float | None:
    """Return the seconds that a refusal asks for: in its header, else in its text as `banned until <ms>`."""
    if (seconds := headers.get("Retry-After", "")).isdecimal():
        return float(seconds)
    if until := re.search(rb"banned until (\d{13})", body):
        return max(0.0, int(until[1]) / 1000 - now / 1_000_000)
    return None
