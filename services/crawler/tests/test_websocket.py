"""The websocket over real sockets, against another implementation's server (`websockets`), on both event loops."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from waiting import soon
from websockets.asyncio.server import serve
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.uri import parse_uri

from crawler.websocket import MAX_FRAME_BYTES, Websocket, open_websocket
from fairprice.errors import ExchangeUnavailable, StartupError


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Run a scenario on an event loop of each kind."""

    def start(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(soon(scenario))

    return start


class Listener:
    """Keeps what a websocket brings, and says when there is more."""

    def __init__(self):
        self.frames = []
        self.pongs = 0
        self.ends = []
        self.changed = asyncio.Event()

    def receive_frame(self, frame):
        self.frames.append(frame)
        self.changed.set()

    def receive_pong(self):
        self.pongs += 1
        self.changed.set()

    def receive_end(self, reason):
        self.ends.append(reason)
        self.changed.set()

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def exchange(handler, **options):
    """Serve on a free port, without compression as the exchange is asked for none."""
    async with serve(handler, "127.0.0.1", 0, compression=None, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"


@asynccontextmanager
async def opened(address, **options):
    listener = Listener()
    websocket = await open_websocket(address, listener, **options)
    try:
        yield websocket, listener
    finally:
        websocket.abort()
        await websocket.closed


def test_frames_arrive_as_bytes_in_their_order_whatever_their_kind(run):
    async def handler(connection):
        assert await connection.recv() == "subscribe"
        await connection.send("text")
        await connection.send(b"binary")
        await connection.send(["in ", "three ", "pieces"])
        await connection.send("x" * 1_000_000)
        await connection.wait_closed()

    async def scenario():
        async with exchange(handler) as address, opened(address) as (websocket, listener):
            websocket.send("subscribe")
            await listener.until(lambda: len(listener.frames) == 4)
            assert listener.frames == [b"text", b"binary", b"in three pieces", b"x" * 1_000_000]
            assert all(type(frame) is bytes for frame in listener.frames)

    run(scenario())


def test_no_compression_is_asked_for(run):
    asked = []

    async def handler(connection):
        asked.append(connection.request.headers.get("Sec-WebSocket-Extensions"))

    async def scenario():
        async with exchange(handler) as address, opened(address) as (_, listener):
            await listener.until(lambda: listener.ends)
        assert asked == [None]

    run(scenario())


def test_pings_are_answered_both_ways(run):
    async def handler(connection):
        await (await connection.ping(b"are you there"))
        await connection.send("answered")
        await connection.wait_closed()

    async def scenario():
        async with exchange(handler, ping_interval=None) as address, opened(address) as (websocket, listener):
            await listener.until(lambda: listener.frames == [b"answered"])
            websocket.ping()
            await listener.until(lambda: listener.pongs == 1)

    run(scenario())


def test_the_end_is_told_once_with_its_reason_after_the_last_frame(run):
    async def handler(connection):
        await connection.send("last")
        await connection.close(1008, "too many requests")

    async def scenario():
        async with exchange(handler) as address, opened(address) as (websocket, listener):
            await listener.until(lambda: listener.ends)
            await websocket.closed
            assert listener.frames == [b"last"]
            assert len(listener.ends) == 1
            assert "1008" in listener.ends[0]
            assert "too many requests" in listener.ends[0]
            websocket.send("too late")
            websocket.ping()
            websocket.close()

    run(scenario())


def test_a_cut_line_is_an_end(run):
    async def handler(connection):
        connection.transport.abort()

    async def scenario():
        async with exchange(handler) as address, opened(address) as (_, listener):
            await listener.until(lambda: listener.ends)
            assert listener.ends[0]

    run(scenario())


def test_a_frame_that_is_too_large_ends_the_connection(run):
    async def handler(connection):
        await connection.send("x" * 2000)
        await connection.wait_closed()

    async def scenario():
        async with exchange(handler) as address, opened(address, max_frame_bytes=1000) as (_, listener):
            await listener.until(lambda: listener.ends)
            assert listener.frames == []
            assert "1009" in listener.ends[0]

    run(scenario())


def test_closing_from_this_side_tells_the_exchange_and_nobody_here(run):
    codes = asyncio.Queue()

    async def handler(connection):
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async def scenario():
        async with exchange(handler) as address, opened(address) as (websocket, listener):
            websocket.close()
            await websocket.closed
            assert await codes.get() == 1000
            assert listener.ends == []

    run(scenario())


def test_a_pause_stops_reading_so_that_tcp_slows_the_exchange(run):
    sent = 0

    async def handler(connection):
        nonlocal sent
        while sent < 400:
            await connection.send("x" * 100_000)
            sent += 1
        await connection.close()

    async def scenario():
        async with exchange(handler) as address, opened(address) as (websocket, listener):
            websocket.pause()
            standing = -1
            while standing != sent or not sent:  # until the buffers of both sides are full
                standing = sent
                await asyncio.sleep(0.2)
            assert sent < 300, "forty megabytes were not read into memory"
            assert len(listener.frames) <= 5
            websocket.resume()
            await listener.until(lambda: listener.ends)
            assert len(listener.frames) == 400

    run(scenario())


def test_what_was_read_before_a_pause_waits_and_so_does_the_end(run):
    async def handler(connection):
        await connection.recv()
        for number in range(10):
            await connection.send(str(number))

    async def scenario():
        async with exchange(handler) as address:
            listener = Listener()
            websocket = await open_websocket(address, listener)
            receive = listener.receive_frame

            def pause_after_three(frame):
                receive(frame)
                if len(listener.frames) == 3:
                    websocket.pause()

            listener.receive_frame = pause_after_three
            websocket.send("subscribe")
            await listener.until(lambda: len(listener.frames) == 3)
            assert not listener.ends
            websocket.resume()
            await listener.until(lambda: listener.ends)
            assert listener.frames == [str(number).encode() for number in range(10)]
            await websocket.closed

    run(scenario())


@pytest.mark.parametrize(
    ("status", "error"),
    [(451, StartupError), (503, ExchangeUnavailable), (429, ExchangeUnavailable), (302, ExchangeUnavailable)],
)
def test_a_handshake_that_is_refused_says_with_what(run, status, error):
    def refuse(connection, _request):
        response = connection.respond(HTTPStatus(status), "no\n")
        response.headers["Location"] = "ws://127.0.0.1:1/elsewhere"
        return response

    async def scenario():
        async with exchange(None, process_request=refuse) as address:
            with pytest.raises(error, match=f"answered {status}"):
                await open_websocket(address, Listener())

    run(scenario())


NO_NAME = "no-such-host.invalid"


def test_who_is_not_there_or_speaks_no_websocket_is_unavailable(run):
    async def scenario():
        async def mumble(_reader, writer):
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(mumble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeUnavailable, match=f"127.0.0.1:{port}"):
            await open_websocket(f"ws://127.0.0.1:{port}/", Listener())
        server.close()
        await server.wait_closed()
        with pytest.raises(ExchangeUnavailable, match=f"127.0.0.1:{port}"):
            await open_websocket(f"ws://127.0.0.1:{port}/", Listener())
        with pytest.raises(ExchangeUnavailable, match=NO_NAME):
            await open_websocket(f"ws://{NO_NAME}/", Listener())

    run(scenario())


def test_tls_is_spoken_and_the_certificate_is_looked_at(run, certificate):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")

    async def handler(connection):
        await connection.send("secret")
        await connection.wait_closed()

    async def scenario():
        async with exchange(handler, ssl=server_side) as by_address:
            address = by_address.replace("ws://127.0.0.1", "wss://localhost")
            with pytest.raises(ExchangeUnavailable, match="certificate verify failed"):
                await open_websocket(address, Listener())
            trusting = ssl.create_default_context(cafile=certificate / "certificate.pem")
            async with opened(address, tls=trusting) as (websocket, listener):
                await listener.until(lambda: listener.frames == [b"secret"])
                websocket.close()

    run(scenario())


class Pipe:
    """A transport that goes nowhere."""

    def __init__(self):
        self.is_reading = True
        self.closed = False

    def write(self, data):
        pass

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def pause_reading(self):
        self.is_reading = False

    def resume_reading(self):
        self.is_reading = True


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda text: [Frame(Opcode.TEXT, text)]),
        st.sampled_from([0, 125, 126, 127, 65535, 65536, 70000]).map(lambda size: [Frame(Opcode.TEXT, b"x" * size)]),
        st.binary(max_size=20).map(lambda data: [Frame(Opcode.BINARY, data)]),
        st.binary(max_size=20).map(lambda data: [Frame(Opcode.PONG, data)]),
        st.lists(st.binary(max_size=9), min_size=2, max_size=4).map(
            lambda parts: [
                Frame(Opcode.CONT if number else Opcode.TEXT, part, fin=number == len(parts) - 1)
                for number, part in enumerate(parts)
            ]
        ),
    ),
    max_size=12,
)


