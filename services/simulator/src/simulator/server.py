"""The exchange on the network: one port for REST, websockets and control."""

import asyncio
import errno
import logging
import time
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Self

from aiohttp import web

from simulator.clock import Clock, ScaledClock
from simulator.connection import Audience
from simulator.control import Control
from simulator.exchange import Exchange
from simulator.faults import Fault
from simulator.frames import Disconnect
from simulator.limits import Limits
from simulator.playback import Playback
from simulator.replies import Reply
from simulator.rest import Request, Rest
from simulator.streams import CLOSE_S, HandshakeRefused, Streams, decoded_parameters

LOG = logging.getLogger(__name__)
TICK_S = 0.01
STOP_S = 0.5
LONGEST_TICK_US = 1_000_000
"""After a stall the market catches up in portions of this much, so that others get a turn."""


class PortInUse(Exception):
    """The port cannot be had; the message says what to do."""


class SimulatorServer:
    """Serves a source, a market (`Exchange`) or a recording (`Playback`), for as long as its context is open.

    It lives by the source's knobs. `rest_url`, `stream_url` and `control_url` tell where; `played` is set when a
    recording's last event has been written to every subscriber, after which, with `close_when_played`, the websockets
    are closed with code 1000. With `at_present` a market's time is the wall clock's; it catches up at once. A `clock`
    that is given is the exchange's: a market and its connections live on it. A market moves each `tick` seconds.

    Raises:
        PortInUse: on entering, when another program has the port.
    """

    def __init__(
        self,
        source: Exchange | Playback,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        close_when_played: bool = False,
        at_present: bool = False,
        clock: Clock | None = None,
        tick: float = TICK_S,
    ) -> None:
        self.played = asyncio.Event()
        self.knobs = source.knobs
        self.source = source
        self.limits = Limits(self.knobs)
        self.audience = Audience()
        self._host = host
        self._port = port
        self._close_when_played = close_when_played
        start_us = source.now_us if isinstance(source, Exchange) and not at_present else time.time_ns() // 1000
        self._clock = clock or ScaledClock(start_us, self.knobs.time_scale)
        self._tick = tick * (1.0 if clock else self.knobs.time_scale)
        self._requests: Counter[str] = Counter()
        self._rest = Rest(source, self.limits, self.knobs)
        self._streams = Streams(source, self.audience, self.limits, self.knobs, self._clock)
        self._control = Control(source, self.status)
        self._runner: web.AppRunner | None = None
        self._life: asyncio.Task[None] | None = None

    @property
    def rest_url(self) -> str:
        """Where REST is, without a trailing slash."""
        return f"http://{self._host}:{self._port}"

    @property
    def stream_url(self) -> str:
        """Where websockets are; the venue's path, `/ws` or `/stream`, follows."""
        return f"ws://{self._host}:{self._port}"

    @property
    def control_url(self) -> str:
        """Where the control endpoint is."""
        return f"{self.rest_url}/__sim"

    def inject(self, fault: Fault) -> int:
        """Arms a fault; returns its number."""
        return self.source.board.inject(fault)

    def status(self) -> dict[str, object]:
        """Everything counted so far."""
        board = self.source.board
        return {
            "frames": dict(self.audience.sent),
            "connections": {
                "open": len(self.audience.connections),
                "opened": self._streams.opened,
                "refused": self._streams.refused,
            },
            "subscriptions": sorted(self.audience.wanted),
            "requests": dict(self._requests),
            "weight": self.limits.weights(),
            "breaches": dict(self.limits.breaches),
            "faults": board.listing(),
            "fired": dict(board.fired),
            "update_ids": self.source.update_ids(),
            "played": self.played.is_set() if isinstance(self.source, Playback) else None,
        }

    async def __aenter__(self) -> Self:
        application = web.Application()
        self._control.add_routes(application.router)
        application.router.add_get("/{path:.*}", self._handle)
        # a handler whose client has gone is cancelled: a snapshot that it waits for is then not used up
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_S, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as problem:
            await runner.cleanup()
            raise self._explained(problem) from problem
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._life = asyncio.create_task(self._live())
        self._life.add_done_callback(_report)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._life:
            self._life.cancel()
            await asyncio.wait([self._life])
        await self.audience.end_all(Disconnect(1001), STOP_S)
        if self._runner:
            await self._runner.cleanup()

    def _explained(self, problem: OSError) -> Exception:
        where = f"{self._host}:{self._port}"
        if problem.errno == errno.EADDRINUSE:
            return PortInUse(
                f"{where} is in use by another program: stop that program, or choose another port (0: any)"
            )
        return PortInUse(f"{where} cannot be served: {problem.strerror}; choose another host or port")

    async def _live(self) -> None:
        if isinstance(self.source, Playback):
            await self.source.play(self.audience)
            self.played.set()
            if self._close_when_played:
                await self.audience.end_all(Disconnect(1000), CLOSE_S)
        else:
            await self._trade(self.source)

    async def _trade(self, exchange: Exchange) -> None:
        longest_us = int(LONGEST_TICK_US * self.knobs.time_scale)
        while True:
            behind_us = self._clock.wall() - exchange.now_us
            await self._clock.sleep(0 if behind_us > longest_us else self._tick)
            now_us = min(self._clock.wall(), exchange.now_us + longest_us)
            self.audience.deliver(exchange.frames(now_us, self.audience.wanted), self.knobs.backlog_bytes)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parameters = decoded_parameters(request.rel_url.raw_query_string)
        if self._streams.is_door(request.path):
            try:
                return await self._streams.serve(request, parameters)
            except HandshakeRefused as refusal:
                return await self._respond(request, refusal.reply)
        self._requests[request.path] += 1
        headers = {name.lower(): value for name, value in request.headers.items()}
        address = request.remote or ""
        reply = self._rest.answer(Request(request.path, parameters, headers, address, self._clock.wall()))
        if reply.status == 418:
            self._streams.cut_banned(address)
        if not reply.held:
            return await self._respond(request, reply)
        async with reply.held() as answer:
            return await self._respond(request, replace(answer, headers=reply.headers | answer.headers))

    async def _respond(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.delay_us:
            await self._clock.sleep(reply.delay_us / 1e6)
        headers = {"Content-Type": reply.content_type} | reply.headers
        if not reply.cut:
            whole = web.Response(status=reply.status, body=reply.body, headers=headers)
            await whole.prepare(request)
            await whole.write_eof()
            return whole
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(reply.body)
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
        if request.transport:
            request.transport.close()
        return response


def _report(life: "asyncio.Task[None]") -> None:
    if not life.cancelled() and (problem := life.exception()):
        LOG.error("the simulated exchange has stopped sending: %s; start it again", problem, exc_info=problem)
