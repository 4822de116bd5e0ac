"""One client's websocket: frames out, liveness, the end of it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import ClientConnectionResetError, web

from simulator.control_messages import Subscriptions
from simulator.edge import Edge
from simulator.frames import Disconnect, Frame

TEXT, BINARY, CONTINUATION, FINAL = 0x1, 0x2, 0x0, 0x80


def framed(payload: bytes, opcode: int = TEXT, final: int = FINAL) -> bytes:
    """A server's websocket frame (RFC 6455, section 5.2): unmasked, so that many can leave in one write."""
    length = len(payload)
    if length < 126:
        return bytes((final | opcode, length)) + payload
    if length < 65_536:
        return bytes((final | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((final | opcode, 127)) + length.to_bytes(8, "big") + payload


class Connection:
    """A client as stream server `server` sees it. What is posted collects in an outbox and leaves with `flush`."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        edge: Edge,
        subscriptions: Subscriptions,
        *,
        address: str,
        microseconds: bool,
        server: int = 0,
    ) -> None:
        self.socket = socket
        self.edge = edge
        self.subscriptions = subscriptions
        self.address = address
        self.server = server
        self.ending: Disconnect | None = None
        self._transport = transport
        self._microseconds = microseconds
        self._outbox: list[bytes] = []
        self._replies: list[bytes] = []
        self._pings: dict[bytes, int] = {}

    @property
    def unread_bytes(self) -> int:
        """What the client has left unread in our own buffer."""
        return self._transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.ending is None and not self.socket.closed and not self._transport.is_closing()

    def post(self, frame: Frame) -> None:
        """Puts an event into the outbox."""
        text = frame.on_wire(combined=self.subscriptions.combined, microseconds=self._microseconds)
        if frame.damage == "fragmented":
            middle = len(text) // 2
            self._outbox += [framed(text[:middle], final=0), framed(text[middle:], CONTINUATION)]
        else:
            self._outbox.append(framed(text, BINARY if frame.damage == "binary" else TEXT))

    def post_text(self, text: bytes) -> None:
        """Puts a text into the outbox, byte for byte."""
        self._outbox.append(framed(text))

    def reply(self, text: bytes, *, after_data: bool) -> None:
        """Sends a reply at once, or right behind the next event."""
        self._replies.append(framed(text))
        if not after_data:
            self._write(self._replies)

    def flush(self) -> None:
        """Sends what is in the outbox, and replies that wait for data."""
        if self._outbox:
            if self._replies:
                self._outbox[1:1] = self._replies
                self._replies.clear()
            self._write(self._outbox)

    def flush_replies(self) -> None:
        """Sends replies that have waited long enough for data."""
        self._write(self._replies)

    async def ping(self, now_us: int) -> None:
        """Sends a PING whose payload is never the same twice."""
        payload = b"%d" % now_us
        self._pings[payload] = now_us
        with suppress(ClientConnectionResetError):
            await self.socket.ping(payload)

    def pong(self, payload: bytes, *, must_match: bool) -> None:
        """Takes note of a PONG; an unsolicited one does not count."""
        if payload in self._pings or (self._pings and not must_match):
            self._pings.clear()

    def pong_is_late(self, now_us: int, timeout_us: int) -> bool:
        """Whether a PING has gone unanswered for too long."""
        return any(sent_us <= now_us - timeout_us for sent_us in self._pings.values())

    async def end(self) -> None:
        """Closes as `ending` says: with a close frame, or with a TCP reset."""
        ending = self.ending or Disconnect(1000)
        if ending.code is None:
            self._transport.abort()
            return
        with suppress(ClientConnectionResetError):
            await self.socket.close(code=ending.code, message=ending.reason.encode())

    def abort(self) -> None:
        """Resets the connection."""
        self._transport.abort()

    def _write(self, frames: list[bytes]) -> None:
        if frames and not self._transport.is_closing():
            self._transport.write(b"".join(frames))
        frames.clear()


class Audience:
    """All open connections: who is to get what, and who has to go."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.connections: set[Connection] = set()
        self.sent: dict[str, int] = {}
        self._listeners: dict[str, list[Connection]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self.changed = changed

    @property
    def wanted(self) -> frozenset[str]:
        """Every stream somebody is subscribed to."""
        return frozenset(self._listeners)

    def listeners(self, stream: str) -> list[Connection]:
        """Who is subscribed to a stream."""
        return self._listeners.get(stream, [])

    def review(self) -> None:
        """Updates who is subscribed to what."""
        self._listeners = {}
        for connection in self.connections:
            for stream in connection.subscriptions.sent:
                self._listeners.setdefault(stream, []).append(connection)
        self.changed()

    def admit(self, connection: Connection) -> None:
        """A connection is open."""
        self.connections.add(connection)
        self.review()

    def dismiss(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.review()

    def deliver(self, frames: list[Frame], backlog_bytes: int) -> None:
        """Sends each frame to its listeners through their edges; a client that reads too slowly is cut off."""
        for frame in frames:
            for connection in self.listeners(frame.stream):
                if frame.server in (None, connection.server):
                    self.pass_on(frame, connection)
        for connection in list(self.connections):
            connection.flush()
            if connection.unread_bytes > backlog_bytes:
                self.end(connection, Disconnect(None))  # a close frame would not be read either

    def pass_on(self, frame: Frame, connection: Connection) -> None:
        """Posts to one connection what its edge makes of a frame."""
        if not connection.is_open:
            return
        for sent in connection.edge.pass_on(frame):
            if isinstance(sent, Disconnect):
                for other in list(self.connections) if sent.every_connection else [connection]:
                    self.end(other, sent)
                return
            connection.post(sent)
            self.count(sent.kind)

    def count(self, kind: str, number: int = 1) -> None:
        """Counts frames sent, by kind."""
        self.sent[kind] = self.sent.get(kind, 0) + number

    def end(self, connection: Connection, how: Disconnect) -> None:
        """Ends a connection after what was posted to it, without waiting for the client's part in it."""
        if connection.ending is None:
            connection.flush()
            connection.ending = how
            task = asyncio.create_task(connection.end())
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def end_all(self, how: Disconnect, patience_s: float) -> None:
        """Ends every connection, waits until the clients have read everything, and resets those that have not."""
        for connection in list(self.connections):
            self.end(connection, how)
        if self._endings:
            await asyncio.wait(self._endings, timeout=patience_s)
        for connection in list(self.connections):
            connection.abort()
