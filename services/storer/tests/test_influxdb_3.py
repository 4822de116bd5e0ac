"""What is said where FAIRPRICE_STORE_URL names an InfluxDB 3, which new users get by the image's tag `latest`.

The server here answers as InfluxDB 3 Core 3.11 does (its source and documentation): version and edition in the headers
of `/ping` only, a token for `/ping` too, an empty body with 401, writes of version 2 taken (an empty one refused), and
nothing else of version 2 there.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import preloaded
import pytest
from aiohttp import web
from amqp_node import Node
from exchange_data import price
from pydantic import SecretStr
from tables import each_row

from fairprice.errors import StoreUnavailable
from fairprice.store_address import InfluxAddress
from storer.influx_version import another_version, named_major
from storer.measurements import fair_price_point
from storer.stores.influxdb import SLOWLY, open_influxdb

TOKEN = "apiv3_right"
POINT = fair_price_point(price(1))
WHAT_IT_IS = (
    "is InfluxDB 3 Core (version 3.11.2); Fairprice needs InfluxDB 2, as in the container image influxdb:2; the image's"
    " tag `latest` is version 3"
)
PERHAPS = "it wants a token for /ping too, which InfluxDB 3 does and InfluxDB 2 does not: Fairprice needs InfluxDB 2"


class Core3:
    """The server, and what was written to it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") not in {f"Token {TOKEN}", f"Bearer {TOKEN}"}:
            return web.Response(status=401)
        if request.path == "/ping" and request.method == "GET":
            headers = {"x-influxdb-version": "3.11.2", "x-influxdb-build": "Core"}
            return web.json_response({"version": "3.11.2", "revision": "a", "process_id": "b"}, headers=headers)
        if request.path == "/api/v2/write" and request.method == "POST":
            lines = (await request.read()).splitlines()
            self.lines += lines
            return web.Response(status=204) if lines else web.Response(status=400, text="empty write")
        return web.Response(status=404, text="not found")


@asynccontextmanager
async def serving(answer) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


@pytest.fixture
async def core3() -> AsyncIterator[Core3]:
    server = Core3()
    async with serving(server.answer) as server.url:
        yield server


@asynccontextmanager
async def store_at(url: str, token: str = TOKEN):
    store = open_influxdb(InfluxAddress(url, "market", "ticks"), SecretStr(token))
    try:
        yield store
    finally:
        await store.close()


async def storer(command: str, url: str, token: str, broker: str = "amqp://127.0.0.1:1") -> tuple[int, str]:
    """Run the command; return its exit code and everything that it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")} | {
        "FAIRPRICE_STORE_URL": f"influxdb://{url.removeprefix('http://')}?org=market&bucket=ticks",
        "FAIRPRICE_STORE_TOKEN": token,
        "FAIRPRICE_BROKER_URL": broker,
    }
    done = await asyncio.to_thread(preloaded.run, "storer", command, environ=environ)
    return done.returncode, done.stdout + done.stderr


async def test_the_storer_keeps_everything_and_says_what_the_server_is(core3):
    async with store_at(core3.url) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as raised:
                await store.write([POINT])
            assert str(raised.value) == f"InfluxDB at {core3.url} {WHAT_IT_IS}"
            assert raised.value.retry_after == SLOWLY
    assert core3.lines == []


async def test_a_refused_token_does_not_hide_what_the_server_is(core3):
    async with store_at(core3.url, "wrong") as store:
        with pytest.raises(StoreUnavailable, match=f"answered 401.*FAIRPRICE_STORE_TOKEN.*; or {PERHAPS}"):
            await store.ping()


@pytest.mark.slow
async def test_check_says_what_the_server_is(core3):
    async with Node().serving() as broker:
        code, output = await storer("check", core3.url, TOKEN, broker.url)
    assert code == 1
    assert f"InfluxDB at {core3.url} {WHAT_IT_IS}" in output


@pytest.mark.slow
async def test_provision_says_what_the_server_is_in_one_line(core3):
    assert await storer("provision", core3.url, TOKEN) == (2, f"error: InfluxDB at {core3.url} {WHAT_IT_IS}\n")
    code, output = await storer("provision", core3.url, "wrong")
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"error: InfluxDB at {core3.url} refuses the token; {PERHAPS}")


@pytest.mark.slow
async def test_provision_refuses_an_influxdb_1_in_words():
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=204, headers={"X-Influxdb-Version": "1.12.4", "X-Influxdb-Build": "OSS"})

    async with serving(answer) as url:
        code, output = await storer("provision", url, "user:password")
        assert code == 2
        assert output.startswith(f"error: InfluxDB at {url} is InfluxDB 1 (version 1.12.4); Fairprice needs InfluxDB 2")


@pytest.mark.slow
async def test_provision_says_that_a_server_is_still_starting():
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "starting"}, status=503, headers={"X-Influxdb-Version": "v2.10.0"})

    async with serving(answer) as url:
        text = f"error: InfluxDB at {url} is still starting; it is up when it answers /ping with 204\n"
        assert await storer("provision", url, "right") == (2, text)


async def test_another_database_that_takes_writes_is_let_alone():
    taken: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        taken.append(await request.read())
        return web.Response(status=204, headers={"X-Influxdb-Version": "1.8.0"})

    async with serving(answer) as url, store_at(url) as store:
        assert await store.write([POINT]) == []
        assert await store.write([POINT]) == []
    assert [bool(body) for body in taken] == [False, True, True], "it is asked once for its version"


async def test_the_version_is_asked_for_again_after_the_server_was_lost(core3):
    servers = ["2", "lost"]

    async def answer(request: web.Request) -> web.StreamResponse:
        if servers[-1] == "3":
            return await core3.answer(request)
        if request.path == "/ping":
            return web.Response(status=204, headers={"X-Influxdb-Version": "v2.9.1", "X-Influxdb-Build": "OSS"})
        if len(servers) == 2:
            servers.append("2")
            return web.Response(status=204)
        assert request.transport
        request.transport.close()
        return web.Response()

    async with serving(answer) as url, store_at(url) as store:
        assert await store.write([POINT]) == []
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.write([POINT])
        servers.append("3")
        with pytest.raises(StoreUnavailable, match="is InfluxDB 3 Core"):
            await store.write([POINT])


@each_row(
    ("version", "major"),
    [("v2.7.12", 2), ("2.9.1", 2), ("3.11.2", 3), ("1.8.10", 1), ("dev", None), ("", None), ("20", None)],
)
def test_the_major_version_is_read_where_there_is_one(version, major):
    assert named_major({"X-Influxdb-Version": version}) == major


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"X-Influxdb-Version": "3.2.0", "X-Influxdb-Build": "Enterprise"}, "InfluxDB 3 Enterprise (version 3.2.0)"),
        ({"X-Influxdb-Version": "v1.12.4", "X-Influxdb-Build": "OSS"}, "InfluxDB 1 (version 1.12.4)"),
        ({"X-Influxdb-Version": "3.0.0"}, "InfluxDB 3 (version 3.0.0)"),
    ],
)
def test_a_server_is_named_by_version_and_edition(headers: Mapping[str, str], name):
    assert another_version(headers).startswith(f"is {name}; Fairprice needs")
