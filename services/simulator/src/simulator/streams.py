"""The websocket side: handshakes, control messages, pings and lifetimes of connections."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from urllib.parse import unquote

import orjson
from aiohttp import WSMessage, WSMsgType, web

from simulator.clock import Clock
from simulator.connection import Audience, Connection
from simulator.control_messages import TOO_MANY_STREAMS, Mistake, Subscriptions, is_stream
from simulator.faults import Board, Fault
from simulator.frames import Disconnect, shutdown_frame
from simulator.knobs import Knobs
from simulator.limits import Limits
from simulator.replies import Reply, error
from simulator.rest import Source

TIME_UNITS = {"": False, "MILLISECOND": False, "millisecond": False, "MICROSECOND": True, "microsecond": True}
LONGEST_MESSAGE = 256 * 1024
ACK_PATIENCE_S = 1.0
CLOSE_S = 30.0
"""Time for a client to read what was sent before the close frame, and to answer it."""
ACK_FAULTS = ("late_ack", "no_ack", "wrong_ack_id", "double_ack", "error_ack")


class HandshakeRefused(Exception):
    """The websocket is not opened; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


class Streams:
    """Opens websockets and serves them; `clock` is the exchange's."""

    def __init__(self, source: Source, audience: Audience, limits: Limits, knobs: Knobs, clock: Clock) -> None:
        self.opened = 0
        self.refused = 0
        self._source = source
        self._audience = audience
        self._limits = limits
        self._knobs = knobs
        self._clock = clock
        self._delayed: set[asyncio.Task[None]] = set()
        self._order = Random(1)  # noqa: S311 - a simulation must be repeatable

    @property
    def _board(self) -> Board:
        return self._source.board

    def is_door(self, path: str) -> bool:
        """Whether websockets are opened at this path."""
        return self._door(path) is not None

    def _door(self, path: str) -> tuple[str, str] | None:
        """What stands before `/ws` or `/stream` in a path, and the rest of it."""
        for door in self._source.dialect.doors:
            rest = path.removeprefix(door)
            if path.startswith(door) and (rest in ("/ws", "/stream") or rest.startswith("/ws/")):
                return door, rest
        return None

    async def serve(self, request: web.Request, parameters: Sequence[tuple[str, str]]) -> web.WebSocketResponse:
        """Serves one client until the connection ends.

        Raises:
            HandshakeRefused: with the HTTP answer to give instead.
        """
        address = request.remote or ""
        door, path = self._door(request.path) or ("", request.path)
        try:
            self._check_handshake(address)
            names, microseconds = _wishes(path, parameters)
            subscriptions = Subscriptions(
                self._limits,
                self._knobs,
                combined=path.startswith("/stream"),
                streams=names,
                silent=not self._source.dialect.doors[door],
            )
        except Mistake as mistake:
            raise HandshakeRefused(error(400, mistake.code, str(mistake))) from None
        except HandshakeRefused:
            self.refused += 1
            raise
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_S, max_msg_size=LONGEST_MESSAGE)
        await socket.prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():  # the client has gone already
            return socket
        server = self.opened % len(self._knobs.stream_servers_ms)
        self.opened += 1
        connection = Connection(
            socket,
            transport,
            self._source.edge(),
            subscriptions,
            address=address,
            microseconds=microseconds,
            server=server,
        )
        self._audience.admit(connection)
        clocks = asyncio.create_task(self._keep_time(connection))
        try:
            await self._listen(connection)
        finally:
            clocks.cancel()
            self._audience.dismiss(connection)
        return socket

    def cut_banned(self, address: str) -> None:
        """Ends the websockets of an address that has been banned, if this exchange does so."""
        if self._knobs.ban_cuts_streams:
            for connection in [one for one in self._audience.connections if one.address == address]:
                self._audience.end(connection, Disconnect(1008, "IP banned"))

    def _check_handshake(self, address: str) -> None:
        now_us = self._clock.wall()
        if fault := self._board.take("refuse", None, now_us):
            raise HandshakeRefused(error(fault.status, 0, "Service unavailable."))
        if self._limits.too_many_attempts(address, now_us):
            refusal = error(self._knobs.attempt_refusal, -1003, "Too many connection attempts.", wait_s=300)
            raise HandshakeRefused(refusal)

    async def _listen(self, connection: Connection) -> None:
        window = self._limits.message_window()
        async for message in connection.socket:
            if self._limits.too_many_messages(window, self._clock.wall()):
                self._audience.end(connection, Disconnect(1008, "Too many requests"))
                continue
            await self._hear(connection, message)

    async def _hear(self, connection: Connection, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            await connection.socket.pong(bytes(message.data))
        elif message.type is WSMsgType.PONG:
            connection.pong(bytes(message.data), must_match=self._knobs.pong_must_match)
        elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY) and connection.is_open:
            text = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
            self._control(connection, text)

    def _control(self, connection: Connection, text: str) -> None:
        before = tuple(connection.subscriptions.streams)
        answer = connection.subscriptions.answer(text)
        changed = before != tuple(connection.subscriptions.streams)
        document = answer.document
        fault = self._board.take(ACK_FAULTS, None, self._clock.wall(), owner=connection)
        if fault:
            document = _wrong_reply(fault, document)
        order = self._knobs.ack_order
        after = changed and (order == "after" or (order == "random" and self._order.random() < 0.5))
        reply = self._wrapped(connection, document)
        if fault and fault.kind == "late_ack":
            self._later(fault.seconds or 0.0, lambda: connection.reply(reply, after_data=False))
        elif not fault or fault.kind != "no_ack":
            connection.reply(reply, after_data=after)
            if fault and fault.kind == "double_ack":
                connection.reply(reply, after_data=after)
            if after:
                self._later(ACK_PATIENCE_S, connection.flush_replies)
        if changed:
            self._audience.review()
        if answer.close:
            too_many = TOO_MANY_STREAMS in str(document)
            self._audience.end(connection, Disconnect(1008, "Too many streams" if too_many else "Invalid request"))

    def _wrapped(self, connection: Connection, document: dict[str, object]) -> bytes:
        wrapped = self._knobs.wrap_replies and connection.subscriptions.combined
        return orjson.dumps({"stream": "", "data": document} if wrapped else document)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        async def act() -> None:
            await self._clock.sleep(seconds)
            action()

        task = asyncio.create_task(act())
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    async def _keep_time(self, connection: Connection) -> None:
        """Pings, and ends the connection at a late pong or at the end of its life."""
        knobs = self._knobs
        born_us = self._clock.wall()
        notice_given = knobs.shutdown_notice_s is None
        while True:
            left_s = knobs.lifetime_s - (self._clock.wall() - born_us) / 1e6
            if left_s <= 0:
                self._audience.end(connection, Disconnect(knobs.lifetime_close_code))
                return
            if not notice_given and left_s <= (knobs.shutdown_notice_s or 0.0):
                connection.post(shutdown_frame(self._clock.wall()))
                connection.flush()
                notice_given = True
            pause_s = left_s if notice_given else left_s - (knobs.shutdown_notice_s or 0.0)
            await self._clock.sleep(min(pause_s, knobs.ping_interval_s))
            if connection.pong_is_late(self._clock.wall(), int(knobs.pong_timeout_s * 1e6)):
                self._limits.breaches["pong_timeout"] += 1
                self._audience.end(connection, Disconnect(1008, "Pong timeout"))
                return
            if not self._board.take("stop_pings", None, self._clock.wall(), owner=connection):
                with suppress(ConnectionError):
                    await connection.ping(self._clock.wall())


def decoded_parameters(query: str) -> list[tuple[str, str]]:
    """Parameters of a raw query string; a plus sign is itself, as in `@kline_1d@+08:00`."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _wishes(path: str, parameters: Sequence[tuple[str, str]]) -> tuple[list[str], bool]:
    """The streams asked for, and whether times are to be in microseconds."""
    query = dict(parameters)
    listed = query.get("streams", "") if path.startswith("/stream") else path.removeprefix("/ws").removeprefix("/")
    names = [name for name in listed.split("/") if name]
    unit = query.get("timeUnit", "")
    if unit not in TIME_UNITS:
        raise HandshakeRefused(error(400, -1100, "Illegal characters found in parameter 'timeUnit'."))
    if not all(map(is_stream, names)):
        raise HandshakeRefused(error(400, 2, "Illegal format ws or stream"))
    return names, TIME_UNITS[unit]


def _wrong_reply(fault: Fault, document: dict[str, object]) -> dict[str, object]:
    if fault.kind == "wrong_ack_id":
        return document | {"id": 987_654_321}
    if fault.kind == "error_ack":
        body = {"code": 2, "msg": "Invalid request: try again"}
        return body if fault.variant == "bare" else {"error": body, "id": document.get("id")}
    return document
