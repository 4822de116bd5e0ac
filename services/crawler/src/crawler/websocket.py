"""One websocket connection: `websockets` speaks the protocol, an `asyncio.Protocol` moves the bytes.

A frame goes from the socket to its receiver without a task or a queue between, which costs two thirds of what the
library's own asyncio client does. Nearly all frames are whole text frames: those are cut out here, for a fifth of what
the library's parser costs; the handshake and all other frames, each as a whole, are the library's business.
"""

import asyncio
import socket
import ssl
from collections import deque
from functools import cache
from typing import Protocol, cast

from python_socks import ProxyError
from python_socks.async_.asyncio import Proxy as ProxyDialer
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import USER_AGENT, Response
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from crawler.proxy import Proxy
from fairprice.errors import ExchangeUnavailable, StartupError

MAX_FRAME_BYTES = 8 * 1024 * 1024
TLS_GOODBYE = 2.0
"""Seconds that the other side is given to end TLS in order."""
UNAVAILABLE_FOR_LEGAL_REASONS = 451


END_OF_HEADERS = b"\r\n\r\n"
WHOLE_TEXT = 0x81
"""The first byte of a text frame that is no fragment and has no extension (RFC 6455, section 5.2)."""
LENGTH_BYTES = {126: 2, 127: 8}
"""How many bytes hold the length, if not the second byte itself does; one above these is masked, as no server may."""


class Receiver(Protocol):
    """Takes what a websocket brings."""

    def receive_frame(self, frame: bytes) -> None:
        """Take a text or binary frame; may pause the websocket."""

    def receive_pong(self) -> None:
        """Take note of the answer to a ping."""

    def receive_end(self, reason: str) -> None:
        """Take note that the other side, or the network, has ended the connection; nothing follows."""


