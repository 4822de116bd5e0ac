"""The JSON answers under `/api`."""

from math import isfinite
from typing import Any

import orjson
from aiohttp import web

from fairprice.coverage import MARKS
from fairprice.estimates import ESTIMATES
from fairprice.messages import encode
from fairprice.runtime.clock import Clock
from gateway import history_api, overview
from gateway.answers import json_answer, secured
from gateway.instrument import Instrument
from gateway.key import Key, told_names
from gateway.market import Market
from gateway.states import STATES, STATUSES, TRUSTED
from gateway.verdicts import VERDICTS

PATHS = (
    "/api/prices",
    history_api.PATH,
    *overview.PATHS,
    *(
        path
        for name in ("{symbol}", "{venue}/{symbol}")
        for path in (
            f"/api/prices/{name}",
            f"/api/history/{name}?minutes=5",
            f"/api/book/{name}",
            f"/api/depth/{name}",
            f"/api/coverage/{name}",
        )
    ),
)


class Api:
    """Answers from what the market holds when asked.

    A symbol is asked for as `{venue}/{symbol}`, or by its own name where only one venue has it.
    """

    def __init__(self, market: Market, clock: Clock, *, history_minutes: int) -> None:
        self._market = market
        self._clock = clock
        self._history_minutes = history_minutes

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        of_one = {
            "prices": self.price,
            "history": self.history,
            "book": self.book,
            "depth": self.depth,
            "coverage": self.coverage,
        }
        return [
            web.get("/api", secured(self.about)),
            web.get("/api/prices", secured(self.prices)),
            *(
                web.get(f"/api/{name}/{path}", secured(handler))
                for name, handler in of_one.items()
                for path in ("{symbol}", "{venue}/{symbol}")
            ),
        ]

    async def about(self, _request: web.Request) -> web.Response:
        """Answer with what there is, and what each state, status, verdict on an hour and estimator means."""
        states = {state.value: meaning for state, meaning in STATES.items()}
        verdicts = {verdict.value: meaning for verdict, (_, meaning) in MARKS.items()}
        bars = {"bar_verdicts": VERDICTS}
        meanings = {"states": states, "statuses": STATUSES, "trusted": sorted(TRUSTED), "verdicts": verdicts}
        estimators = {name: estimate.meaning for name, estimate in ESTIMATES.items()}
        return json_answer({"paths": PATHS, **meanings, **bars, "estimators": estimators})

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
        start = instrument.recent.start(minutes)
        return json_answer(
            {
                **instrument.key._asdict(),
                "minutes": minutes,
                **instrument.recent.since(minutes),
                "gaps": [gap for gap in instrument.gaps if gap["to_time"] >= start],
            }
        )

    async def book(self, request: web.Request) -> web.Response:
        """Answer with the newest book of one symbol, as the event on the wire."""
        instrument = self._instrument(request)
        line = instrument.book_line()
        if not line:
            raise web.HTTPNotFound(text=f"no order book of {instrument.key} has arrived yet")
        return json_answer(orjson.Fragment(line))

    async def depth(self, request: web.Request) -> web.Response:
        """Answer with the newest depth of the whole known book, as the event on the wire; before it the name alone."""
        instrument = self._instrument(request)
        depth = instrument.depth
        return json_answer(orjson.Fragment(encode(depth)) if depth else instrument.key._asdict())

    async def coverage(self, request: web.Request) -> web.Response:
        """Answer with what this gateway can say of each of the last hours, and since when it has looked."""
        instrument = self._instrument(request)
        proof = instrument.proof
        return json_answer({**instrument.key._asdict(), "since": proof.since, "hours": proof.hours()})

    def _price(self, instrument: Instrument) -> dict[str, Any]:
        now = self._clock.monotonic()
        fields = orjson.loads(instrument.quote.line) if instrument.quote else instrument.key._asdict()
        beside = {"feed": instrument.feed(now), "live": instrument.live_fields(now)}
        return {**fields, **self._market.basis(instrument, now), **beside}

    def _instrument(self, request: web.Request) -> Instrument:
        """Return the one instrument of that name; raises 404 for none and 409 for several, with the names to choose."""
        asked = Key(request.match_info.get("venue", ""), request.match_info["symbol"])
        found = self._market.find(asked)
        if not found:
            known = told_names(self._market.names())
            raise web.HTTPNotFound(text=f"nothing is known of {str(asked)[:64]!r}; known symbols: {known}")
        if len(found) > 1:
            choices = ", ".join(str(each.key) for each in found)
            raise web.HTTPConflict(text=f"several venues have {asked.symbol[:64]!r}, name one: {choices}")
        return found[0]


def _minutes(text: str, longest: int) -> float:
    try:
        minutes = float(text or longest)
    except ValueError:
        minutes = 0
    if not isfinite(minutes) or minutes <= 0:
        raise web.HTTPBadRequest(text=f"minutes must be a number above 0, at most {longest}; got {text[:64]!r}")
    return min(minutes, longest)
