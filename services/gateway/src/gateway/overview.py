"""`/api/overview`: all symbols side by side in one small answer, made at most once a second however many ask."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from fairprice.messages import Depth
from fairprice.runtime.clock import Clock
from gateway.answers import secured
from gateway.earlier import DAY, HOUR, STEP, Earlier
from gateway.instrument import Instrument
from gateway.market import Market
from gateway.stored.port import MINUTE

PATHS = ("/api/overview", "/api/overview/lines")

KEPT = 1.0
"""Seconds for which an answer is given again."""

AT_ONCE = 100
"""Symbols looked at before other work gets its turn: some milliseconds."""

DEPTH_BPS = 10.0
"""The depth is that within this distance of the mid, basis points, or within the nearest one that is told."""

_VALUE = re.compile(r"bid_value_(\d+(?:_\d+)?)bps")


@dataclass(frozen=True, slots=True)
class _Answer:
    made_at: float
    plain: bytes
    compressed: bytes


class Overview:
    """Answers with what the market holds, and with changes since then as far as the store tells them."""

    def __init__(self, market: Market, earlier: Earlier, clock: Clock) -> None:
        self._market = market
        self._earlier = earlier
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._making = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/overview", secured(self.symbols)),
            web.get("/api/overview/lines", secured(self.lines)),
        ]

    async def symbols(self, request: web.Request) -> web.Response:
        """Answer with a row of each symbol, in the order of first sight, and why the store's columns are empty."""
        return await self._kept(request, "symbols")

    async def lines(self, request: web.Request) -> web.Response:
        """Answer with the prices of the last day by symbol, a price each `step` microseconds."""
        return await self._kept(request, "lines")

    async def _kept(self, request: web.Request, name: str) -> web.Response:
        async with self._making:
            answer = self._answers.get(name)
            if answer is None or self._clock.monotonic() - answer.made_at >= KEPT:
                answer = self._answers[name] = await self._make(name)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
        is_compressed = "gzip" in request.headers.get("Accept-Encoding", "")
        if is_compressed:
            headers["Content-Encoding"] = "gzip"
        body = answer.compressed if is_compressed else answer.plain
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _make(self, name: str) -> _Answer:
        at = _newest(self._market)
        if at is not None:
            self._earlier.refresh(at)
        content = await (self._symbols(at) if name == "symbols" else self._lines(at))
        plain = orjson.dumps({"time": at, "note": self._note(), **content})
        return _Answer(self._clock.monotonic(), plain, gzip.compress(plain, 1, mtime=0))

    def _note(self) -> str | None:
        problem = self._earlier.problem
        return problem and f"{problem}; live prices are not affected"

    async def _symbols(self, at: int | None) -> dict[str, Any]:
        ago = {} if at is None else {"1h": self._earlier.closes(HOUR, at), "24h": self._earlier.closes(DAY, at)}
        rows = []
        async for instrument in _in_turns(self._market):
            price = instrument.quote and instrument.quote.price
            before = {"1m": None if at is None else instrument.recent.price_at(at - MINUTE)}
            before |= {name: closes.get(instrument.key) for name, closes in ago.items()}
            changes = {f"change_{name}_percent": _percent(price, then) for name, then in before.items()}
            rows.append({**self._row(instrument), **changes})
        return {"symbols": rows}

    async def _lines(self, at: int | None) -> dict[str, Any]:
        lines = {}
        async for instrument in _in_turns(self._market if at is not None else ()):
            lines[str(instrument.key)] = self._earlier.line(instrument.key, at or 0)
        return {"step": STEP, "lines": lines}

    def _row(self, instrument: Instrument) -> dict[str, Any]:
        now = self._clock.monotonic()
        quote = instrument.quote
        return {
            **instrument.key._asdict(),
            "state": instrument.state(now),
            "problem": instrument.problem(now),
            "price": quote and quote.price,
            "spread_bps": quote and quote.spread_bps,
            **_depth(instrument.depth),
            **self._market.basis(instrument, now),
            "age_seconds": instrument.age(now),
            "gaps": instrument.gaps.open,
        }


def _newest(market: Market) -> int | None:
    """Return the exchange's time of the newest price of all: where that of a recording is, it is long ago."""
    return max((each.quote.event_time for each in market if each.quote), default=None)


def _percent(price: float | None, then: float | None) -> float | None:
    return None if price is None or not then else round((price / then - 1) * 100, 4)


def _depth(depth: Depth | None) -> dict[str, float | None]:
    """Return the quote value of both sides near the mid, and how far that is in basis points."""
    nearest = _nearest(tuple(depth.values)) if depth else None
    if depth is None or nearest is None:
        return {"depth": None, "depth_bps": None}
    values = [depth.values.get(f"{side}_value_{nearest}bps") for side in ("bid", "ask")]
    known = [value for value in values if value is not None]
    return {"depth": sum(known) if len(known) == len(values) else None, "depth_bps": _bps(nearest)}


@lru_cache(maxsize=16)
def _nearest(names: tuple[str, ...]) -> str | None:
    """Return the distance nearest to `DEPTH_BPS`, as it is written in the names."""
    told = [match[1] for name in names if (match := _VALUE.fullmatch(name))]
    return min(told, key=lambda each: abs(_bps(each) - DEPTH_BPS), default=None)


def _bps(suffix: str) -> float:
    return float(suffix.replace("_", "."))


async def _in_turns(instruments: Iterable[Instrument]) -> AsyncIterator[Instrument]:
    """Yield them as they are now, and let other work go on in between."""
    waiting = iter(list(instruments))
    while some := list(islice(waiting, AT_ONCE)):
        for instrument in some:
            yield instrument
        await asyncio.sleep(0)
