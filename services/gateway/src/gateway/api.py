"""The JSON answers under `/api`."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson
from aiohttp import web

from gateway.answers import json_answer, secured
from gateway.market import Instrument, Market


class Api:
    """Answers from what the market holds when asked; `clock` returns microseconds, `stale_after` is in seconds."""

    def __init__(self, market: Market, clock: Callable[[], int], *, stale_after: float, history_minutes: int) -> None:
        self._market = market
        self._clock = clock
        self._stale_after = stale_after
        self._history_minutes = history_minutes

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/prices", secured(self.prices)),
            web.get("/api/prices/{symbol}", secured(self.price)),
            web.get("/api/history/{symbol}", secured(self.history)),
            web.get("/api/book/{symbol}", secured(self.book)),
        ]

    async def prices(self, _request: web.Request) -> web.Response:
        """Answer with the newest price of every symbol, in the order of first sight."""
        return json_answer([self._price(instrument) for instrument in self._market])

    async def price(self, request: web.Request) -> web.Response:
        """Answer with the newest price of one symbol; before the first one there is only its `feed`."""
        return json_answer(self._price(self._instrument(request)))

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the last `minutes` by column, and the gaps that reach into them."""
        instrument = self._instrument(request)
        minutes = _minutes(request.query.get("minutes", ""), self._history_minutes)
        start = instrument.history.start(minutes)
        return json_answer(
            {
                "symbol": instrument.symbol,
                "minutes": minutes,
                **instrument.history.since(minutes),
                "gaps": [gap for gap in instrument.gaps if gap.to_time >= start],
            }
        )

    async def book(self, request: web.Request) -> web.Response:
        """Answer with the newest book of one symbol, as the event on the wire."""
        instrument = self._instrument(request)
        line = instrument.book_line()
        if not line:
            raise web.HTTPNotFound(text=f"no order book of {instrument.symbol} has arrived yet")
        return json_answer(orjson.Fragment(line))

    def _price(self, instrument: Instrument) -> dict[str, Any]:
        fields = orjson.loads(instrument.quote.line) if instrument.quote else {"symbol": instrument.symbol}
        return {**fields, "feed": instrument.feed(self._clock(), self._stale_after)}

    def _instrument(self, request: web.Request) -> Instrument:
        symbol = request.match_info["symbol"]
        instrument = self._market.find(symbol)
        if instrument is None:
            known = ", ".join(self._market.names()) or "none yet"
            raise web.HTTPNotFound(text=f"nothing is known of {symbol[:64]!r}; known symbols: {known}")
        return instrument


def _minutes(text: str, longest: int) -> float:
    try:
        minutes = float(text or longest)
    except ValueError:
        minutes = 0
    if not isfinite(minutes) or minutes <= 0:
        raise web.HTTPBadRequest(text=f"minutes must be a number above 0, at most {longest}; got {text[:64]!r}")
    return min(minutes, longest)
