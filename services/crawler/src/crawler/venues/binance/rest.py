"""Binance's REST: which symbols there are, and depth snapshots."""

import asyncio
import re
from collections.abc import Callable, Mapping

import aiohttp
import orjson

from crawler.book.market_data import Snapshot
from crawler.venues.binance.governor import Governor
from crawler.venues.binance.wire import decode_snapshot
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, StartupError

TIMEOUT = 10.0
WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
"""Weight of a depth request by its limit."""
EXCHANGE_INFO_WEIGHT = 20
BAN_WAIT = 120.0
"""Seconds to wait after 403, 418 or 429 that do not say how long; the shortest ban is two minutes."""


class RestClient:
    """Requests under one governor; `monotonic` returns seconds, `wall_clock` microseconds since the epoch."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        governor: Governor,
        *,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], int],
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._governor = governor
        self._monotonic = monotonic
        self._wall_clock = wall_clock

    async def depth(self, symbol: str, limit: int) -> Snapshot:
        """Return a snapshot of at most `limit` levels a side.

        Raises `ExchangeUnavailable` for anything that may pass, `StartupError` where the exchange refuses for good.
        """
        return decode_snapshot(await self.depth_body(symbol, limit), limit)

    async def depth_body(self, symbol: str, limit: int) -> bytes:
        """Return the body of a snapshot as sent."""
        weight = next(weight for most, weight in WEIGHTS if limit <= most)
        return await self._get("/api/v3/depth", {"symbol": symbol, "limit": str(limit)}, weight)

    async def require_symbols(self, symbols: tuple[str, ...]) -> None:
        """Raise `StartupError` unless the exchange lists every symbol."""
        body = await self._get("/api/v3/exchangeInfo", {"showPermissionSets": "false"}, EXCHANGE_INFO_WEIGHT)
        try:
            listed = {entry["symbol"]: entry.get("status", "TRADING") for entry in orjson.loads(body)["symbols"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ExchangeUnavailable(f"exchangeInfo of {self._url} is not as documented: {error!r}") from error
        unknown = [symbol for symbol in symbols if symbol not in listed]
        if unknown:
            raise StartupError(
                f"unknown symbol {', '.join(unknown)} at {self._url}; "
                "correct FAIRPRICE_SYMBOLS (upper case, without a slash, like BTCUSDT)"
            )

    async def _get(self, path: str, parameters: Mapping[str, str], weight: int) -> bytes:
        while delay := self._governor.delay(weight, self._monotonic()):  # noqa: ASYNC110  no event marks the minute
            await asyncio.sleep(delay)
        try:
            async with self._session.get(
                self._url + path, params=parameters, timeout=aiohttp.ClientTimeout(total=TIMEOUT)
            ) as response:
                body = await response.read()
                self._report(response.headers)
                if response.status != 200:
                    raise self._refusal(response.status, response.headers, body)
                return body
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or f"no answer within {TIMEOUT:.0f} s"
            raise ExchangeUnavailable(f"{self._url}{path}: {reason}") from error

    def _report(self, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used.isdecimal():
            self._governor.report(int(used))

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        said = f"{self._url} answered {status}: {body[:200].decode(errors='replace')}"
        if status == 451:
            return StartupError(
                f"{said} -- the exchange does not serve this place from this host; asking again will not help. "
                "FAIRPRICE_EXCHANGE_REST_URL and FAIRPRICE_EXCHANGE_STREAM_URL choose other hosts"
            )
        if status in {403, 418, 429}:
            wait = _wait(headers, body, self._wall_clock())
            self._governor.block(wait, self._monotonic())
            return ExchangeUnavailable(said, retry_after=wait)
        if status == 400 and b"-1121" in body:
            return InvalidMarketData(said)
        return ExchangeUnavailable(said)


def _wait(headers: Mapping[str, str], body: bytes, now: int) -> float:
    """Return the seconds that a 403, 418 or 429 asks for: in its header, else in its text as `banned until <ms>`."""
    if (said := headers.get("Retry-After", "")).isdecimal():
        return float(said)
    if until := re.search(rb"banned until (\d{13})", body):
        return max(0.0, int(until[1]) / 1000 - now / 1_000_000)
    return BAN_WAIT
