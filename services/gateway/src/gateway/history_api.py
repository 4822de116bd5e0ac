"""`/api/history?symbol=...&from=...&to=...&step=...`: any part of the past from the store, as JSON or CSV."""

import csv
from io import StringIO
from typing import Any

from aiohttp import web

from fairprice.errors import StoreUnavailable
from gateway.answers import json_answer, secured
from gateway.key import Key, read_key, told_names
from gateway.market import Market
from gateway.past import PATIENCE, Busy, Past, nothing
from gateway.period import Period, read_period, told
from gateway.stored.port import Bar
from gateway.verdicts import Judged

PATH = "/api/history?symbol={venue}:{symbol}&from=-1d&to=&step=5m&format=json"

_KNOWN = {"symbol", "from", "to", "step", "format"}
_NOT_LIVE = "live prices are not affected"


class HistoryApi:
    """The answers about the past; a store that is away is told in a sentence."""

    def __init__(self, market: Market, past: Past) -> None:
        self._market = market
        self._past = past

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/api/history", secured(self.history))]

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the bars of a period, how far each is verified, and the gaps."""
        query = _checked(request)
        try:
            key = await self._key(query.get("symbol", ""))
            period = await self._period(key, query)
            found = await self._past.answer(key, period) if period else nothing(key)
        except StoreUnavailable as error:
            raise web.HTTPServiceUnavailable(text=f"{error}; {_NOT_LIVE}", headers={"Retry-After": "5"}) from error
        except TimeoutError as error:
            text = f"the store did not answer within {PATIENCE:g} s; ask for less, or see how it is; {_NOT_LIVE}"
            raise web.HTTPGatewayTimeout(text=text) from error
        except Busy as error:
            text = f"as many ask for the past as may; try again in some seconds; {_NOT_LIVE}"
            raise web.HTTPServiceUnavailable(text=text, headers={"Retry-After": "5"}) from error
        if not found["time"] and period:
            found["note"] = f"the store has no price of {key} from {told(found['from'])} to {told(found['to'])}"
        return _csv_answer(key, found) if query.get("format") == "csv" else json_answer(found)

    async def _key(self, name: str) -> Key:
        """Return the one symbol of that name that is followed, or was: its past may be there still."""
        if not name:
            raise web.HTTPBadRequest(text="name a symbol: symbol=BTCUSDT, or symbol=VENUE:BTCUSDT")
        asked = read_key(name.replace("/", ":"))
        found = [each.key for each in self._market.find(asked)]
        if not found:
            known = await self._past.keys()
            found = [each for each in known if each.symbol == asked.symbol and asked.venue in {"", each.venue}]
            if not found:
                names = told_names([*self._market.names(), *known])
                raise web.HTTPNotFound(text=f"nothing is known of {str(asked)[:64]!r}; known symbols: {names}")
        if len(found) > 1:
            choices = ", ".join(map(str, found))
            raise web.HTTPConflict(text=f"several venues have {asked.symbol[:64]!r}, name one: {choices}")
        return found[0]

    async def _period(self, key: Key, query: dict[str, str]) -> Period | None:
        newest = await self._newest(key)
        if newest is None:
            return None
        try:
            return read_period(query.get("from", ""), query.get("to", ""), query.get("step", ""), newest)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error

    async def _newest(self, key: Key) -> int | None:
        found = self._market.find(key)
        if found and found[0].quote:
            return found[0].quote.event_time
        return await self._past.newest(key)


def _checked(request: web.Request) -> dict[str, str]:
    query = {name: value.strip() for name, value in request.query.items()}
    if unknown := query.keys() - _KNOWN:
        names = ", ".join(sorted(each[:32] for each in unknown))
        raise web.HTTPBadRequest(text=f"what is {names}? known are {', '.join(sorted(_KNOWN))}")
    if query.get("format", "") not in {"", "json", "csv"}:
        raise web.HTTPBadRequest(text=f"format has to be json or csv; got {query['format'][:32]!r}")
    return query


def _csv_answer(key: Key, found: dict[str, Any]) -> web.Response:
    """Return the bars as rows, each with its verdict and the reasons of the gaps that reach into it."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [*Bar._fields, *Judged._fields]
    writer.writerow(["venue", "symbol", *Bar._fields, "verdict", "gaps"])
    writer.writerows([*key, *row] for row in zip(*(found[name] for name in names), strict=True))
    file = f"{key.venue}-{key.symbol}-{told(found['from'] or 0)}.csv".replace(":", "")
    headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "no-store"}
    return web.Response(text=text.getvalue(), content_type="text/csv", charset="utf-8", headers=headers)