@given(pieces=PIECES, cuts=st.lists(st.integers(1, 2000), min_size=1, max_size=9), pauses=st.sets(st.integers(1, 20)))
def test_frames_are_the_same_however_they_are_cut_and_mixed(pieces, cuts, pauses):
    """What is cut out here and what the library reads come in one order, whole, whatever a read of the socket holds."""

    async def scenario():
        listener = Listener()
        websocket = Websocket(parse_uri("ws://host/"), listener, MAX_FRAME_BYTES)
        websocket.connection_made(Pipe())
        websocket._is_cutting = True
        Protocol.__init__(websocket._protocol, Side.CLIENT, state=State.OPEN, max_size=MAX_FRAME_BYTES)
        data = b"".join(frame.serialize(mask=False) for piece in pieces for frame in piece)
        reads = begin = 0
        while begin < len(data):
            end = begin + cuts[reads % len(cuts)]
            reads += 1
            if reads in pauses:
                websocket.pause()
            websocket.data_received(data[begin:end])
            begin = end
            if reads in pauses:
                websocket.resume()
        assert listener.frames == [
            b"".join(frame.data for frame in piece) for piece in pieces if piece[0].opcode is not Opcode.PONG
        ]
        assert listener.pongs == sum(piece[0].opcode is Opcode.PONG for piece in pieces)

    asyncio.run(scenario())
