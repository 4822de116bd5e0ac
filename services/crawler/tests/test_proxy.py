"""Which proxy leads where, and the way through real ones; names that only the proxy knows show that it was used."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import structlog
from aiohttp import web
from clocks import ManualClock, settle
from tables import each_row
from waiting import soon
from websockets.asyncio.server import serve

from crawler.proxy import Proxy, choose, parse, proxies, session
from crawler.streams import Streams
from crawler.venues.port import Limits
from crawler.websocket import open_websocket
from fairprice.errors import ExchangeUnavailable, SettingsError

HIDDEN = "exchange.hidden.example"
"""A name that nothing but the proxies of these tests can resolve."""

HTTPS = "https://api.exchange.example/api"
WSS = "wss://stream.exchange.example/stream"
HTTP = "http://api.exchange.example/api"
WS = "ws://stream.exchange.example:9443/stream"


def chosen(address, **environ):
    proxy = choose(environ, address)
    return str(proxy) if proxy else None


@each_row(
    ("address", "environ", "expected"),
    [
        (HTTPS, {}, None),
        (HTTPS, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        (WSS, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        (HTTP, {"HTTPS_PROXY": "http://p:3128"}, None),
        (WS, {"HTTPS_PROXY": "http://p:3128"}, None),
        (HTTP, {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        (WS, {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        (WSS, {"HTTP_PROXY": "http://p:3128"}, None),
        (WSS, {"ALL_PROXY": "socks5://p:1080"}, "socks5://p:1080"),
        (WSS, {"ALL_PROXY": "socks5://p:1080", "HTTPS_PROXY": "http://q:3128"}, "http://q:3128"),
        (WSS, {"all_proxy": "socks5h://p"}, "socks5h://p:1080"),
        (WSS, {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "http://low:1"),
        (WSS, {"HTTPS_PROXY": " ", "ALL_PROXY": "http://p"}, "http://p:80"),
        (WSS, {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        (WSS, {"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
    ],
)
def test_the_variable_of_the_scheme_chooses_else_the_one_for_all(address, environ, expected):
    assert chosen(address, **environ) == expected


@each_row(
    ("exemptions", "is_exempt"),
    [
        ("stream.exchange.example", True),
        ("exchange.example", True),
        (".exchange.example", True),
        ("*.exchange.example", True),
        ("EXCHANGE.example", True),
        ("other.example, exchange.example", True),
        ("other.example exchange.example", True),
        ("*", True),
        ("exchange.example:443", True),
        ("exchange.example:9443", False),
        ("change.example", False),
        ("exchange.example.org", False),
        ("api.exchange.example", False),
        (",", False),
        (".", False),
    ],
)
def test_no_proxy_exempts_hosts_domains_and_ports(exemptions, is_exempt):
    environ = {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": exemptions}
    assert (chosen(WSS, **environ) is None) == is_exempt
    assert (chosen(WSS, HTTPS_PROXY="http://p:3128", no_proxy=exemptions) is None) == is_exempt


@each_row(
    ("host", "exemptions", "is_exempt"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[fd00::7]", "fd00::/8", True),
        ("[fd00::7]", "fd00::7", True),
        ("[fd00::7]", "[fd00::7]:443", True),
        ("10.1.2.3", "no/network", False),
        ("name.example", "10.0.0.0/8", False),
    ],
)
def test_no_proxy_exempts_networks(host, exemptions, is_exempt):
    assert (chosen(f"https://{host}/", HTTPS_PROXY="http://p:3128", NO_PROXY=exemptions) is None) == is_exempt


@pytest.mark.parametrize("host", ["localhost", "sim.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_loopback_never_goes_through_a_proxy(host):
    environ = {"HTTPS_PROXY": "http://p:3128", "HTTP_PROXY": "http://p:3128", "ALL_PROXY": "socks5://p"}
    assert chosen(f"wss://{host}:9000/stream", **environ) is None
    assert chosen(f"http://{host}:9000", **environ) is None


@each_row(
    ("value", "text"),
    [
        ("socks4://p:1080", "HTTPS_PROXY names a proxy of the kind socks4://"),
        ("https://p:443", "kind https://"),
        ("ftp://p", "kind ftp://"),
        ("http://", "names no host"),
        ("socks5://:1080", "names no host"),
        ("http://p:port", "no address of a proxy"),
        ("http://[p", "no address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_an_error_at_the_start(value, text):
    with pytest.raises(SettingsError, match=text):
        Streams(
            Plain(),
            "wss://exchange.example",
            ["A"],
            sink=print,
            pause=None,
            clock=ManualClock(),
            back_off=lambda: iter(()),
            proxy=proxies({"HTTPS_PROXY": value}),
        )


def test_user_and_password_are_read_and_never_shown():
    proxy = parse("HTTPS_PROXY", "http://me%40work:se%3Acret@proxy.example:3128")
    assert proxy == Proxy("http", "proxy.example", 3128, "me@work", "se:cret")
    assert str(proxy) == "http://proxy.example:3128"
    assert "cret" not in repr(proxy)
    with pytest.raises(SettingsError) as error:
        parse("HTTPS_PROXY", "socks4://me:secret@proxy.example")
    assert "secret" not in str(error.value)


# Real proxies


class Plain:
    """As much of a venue as streams need to be made."""

    limits = Limits(weight=1, attempts=60, messages=5, streams=10)
    max_age = 1000.0
    ping_interval = 20.0

    def stream_address(self, url):
        return url

    def streams(self, symbol):
        return [symbol]

    def subscription(self, names, request_id):
        return "subscribe"

    def decoder(self, symbols):
        class Nothing:
            def peek(self, frame):
                return None

            decode = peek

        return Nothing()


class ProxyServer:
    """Speaks HTTP CONNECT or SOCKS5 and knows one name, which is this machine; remembers what it was asked for."""

    def __init__(self, kind, *, user=None, hangs=False, refuses=False):
        self.kind = kind
        self.user = user
        self.hangs = hangs
        self.refuses = refuses
        self.asked = []
        self.handlers = []
        self.connected = asyncio.Event()

    async def serve(self, reader, writer):
        self.handlers.append(asyncio.current_task())
        self.connected.set()
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def close(self):
        for handler in self.handlers:
            handler.cancel()
        await asyncio.gather(*self.handlers, return_exceptions=True)
        await settle()

    async def _serve(self, reader, writer):
        if self.hangs:
            await reader.read()
            return
        target = await (self._http(reader, writer) if self.kind == "http" else self._socks(reader, writer))
        if target:
            await self._pipe(reader, writer, target)

    async def _http(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(maxsplit=2)
        assert method == "CONNECT"
        self.asked.append(target)
        if self.refuses or (self.user and "Proxy-Authorization: Basic bWU6c2VjcmV0" not in head):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return target.rpartition(":")[::2]

    async def _socks(self, reader, writer):
        version, count = await reader.readexactly(2)
        assert version == 5
        methods = await reader.readexactly(count)
        method = 2 if self.user else 0
        assert method in methods
        writer.write(bytes([5, method]))
        if self.user:
            await self._socks_login(reader, writer)
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "a name, not an address: it is resolved here"
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{host}:{port}")
        writer.write(bytes([5, 5 if self.refuses else 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        return None if self.refuses else (host, port)

    async def _socks_login(self, reader, writer):
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        assert (user, password) == (b"me", b"secret")
        writer.write(b"\x01\x00")

    async def _pipe(self, reader, writer, target):
        host, port = target
        assert host == HIDDEN
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))

        async def copy(source, sink):
            try:
                with suppress(OSError):
                    while data := await source.read(65536):
                        sink.write(data)
                        await sink.drain()
            finally:
                sink.close()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


@asynccontextmanager
async def proxy_server(kind, **options):
    proxy = ProxyServer(kind, **options)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    scheme = "http" if kind == "http" else "socks5"
    login = "me:secret@" if proxy.user else ""
    environ = {"HTTP_PROXY": f"{scheme}://{login}127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    try:
        yield proxy, environ
    finally:
        server.close()
        await proxy.close()


KINDS = pytest.mark.parametrize("kind", ["http", "socks"])
LOGINS = pytest.mark.parametrize("user", [None, "me"])


class Listener:
    def __init__(self):
        self.frames = asyncio.Queue()

    def receive_frame(self, frame):
        self.frames.put_nowait(frame)

    def receive_pong(self):
        pass

    def receive_end(self, reason):
        pass


@KINDS
@LOGINS
async def test_the_stream_goes_through_the_proxy_which_resolves_the_name(kind, user):
    async def handler(connection):
        await connection.send("hello")
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0) as server, proxy_server(kind, user=user) as (proxy, environ):
        port = server.sockets[0].getsockname()[1]
        address = f"ws://{HIDDEN}:{port}/stream"
        listener = Listener()
        websocket = await open_websocket(address, listener, proxy=choose(environ, address))
        assert await soon(listener.frames.get()) == b"hello"
        assert proxy.asked == [f"{HIDDEN}:{port}"]
        websocket.abort()
        await websocket.closed


@KINDS
async def test_tls_goes_through_the_proxy_to_the_exchange_itself(kind, certificate):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    trusting = ssl.create_default_context(cafile=certificate / "certificate.pem")

    async def handler(connection):
        await connection.send("secret")
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0, ssl=server_side) as server, proxy_server(kind) as (proxy, environ):
        address = f"wss://{HIDDEN}:{server.sockets[0].getsockname()[1]}/stream"
        listener = Listener()
        way = choose({"ALL_PROXY": environ["HTTP_PROXY"]}, address)
        websocket = await open_websocket(address, listener, proxy=way, tls=trusting)
        assert await soon(listener.frames.get()) == b"secret"
        assert len(proxy.asked) == 1
        websocket.abort()
        await websocket.closed


@KINDS
@LOGINS
async def test_requests_go_through_the_proxy_which_resolves_the_name(kind, user):
    async def body(_request):
        return web.json_response({"lastUpdateId": 7})

    application = web.Application()
    application.router.add_get("/depth", body)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with proxy_server(kind, user=user) as (proxy, environ):
        address = f"http://{HIDDEN}:{port}"
        with structlog.testing.capture_logs() as logs:
            async with (
                session(address, choose(environ, address)) as requests,
                requests.get(f"{address}/depth") as answer,
            ):
                assert await answer.json() == {"lastUpdateId": 7}
        assert proxy.asked == [f"{HIDDEN}:{port}"]
        assert len(logs) == 1
        assert "secret" not in str(logs)
    await runner.cleanup()


def absent(kind):
    """Return a proxy at a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Proxy(kind, "127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_request_by_way_of_a_proxy_that_is_not_there_fails_like_any_other(kind):
    address = f"http://{HIDDEN}/depth"
    async with session(address, absent(kind)) as requests:
        with pytest.raises(aiohttp.ClientConnectionError, match="the proxy does not lead there"):
            await requests.get(address)


@KINDS
async def test_a_request_that_a_proxy_refuses_fails_like_any_other(kind):
    async with proxy_server(kind, refuses=True) as (_, environ):
        address = f"http://{HIDDEN}/depth"
        async with session(address, choose(environ, address)) as requests:
            with pytest.raises(aiohttp.ClientConnectionError, match="the proxy does not lead there"):
                await requests.get(address)


async def test_without_a_proxy_a_session_goes_the_direct_way():
    async with session("http://127.0.0.1", None) as requests:
        assert type(requests.connector) is aiohttp.TCPConnector


@KINDS
async def test_a_proxy_that_refuses_is_told_by_its_name(kind):
    async with proxy_server(kind, refuses=True) as (_, environ):
        address = f"ws://{HIDDEN}:9000/stream"
        proxy = choose(environ, address)
        with pytest.raises(ExchangeUnavailable, match=f"by way of {proxy}"):
            await open_websocket(address, Listener(), proxy=proxy)


async def test_a_proxy_that_is_not_there_is_told_by_its_name():
    proxy = absent("socks5")
    with pytest.raises(ExchangeUnavailable, match=f"by way of {proxy}"):
        await open_websocket(f"ws://{HIDDEN}/stream", Listener(), proxy=proxy)


@KINDS
async def test_a_proxy_that_hangs_is_given_up_in_time_and_tried_again(kind):
    clock = ManualClock()
    async with proxy_server(kind, hangs=True) as (proxy, environ):
        streams = Streams(
            Plain(),
            f"ws://{HIDDEN}:9000",
            ["A"],
            sink=print,
            pause=None,
            clock=clock,
            back_off=lambda: iter([1.0] * 9),
            connections=1,
            proxy=proxies(environ),
        )
        with structlog.testing.capture_logs() as logs:
            run = asyncio.create_task(streams.run())
            await soon(proxy.connected.wait())
            proxy.connected.clear()
            await clock.until(proxy.connected.is_set, within=12.0, step=0.5)
            run.cancel()
            await asyncio.wait({run})
        reasons = [entry["reason"] for entry in logs if entry["log_level"] == "warning"]
        assert len(reasons) == 1
        assert "no answer within 10 s" in reasons[0]
        assert "by way of" in reasons[0]
        assert logs[0]["proxy"] == str(proxies(environ)(f"ws://{HIDDEN}"))
