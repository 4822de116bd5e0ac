"""`/ws`: prices, gaps, the state of the feed, on request books or moments, as text frames of one JSON object each."""

import asyncio
from collections.abc import Callable, Mapping

import orjson
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from fairprice.runtime.clock import Clock
from fairprice.runtime.occasional import Occasional
from gateway.answers import secured
from gateway.audience import Audience, Listener
from gateway.instrument import Instrument, Limits, feed_frame
from gateway.key import Key, read_key
from gateway.market import Market

BEAT = 0.2
"""Seconds between two books or moments of a symbol, and between two looks at the state of its feed."""

HEARTBEAT = 15.0
"""Seconds between pings; a peer that leaves one unanswered for half of that is cut off."""

MAX_WISHES = 200
MAX_INCOMING = 4096
MAX_NAME = 129
"""A venue, a separator and a symbol of 64 characters each."""

EXTRAS: Mapping[str, Callable[[Instrument, float], bytes]] = {
    "books": lambda instrument, _now: instrument.book_line(),
    "moments": Instrument.moment_line,
}
"""What is sent on request only: the parameter that asks for it, and its newest line, empty while there is none."""

LIVE_FRAMES = "live"
"""What is sent on request only, too, but each of them at once."""

NEWEST: Mapping[str, Callable[[Instrument, float], bytes]] = {
    **EXTRAS,
    LIVE_FRAMES: lambda instrument, _now: instrument.live.line,
}
"""What of it is sent on connecting."""

Problems = Callable[[], Mapping[str, str]]
"""Returns what is wrong with the pipeline, in words by the name of its part."""

log = structlog.get_logger(__name__)


class Stream:
    """Brings the market's news to its audience; `beat` and `heartbeat` are in seconds."""

    def __init__(
        self,
        market: Market,
        audience: Audience,
        problems: Problems,
        clock: Clock,
        *,
        is_foreign: Callable[[web.Request], bool],
        beat: float = BEAT,
        heartbeat: float = HEARTBEAT,
        max_wishes: int = MAX_WISHES,
    ) -> None:
        self._market = market
        self._audience = audience
        self._problems = problems
        self._clock = clock
        self._is_foreign = is_foreign
        self._plain_requests = Occasional(clock)
        self._beat = beat
        self._heartbeat = heartbeat
        self._max_wishes = max_wishes
        self._extras: dict[tuple[Key, str], bytes] = {}
        self._feeds: dict[Key, tuple[object, ...]] = {}
        self._health = _health_frame({})

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/ws", secured(self.serve))]

    async def beat(self) -> None:
        """Send books and moments at most once a beat, and states of feeds and pipeline on change, until cancelled."""
        while True:
            await self._clock.sleep(self._beat)
            for key in self._market.forget(self._clock.monotonic()):
                for extra in EXTRAS:
                    self._extras.pop((key, extra), None)
                self._feeds.pop(key, None)
            if self._audience:
                self._send_news()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Hold one connection from its opening to its end."""
        if self._is_foreign(request):
            raise _Foreign(request)
        if self._audience.is_full:
            raise _Full
        listener = _listener(request, self._max_wishes)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            self._tell_of_plain_request(request)
            raise _NoUpgrade
        socket = web.WebSocketResponse(heartbeat=self._heartbeat, timeout=1, compress=False, max_msg_size=MAX_INCOMING)
        await socket.prepare(request)
        with self._audience.joined(listener):
            self._welcome(listener)
            await _hold(socket, listener)
        return socket

    def _tell_of_plain_request(self, request: web.Request) -> None:
        if "Sec-WebSocket-Key" in request.headers and self._plain_requests.due("") is not None:
            log.warning("listener refused: a proxy on the way does not pass on the headers Upgrade and Connection")

    def _welcome(self, listener: Listener) -> None:
        now = self._clock.monotonic()
        listener.offer(_health_frame(self._problems()))
        unseen = [key for key in sorted(listener.wishes or ()) if not self._market.find(key)]
        waiting = [Instrument(key, Limits(history_minutes=1)) for key in unseen]
        for instrument in (*(each for each in self._market if listener.wants(each.key)), *waiting):
            if instrument.quote:
                listener.offer(instrument.quote.line)
            listener.offer(feed_frame(instrument, now))
            for extra, line_of in NEWEST.items():
                if extra in listener.extras and (line := line_of(instrument, now)):
                    listener.offer(line)

    def _send_news(self) -> None:
        health = _health_frame(self._problems())
        if health != self._health:
            self._health = health
            self._audience.send_to_all(health)
        for instrument in self._market:
            self._send_feed(instrument)
            for extra in EXTRAS:
                if self._audience.wants(instrument.key, extra):
                    self._send_extra(extra, instrument)

    def _send_feed(self, instrument: Instrument) -> None:
        now = self._clock.monotonic()
        feed = instrument.feed(now)
        shown = tuple(feed[name] for name in ("state", "gaps", "exchange_status", "problem", "model_time"))
        if self._feeds.get(instrument.key) != shown:
            self._feeds[instrument.key] = shown
            self._audience.send(instrument.key, feed_frame(instrument, now))

    def _send_extra(self, extra: str, instrument: Instrument) -> None:
        line = EXTRAS[extra](instrument, self._clock.monotonic())
        if line and line is not self._extras.get((instrument.key, extra)):
            self._extras[instrument.key, extra] = line
            self._audience.send(instrument.key, line, extra=extra)


class _Full(web.HTTPServiceUnavailable):
    def __init__(self) -> None:
        super().__init__(text="the gateway has as many listeners as it takes; try again later")
        self.headers["Retry-After"] = "10"


class _Foreign(web.HTTPForbidden):
    def __init__(self, request: web.Request) -> None:
        origin = request.headers["Origin"][:128]
        super().__init__(
            text=f"a page of {origin} may not listen here; if it is this gateway's behind a proxy, add its name to "
            "FAIRPRICE_HTTP_NAMES"
        )


class _NoUpgrade(web.HTTPBadRequest):
    def __init__(self) -> None:
        super().__init__(
            text="this is a websocket, and the request does not ask for one; a proxy on the way has to pass on the "
            "headers Upgrade and Connection"
        )


def _health_frame(problems: Mapping[str, str]) -> bytes:
    return orjson.dumps({"type": "health", "problems": problems})


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


def _listener(request: web.Request, most: int) -> Listener:
    names = [name.strip() for name in request.query.get("symbols", "").split(",") if name.strip()]
    if len(names) > most or any(len(name) > MAX_NAME or "/" in name for name in names):
        raise web.HTTPBadRequest(
            text=f"symbols must be at most {most} names, like BTCUSDT or VENUE:BTCUSDT, of at most {MAX_NAME} "
            "characters"
        )
    extras = [extra for extra in NEWEST if _is_asked_for(request, extra)]
    return Listener(frozenset(map(read_key, names)) or None, extras=extras)


def _is_asked_for(request: web.Request, extra: str) -> bool:
    wish = request.query.get(extra, "0")
    if wish not in {"0", "1"}:
        raise web.HTTPBadRequest(text=f"{extra} must be 0 or 1; got {wish[:64]!r}")
    return wish == "1"
