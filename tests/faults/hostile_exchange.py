"""An exchange that misbehaves on purpose, written apart from the simulator: a few lines that know the truth.

It speaks Binance spot's protocol. It lives on the clock that it is given and moves only when `live` is called: what it
sends then has been read by the crawler when `live` returns.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Self

import orjson
from aiohttp import WSMsgType, web

LEVELS = 300
REMEMBERED = 1500
"""Tops remembered of each symbol: more than two minutes."""


class Market:
    """The true book of one symbol in whole ticks, from its first id on."""

    def __init__(self, symbol: str, random: Random) -> None:
        self.symbol = symbol
        self.last_id = random.randrange(10**9, 10**10)
        self._random = random
        self.sides = ({1000 - n: 5 for n in range(LEVELS)}, {1001 + n: 5 for n in range(LEVELS)})
        self._best = [1000, 1001]
        """The prices of the best bid and the best ask."""
        self.tops: dict[int, tuple[list[str], list[str]]] = {}
        self._order: deque[int] = deque()

    def window(self, time_us: int, deep_changes: int) -> list[bytes]:
        """Let some orders come or go near the top and so many levels change below; return the frames of it.

        The top's changes come before the diff.
        """
        first, changed, frames = self.last_id + 1, ({}, {}), []
        for _ in range(self._random.randrange(1, 5)):
            before = self.top()
            self._change(changed)
            if self.top() != before:
                frames.append(self._ticker())
        for price in range(500, 500 + deep_changes):
            self.last_id += 1
            self.sides[0][price] = changed[0][price] = self._random.randrange(1, 99)
        frames.append(self._diff(first, time_us, changed))
        self.tops[self.last_id] = self.top()
        self._order.append(self.last_id)
        if len(self._order) > REMEMBERED:
            del self.tops[self._order.popleft()]
        return frames

    def snapshot(self, limit: int) -> dict[str, object]:
        """The body of a depth reply."""
        bids, asks = self.sides
        return {
            "lastUpdateId": self.last_id,
            "bids": [_row(price, bids[price]) for price in sorted(bids, reverse=True)[:limit]],
            "asks": [_row(price, asks[price]) for price in sorted(asks)[:limit]],
        }

    def top(self) -> tuple[list[str], list[str]]:
        """Best bid and best ask."""
        (bids, asks), (bid, ask) = self.sides, self._best
        return _row(bid, bids[bid]), _row(ask, asks[ask])

    def _change(self, changed: tuple[dict[int, int], dict[int, int]]) -> None:
        bids, asks = self.sides
        is_bid = self._random.random() < 0.5
        side, best, sign = (bids, max, 1) if is_bid else (asks, min, -1)
        mine, other = self._best if is_bid else self._best[::-1]
        price = mine + self._random.choice((-3, -2, -1, 0, 0, 0, 1)) * sign
        crosses = sign * (price - other) >= 0
        quantity = 0 if crosses or self._random.random() < 0.4 else self._random.randrange(1, 99)
        if quantity:
            side[price] = quantity
            self._best[not is_bid] = best(price, mine)
        elif len(side) > LEVELS // 2 and side.pop(price, None) and price == mine:
            self._best[not is_bid] = best(side)
        self.last_id += 1
        changed[0 if is_bid else 1][price] = side.get(price, 0)

    def _diff(self, first: int, time_us: int, changed: tuple[dict[int, int], dict[int, int]]) -> bytes:
        bids, asks = ([_row(price, quantity) for price, quantity in side.items()] for side in changed)
        data = {"e": "depthUpdate", "E": time_us, "s": self.symbol, "U": first, "u": self.last_id, "b": bids, "a": asks}
        return _frame(f"{self.symbol.lower()}@depth@100ms", data)

    def _ticker(self) -> bytes:
        (bid, bid_size), (ask, ask_size) = self.top()
        data = {"u": self.last_id, "s": self.symbol, "b": bid, "B": bid_size, "a": ask, "A": ask_size}
        return _frame(f"{self.symbol.lower()}@bookTicker", data)


@dataclass
class Habits:
    """How it misbehaves just now; times in seconds of its clock."""

    silent_connections: int = 0
    """So many connections, from the first on, are acknowledged all that they ask for, and sent nothing."""
    refused_request: int | None = None
    """The number of the SUBSCRIBE of each connection that is answered with an error."""
    closes_after: float | None = None
    is_rest_away: bool = False
    failing: set[str] = field(default_factory=set)
    """Symbols whose snapshots are answered with an error."""
    lag: float = 0.0
    """How late what it sends leaves it, while REST shows the moment."""
    streams: int = 1024
    has_tickers: bool = True
    unlisted: set[str] = field(default_factory=set)
    """Symbols that are missing on the list, and do not move."""
    moves_in: int = 1
    """Of so many windows each market moves in one, not all in the same."""
    weight: int = 6000
    """What REST requests may weigh in a minute; what is more is answered 429."""
    deep_changes: int = 0
    """Levels far from the top that change in each window."""


class HostileExchange:
    """Serves markets of these symbols; `wall` returns microseconds, `monotonic` seconds."""

    def __init__(
        self,
        symbols: Iterable[str],
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], float],
        seed: int = 1,
        quiet: Iterable[str] = (),
    ) -> None:
        self.habits = Habits()
        self.markets = {symbol: Market(symbol, Random(f"{seed}{symbol}")) for symbol in symbols}
        self.quiet = set(quiet)
        self.connections = 0
        self.snapshots: list[str] = []
        """The symbols of which a snapshot was asked for, answered or not."""
        self.limits: list[int] = []
        """How many levels were asked for each time."""
        self.breaches = 0
        """Requests beyond the weight."""
        self._used: deque[tuple[float, int]] = deque()
        self._windows = 0
        self._wall = wall
        self._monotonic = monotonic
        self._open: dict[web.WebSocketResponse, tuple[set[str], float]] = {}
        self._silent: set[web.WebSocketResponse] = set()
        self._late: deque[tuple[float, list[tuple[str, bytes]]]] = deque()
        self._runner: web.AppRunner | None = None
        self.rest_url = self.stream_url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.add_routes(
            [
                web.get("/api/v3/exchangeInfo", self._list),
                web.get("/api/v3/depth", self._depth),
                web.get("/api/v3/ticker/24hr", self._turnovers),
                web.get("/stream", self._serve),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.rest_url, self.stream_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_all()
        if self._runner:
            await self._runner.cleanup()

    async def live(self, windows: int = 1) -> int:
        """Let so many windows happen at once, send what is due, and return the number of frames sent."""
        for _ in range(windows):
            self._windows += 1
            frames = [
                (symbol, frame)
                for number, (symbol, market) in enumerate(self.markets.items())
                if (number + self._windows) % self.habits.moves_in == 0
                if symbol not in self.quiet and symbol not in self.habits.unlisted
                for frame in market.window(self._wall(), self.habits.deep_changes)
                if self.habits.has_tickers or b"@bookTicker" not in frame
            ]
            self._late.append((self._monotonic() + self.habits.lag, frames))
        await self._close_old()
        sent = 0
        while self._late and self._late[0][0] <= self._monotonic():
            sent += await self._send(self._late.popleft()[1])
        return sent

    def fall_silent(self) -> None:
        """Send nothing more to those who are connected now; whoever comes later is served."""
        self._silent.update(self._open)

    async def _send(self, frames: list[tuple[str, bytes]]) -> int:
        sent = 0
        for socket, (symbols, _) in list(self._open.items()):
            if socket in self._silent:
                continue
            with suppress(ConnectionError):
                for symbol, frame in frames:
                    if symbol in symbols:
                        await socket.send_frame(frame, WSMsgType.TEXT)
                        sent += 1
        return sent

    async def close_all(self) -> None:
        """Close every connection."""
        for socket in list(self._open):
            await socket.close(code=1001)

    async def _close_old(self) -> None:
        if self.habits.closes_after is None:
            return
        for socket, (_, opened) in list(self._open.items()):
            if self._monotonic() - opened >= self.habits.closes_after:
                await socket.close(code=1001)

    async def _list(self, _request: web.Request) -> web.Response:
        self._charge(20)
        if self.habits.is_rest_away:
            raise web.HTTPBadGateway
        listed = [{"symbol": name, "status": "TRADING"} for name in self.markets if name not in self.habits.unlisted]
        return _json({"rateLimits": [], "symbols": listed})

    async def _turnovers(self, _request: web.Request) -> web.Response:
        """The later in the list, the more is traded."""
        self._charge(80)
        return _json([{"symbol": name, "quoteVolume": f"{place}.5"} for place, name in enumerate(self.markets)])

    def _charge(self, weight: int) -> None:
        """Raise `HTTPTooManyRequests` for what is beyond the weight of the last minute."""
        now = self._monotonic()
        while self._used and self._used[0][0] <= now - 60:
            self._used.popleft()
        self._used.append((now, weight))
        if sum(used for _, used in self._used) > self.habits.weight:
            self.breaches += 1
            raise web.HTTPTooManyRequests

    async def _depth(self, request: web.Request) -> web.Response:
        symbol, limit = request.query["symbol"], int(request.query["limit"])
        self._charge(next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (5000, 250)) if limit <= most))
        if limit > 5:
            self.snapshots.append(symbol)
            self.limits.append(limit)
        if self.habits.is_rest_away or symbol in self.habits.failing:
            raise web.HTTPBadGateway
        return _json(self.markets[symbol].snapshot(limit))

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self._open[socket] = set(), self._monotonic()
        if self.connections <= self.habits.silent_connections:
            self._silent.add(socket)
        names, number = 0, 0
        try:
            async for message in socket:
                asked = orjson.loads(message.data)
                number += 1
                names += len(asked["params"])
                if number == self.habits.refused_request or names > self.habits.streams:
                    await socket.send_str(
                        orjson.dumps({"error": {"code": 2, "msg": "Too many"}, "id": number}).decode()
                    )
                    continue
                symbols, opened = self._open[socket]
                self._open[socket] = symbols | {name.partition("@")[0].upper() for name in asked["params"]}, opened
                await socket.send_str(orjson.dumps({"result": None, "id": asked["id"]}).decode())
        finally:
            del self._open[socket]
            self._silent.discard(socket)
        return socket


@cache
def _row(price: int, quantity: int) -> list[str]:
    return [f"{price / 10:.2f}", f"{quantity}.000"]


def _frame(stream: str, data: dict[str, object]) -> bytes:
    return orjson.dumps({"stream": stream, "data": data})


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
