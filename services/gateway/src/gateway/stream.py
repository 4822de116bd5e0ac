"""`/ws`: prices, gaps, the state of the feed, and on request books, pushed as text frames of one JSON object each."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from gateway.answers import secured
from gateway.audience import Audience, Listener
from gateway.market import Instrument, Market, feed_frame

BEAT = 0.2
"""Seconds between two books of a symbol, and between two looks at the state of its feed."""

HEARTBEAT = 15.0
"""Seconds between pings; a peer that leaves one unanswered for half of that is cut off."""

MAX_SYMBOLS = 200
MAX_INCOMING = 4096

log = structlog.get_logger(__name__)


class Stream:
    """Brings the market's news to its audience; `clock` returns microseconds, `stale_after` is in seconds."""

    def __init__(self, market: Market, audience: Audience, clock: Callable[[], int], *, stale_after: float) -> None:
        self._market = market
        self._audience = audience
        self._clock = clock
        self._stale_after = stale_after
        self._books: dict[str, bytes] = {}
        self._feeds: dict[str, tuple[str, int]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/ws", secured(self.serve))]

    async def beat(self) -> None:
        """Send books at most every `BEAT`, and the state of a feed when it changes, until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            if self._audience:
                books = self._audience.wants_books
                for instrument in self._market:
                    self._tell_feed(instrument)
                    if books:
                        self._tell_book(instrument)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Hold one connection from its opening to its end."""
        if _is_foreign(request):
            raise web.HTTPForbidden(text=f"a page of {request.headers['Origin'][:128]} may not listen here")
        if self._audience.is_full:
            raise _Full
        listener = _listener(request)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, timeout=1, compress=False, max_msg_size=MAX_INCOMING)
        await socket.prepare(request)
        with self._audience.joined(listener):
            self._welcome(listener)
            await _hold(socket, listener)
        return socket

    def _welcome(self, listener: Listener) -> None:
        instruments = list(self._market)
        missing = (listener.symbols or frozenset()) - {instrument.symbol for instrument in instruments}
        instruments += [Instrument(symbol, history_minutes=1) for symbol in sorted(missing)]
        for instrument in filter(lambda each: listener.wants(each.symbol), instruments):
            if instrument.quote:
                listener.offer(instrument.quote.line)
            listener.offer(feed_frame(instrument, self._clock(), self._stale_after))
            if listener.books and instrument.book_line():
                listener.offer(instrument.book_line())

    def _tell_feed(self, instrument: Instrument) -> None:
        feed = instrument.feed(self._clock(), self._stale_after)
        state = (feed["state"], feed["gaps"])
        if self._feeds.get(instrument.symbol) != state:
            self._feeds[instrument.symbol] = state
            self._audience.tell(instrument.symbol, feed_frame(instrument, self._clock(), self._stale_after))

    def _tell_book(self, instrument: Instrument) -> None:
        line = instrument.book_line()
        if line and line is not self._books.get(instrument.symbol):
            self._books[instrument.symbol] = line
            self._audience.tell(instrument.symbol, line, is_book=True)


class _Full(web.HTTPServiceUnavailable):
    def __init__(self) -> None:
        super().__init__(text="the gateway has as many listeners as it takes; try again later")
        self.headers["Retry-After"] = "10"


async def _hold(socket: web.WebSocketResponse, listener: Listener) -> None:
    """Send until the peer goes or the listener is closed; whatever the peer says is passed over."""
    sending = asyncio.create_task(_send(socket, listener))
    try:
        async for _ in socket:
            pass
    finally:
        sending.cancel()
        await asyncio.wait({sending})


async def _send(socket: web.WebSocketResponse, listener: Listener) -> None:
    try:
        while (frame := await listener.next()) is not None:
            await socket.send_frame(frame, WSMsgType.TEXT)
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway is stopping")
    except ConnectionError:
        # The reading side sees the same end and tidies up.
        log.debug("listener went away", dropped=listener.dropped)


def _is_foreign(request: web.Request) -> bool:
    """Programs send no `Origin`; a browser's has to be the page's own, or any site could read along."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.host


def _listener(request: web.Request) -> Listener:
    names = [name.strip().upper() for name in request.query.get("symbols", "").split(",") if name.strip()]
    if len(names) > MAX_SYMBOLS or any(len(name) > 64 for name in names):
        raise web.HTTPBadRequest(text=f"symbols must be at most {MAX_SYMBOLS} names of at most 64 characters")
    books = request.query.get("books", "0")
    if books not in {"0", "1"}:
        raise web.HTTPBadRequest(text=f"books must be 0 or 1; got {books[:64]!r}")
    return Listener(frozenset(names) or None, books=books == "1")
