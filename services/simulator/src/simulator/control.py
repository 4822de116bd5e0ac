"""The control endpoint, `/__sim/...`: the truth, counters, and faults on demand. No exchange has one."""

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from simulator.faults import KINDS, fault_from
from simulator.rest import Source


class Control:
    """Lets a test look behind the exchange's doors and break things."""

    def __init__(self, source: Source, status: Callable[[], dict[str, Any]]) -> None:
        self._source = source
        self._status = status

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds `/__sim/book`, `/__sim/status`, `/__sim/symbols` and `/__sim/faults`."""
        router.add_get("/__sim/book", self._book)
        router.add_get("/__sim/status", self._show_status)
        router.add_post("/__sim/symbols", self._set_status)
        router.add_get("/__sim/faults", self._list)
        router.add_post("/__sim/faults", self._arm)
        router.add_delete("/__sim/faults", self._disarm)

    async def _book(self, request: web.Request) -> web.Response:
        symbol, ids = request.query.get("symbol", ""), request.query.get("id", "").split(",")
        limit = request.query.get("limit") or "0"
        if not (symbol and all(number.isdecimal() for number in (*ids, limit))):
            problem = "needed are symbol and id, or several: /__sim/book?symbol=BTCUSDT&id=123,124&limit=20"
            return _answer({"error": problem}, 400)
        try:
            books = [self._source.book_at(symbol, int(number), int(limit) or None) for number in ids]
        except LookupError as unknown:
            return _answer({"error": str(unknown)}, 404)
        found = [
            {"symbol": symbol, "update_id": int(number), "bids": book.bids, "asks": book.asks}
            for number, book in zip(ids, books, strict=True)
        ]
        return _answer(found if len(ids) > 1 else found[0])

    async def _show_status(self, _request: web.Request) -> web.Response:
        return _answer(self._status())

    async def _set_status(self, request: web.Request) -> web.Response:
        try:
            document = orjson.loads(await request.read())
            symbol, status = document["symbol"], document["status"]
        except (ValueError, TypeError, KeyError):
            return _answer({"error": 'what is needed is like {"symbol":"BTCUSDT","status":"BREAK"}'}, 400)
        try:
            self._source.set_status(symbol, status)
        except LookupError as problem:
            return _answer({"error": str(problem)}, 404)
        return _answer({"symbol": symbol, "status": status})

    async def _list(self, _request: web.Request) -> web.Response:
        return _answer({"faults": self._source.board.listing()})

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            document = orjson.loads(await request.read())
            faults = [fault_from(one) for one in (document if isinstance(document, list) else [document])]
        except orjson.JSONDecodeError:
            needed = f'what is needed is like {{"kind":"drop","symbol":"BTCUSDT","count":3}}; kinds: {", ".join(KINDS)}'
            return _answer({"error": needed}, 400)
        except ValueError as problem:
            return _answer({"error": str(problem)}, 400)
        return _answer({"armed": [self._source.board.inject(fault) for fault in faults]})

    async def _disarm(self, _request: web.Request) -> web.Response:
        self._source.board.clear()
        return _answer({"armed": []})


def _answer(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