class Websocket(asyncio.Protocol):
    """A connection; at most one read of the socket waits in memory while it is paused."""

    def __init__(self, uri: WebSocketURI, receiver: Receiver, max_frame_bytes: int) -> None:
        self._protocol = ClientProtocol(uri, max_size=max_frame_bytes)
        self._receiver = receiver
        self._waiting: deque[bytes | Frame] = deque()
        self._rest = b""
        self._is_cutting = False
        self._max_frame_bytes = max_frame_bytes
        self._fragments: list[bytes] = []
        self._is_paused = False
        self._end: str | None = None
        self._is_over = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def send(self, text: str) -> None:
        """Send a text frame; nothing happens on a connection that is ending."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._write()

    def ping(self) -> None:
        """Ask for a pong."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._write()

    def pause(self) -> None:
        """Stop reading, so that TCP slows the other side; what has been read waits."""
        self._is_paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Hand over what waits and read on."""
        self._is_paused = False
        self._hand_over()
        if not self._is_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection from this side; its receiver hears nothing more."""
        self._is_over = True
        self._waiting.clear()
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # the other side does not read any more
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._write()
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once, whatever the other side does."""
        self._is_over = True
        self._waiting.clear()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._protocol.connect()
        request.headers["User-Agent"] = USER_AGENT
        self._protocol.send_request(request)
        self._write()

    def data_received(self, data: bytes) -> None:
        """Hand over the frames in what was read."""
        if self._is_over:
            return
        if self._is_cutting:
            self._cut(self._rest + data)
        else:
            was_open = self.opened.done()
            self._read_by_library(data)
            self._is_cutting = not was_open and self.opened.done() and _ends_with_headers(data)
        self._hand_over()

    def _cut(self, data: bytes) -> None:
        """Take whole frames off the data and keep the rest; what cannot be one is for the library to refuse."""
        position, size = 0, len(data)
        while size - position > 1:
            length, begin = data[position + 1], position + 2
            if length > 125:
                begin += LENGTH_BYTES.get(length, 0)
                length = (
                    int.from_bytes(data[position + 2 : begin], "big") if length < 128 else self._max_frame_bytes + 1
                )
                if begin > size:
                    break
            if length > self._max_frame_bytes:
                self._is_cutting = False
                self._read_by_library(data[position:])
                return
            if (end := begin + length) > size:
                break
            if data[position] == WHOLE_TEXT:
                self._waiting.append(data[begin:end])
            else:
                self._read_by_library(data[position:end])
            position = end
        self._rest = data[position:]

    def _read_by_library(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._write()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._waiting.append(event)
            elif isinstance(event, Response) and not self.opened.done():
                self._finish_opening()
        if self._protocol.close_expected():
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver, after the last frame."""
        self._protocol.receive_eof()
        self.closed.set_result(None)
        if not self.opened.done():
            self._finish_opening()
        self._end = str(exc or self._protocol.close_exc)
        self._hand_over()

    def _finish_opening(self) -> None:
        if error := self._protocol.handshake_exc:
            self.opened.set_exception(error)
        else:
            self.opened.set_result(None)

    def _hand_over(self) -> None:
        waiting = self._waiting
        while waiting and not self._is_paused:
            frame = waiting.popleft()
            if isinstance(frame, bytes):
                self._receiver.receive_frame(frame)
            else:
                self._hand_over_other(frame)
        if self._end is not None and not waiting and not self._is_over:
            self._is_over = True
            self._receiver.receive_end(self._end)

    def _hand_over_other(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._receiver.receive_pong()
        elif frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole = b"".join(self._fragments)
                self._fragments.clear()
                self._receiver.receive_frame(whole)

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:  # an empty one asks for the end of the stream, which closing brings
                self._transport.write(data)


def _ends_with_headers(data: bytes) -> bool:
    """Return whether nothing follows the headers of the server's answer."""
    return data.find(END_OF_HEADERS) == len(data) - len(END_OF_HEADERS)


async def open_websocket(
    address: str,
    receiver: Receiver,
    *,
    proxy: Proxy | None = None,
    tls: ssl.SSLContext | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
) -> Websocket:
    """Open a connection, without compression; the caller limits the time. `tls` replaces the system's certificates.

    Raises `ExchangeUnavailable` when that may succeed later, `StartupError` when the exchange refuses for good.
    """
    uri = parse_uri(address)
    way = f"{address} by way of {proxy}" if proxy else address
    try:
        secure = (tls or _system_tls()) if uri.secure else None
        websocket = await _connect(uri, Websocket(uri, receiver, max_frame_bytes), proxy, secure)
        try:
            await websocket.opened
        except BaseException:
            websocket.abort()
            raise
    except InvalidStatus as error:
        raise _refusal(way, error.response.status_code) from error
    except (InvalidHandshake, ProxyError, OSError) as error:
        raise ExchangeUnavailable(f"{way}: {error or type(error).__name__}") from error
    return websocket


async def _connect(
    uri: WebSocketURI, websocket: Websocket, proxy: Proxy | None, tls: ssl.SSLContext | None
) -> Websocket:
    loop = asyncio.get_running_loop()
    goodbye = TLS_GOODBYE if tls else None
    if proxy is None:
        await loop.create_connection(lambda: websocket, uri.host, uri.port, ssl=tls, ssl_shutdown_timeout=goodbye)
        return websocket
    tunnel = await _dial(uri, proxy)
    try:
        await loop.create_connection(
            lambda: websocket,
            sock=tunnel,
            ssl=tls,
            server_hostname=uri.host if tls else None,
            ssl_shutdown_timeout=goodbye,
        )
    except BaseException:
        tunnel.close()
        raise
    return websocket


async def _dial(uri: WebSocketURI, proxy: Proxy) -> socket.socket:
    dialer = ProxyDialer(proxy.type, proxy.host, proxy.port, proxy.user, proxy.password, rdns=True)
    return await dialer.connect(uri.host, uri.port)


def _refusal(way: str, status: int) -> ExchangeUnavailable | StartupError:
    if status == UNAVAILABLE_FOR_LEGAL_REASONS:
        return StartupError(
            f"{way} answered 451: the exchange does not serve this place from this host; asking again will not help. "
            "FAIRPRICE_EXCHANGE_REST_URL and FAIRPRICE_EXCHANGE_STREAM_URL choose other hosts"
        )
    return ExchangeUnavailable(f"{way} answered {status}")


@cache
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()
