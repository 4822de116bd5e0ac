"""The InfluxDB store against a scripted server, for replies that a real one cannot be made to give."""

import asyncio
import gzip
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from exchange_data import price
from pydantic import SecretStr
from waiting import PATIENCE

from fairprice.errors import StoreUnavailable
from fairprice.store_address import InfluxAddress
from storer.line_protocol import encode
from storer.measurements import fair_price_point
from storer.stores import influxdb
from storer.stores.influxdb import open_influxdb

POINTS = [fair_price_point(price(number)) for number in range(1, 9)]

Reply = web.Response | Callable[[web.Request], object] | None
"""None keeps the lines and answers as InfluxDB does."""


class ScriptedServer:
    """Gives the replies of its script one after the other, then stores for ever."""

    def __init__(self, *script: Reply) -> None:
        self.script = list(script)
        self.requests: list[list[bytes]] = []
        self.stored: set[bytes] = set()
        self.headers: list[object] = []
        self.query: dict[str, str] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        lines = body.splitlines()
        self.requests.append(lines)
        self.headers.append(request.headers)
        self.query = dict(request.query)
        reply = self.script.pop(0) if self.script else None
        if callable(reply):
            reply = await reply(self, request, lines)
        if reply is None:
            self.stored |= set(lines)
            return web.Response(status=204)
        return reply


@asynccontextmanager
async def scripted(*script: Reply, patience: float = PATIENCE, compress: bool = False):
    server = ScriptedServer(*script)
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/api/v2/write", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = site.name
    store = open_influxdb(
        InfluxAddress(site.name, "market", "ticks"), SecretStr("t"), timeout=patience, compress=compress
    )
    try:
        yield server, store
    finally:
        await store.close()
        await runner.cleanup()


def told(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"code": "x", "message": message}, status=status, headers=headers)


def dropped(number: int) -> web.Response:
    return told(
        422, f"failure writing points to database: partial write: field type conflict: input field dropped={number}"
    )


def too_large(most: int) -> Callable[..., object]:
    async def reply(_server, _request, lines):
        return told(413, "request too large") if sum(map(len, lines)) > most else None

    return reply


async def stored_then_cut(server, request, lines):
    server.stored |= set(lines)
    request.transport.close()
    await asyncio.sleep(0.05)


async def never(_server, _request, _lines):
    await asyncio.sleep(3600)


def lines(points=POINTS) -> set[bytes]:
    return {encode(point) for point in points}


async def test_a_write_is_one_request_with_everything_that_influxdb_needs():
    async with scripted() as (server, store):
        assert await store.write(POINTS) == []
    assert server.requests == [[encode(point) for point in POINTS]]
    assert server.query == {"org": "market", "bucket": "ticks", "precision": "us"}
    assert server.headers[0]["Authorization"] == "Token t"


async def test_compressed_lines_are_the_same_lines():
    async with scripted(compress=True) as (server, store):
        await store.write(POINTS)
    assert server.headers[0]["Content-Encoding"] == "gzip"
    assert server.stored == lines()


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (told(429, "slow down", **{"Retry-After": "7"}), 7),
        (told(503, "overloaded", **{"Retry-After": "2"}), 2),
        (told(503, "overloaded", **{"Retry-After": "86400"}), influxdb.LONGEST_RETRY_AFTER),
        (told(503, "overloaded", **{"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), None),
        (told(503, "overloaded", **{"Retry-After": "-1"}), None),
        (told(500, "engine: cache maximum memory size exceeded"), None),
        (web.Response(status=502, text="<html>Bad gateway</html>"), None),
        (told(408, "request timeout"), None),
        (web.Response(status=429), None),
    ],
)
async def test_a_server_that_is_in_trouble_is_asked_again_when_it_wants(reply, wait):
    async with scripted(reply) as (server, store):
        with pytest.raises(StoreUnavailable, match=f"InfluxDB at {server.url} answered {reply.status}: ") as raised:
            await store.write(POINTS)
        assert raised.value.retry_after == wait
        assert server.stored == set()
        assert await store.write(POINTS) == []
    assert server.requests[0] == server.requests[1]
    assert server.stored == lines()


@pytest.mark.parametrize(
    "reply",
    [
        told(400, "invalid precision; valid precision units are ns, us, ms, and s"),
        web.Response(status=400, text="Bad Request"),
        told(422, "the moon is full"),
        web.Response(status=301, headers={"Location": "http://127.0.0.1:9/"}),
        web.Response(status=405),
        web.Response(status=407),
        web.Response(status=200, text="<html>Welcome to nginx!</html>"),
        web.Response(status=202),
    ],
    ids=lambda reply: str(reply.status),
)
async def test_a_reply_that_is_not_about_lines_blames_none_of_them(reply):
    async with scripted(reply) as (server, store):
        with pytest.raises(StoreUnavailable, match="see whether FAIRPRICE_STORE_URL names an InfluxDB 2") as raised:
            await store.write(POINTS)
        assert raised.value.retry_after == influxdb.SLOWLY
        assert len(server.requests) == 1
        assert await store.write(POINTS) == []


async def test_a_created_is_as_good_as_no_content():
    async with scripted(web.Response(status=201)) as (_, store):
        assert await store.write(POINTS) == []


async def test_a_body_that_is_too_large_is_halved_until_it_fits():
    most = max(map(len, lines())) * 3
    async with scripted(*[too_large(most)] * 20) as (server, store):
        assert await store.write(POINTS) == []
    assert [len(request) for request in server.requests] == [8, 4, 2, 2, 4, 2, 2]
    assert server.stored == lines()


async def test_a_line_that_is_too_large_alone_is_rejected_and_the_others_are_stored():
    sizes = sorted(map(len, lines()))
    batch = [*POINTS[:3], fair_price_point(price(99, status="x" * 60, estimator="y" * 60)), *POINTS[3:]]
    async with scripted(*[too_large(sizes[-1])] * 99) as (server, store):
        (rejection,) = await store.write(batch)
    assert (rejection.index, rejection.reason) == (3, "InfluxDB refused it with 413: request too large")
    assert server.stored == lines()


async def test_a_server_that_goes_away_while_bad_lines_are_searched_costs_no_good_line():
    script = [dropped(1), dropped(1), None, told(503, "shutting down"), dropped(1), dropped(1), None, dropped(1), None]
    script += [dropped(1), None]  # the first quarter is good, then the third line is the bad one
    async with scripted(*script) as (server, store):
        with pytest.raises(StoreUnavailable):
            await store.write(POINTS)
        (rejection,) = await store.write(POINTS)
        assert rejection.index == 3
    assert server.stored == lines(POINTS[:3] + POINTS[4:])


async def test_a_connection_that_is_cut_after_storing_is_written_again():
    async with scripted(stored_then_cut) as (server, store):
        with pytest.raises(StoreUnavailable, match="cannot be reached: Server disconnected"):
            await store.write(POINTS)
        assert await store.write(POINTS) == []
        assert server.requests[0] == server.requests[1]
        assert server.stored == lines()


async def test_a_server_that_never_answers_is_left_in_time():
    async with scripted(never, patience=0.2) as (server, store):
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
            await store.write(POINTS)
        while not server.stored:  # a slow machine may need more than that for a good answer, too
            with suppress(StoreUnavailable):
                assert await store.write(POINTS) == []
        assert server.stored == lines()


async def test_a_server_that_does_not_listen_is_unavailable():
    store = open_influxdb(InfluxAddress("http://127.0.0.1:1", "market", "ticks"), SecretStr("t"))
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        await store.write(POINTS)
    await store.close()


async def test_a_host_without_a_name_is_unavailable():
    store = open_influxdb(InfluxAddress("http://no-such-host.invalid:8086", "market", "ticks"), SecretStr("t"))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.write(POINTS)
    await store.close()


async def test_two_writes_may_overlap_and_a_cancelled_one_harms_no_other():
    async with scripted(never) as (server, store):
        first = asyncio.create_task(store.write(POINTS[:4]))
        while not server.requests:  # noqa: ASYNC110  the request is on its way
            await asyncio.sleep(0.001)
        assert await store.write(POINTS[4:]) == []
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await store.write(POINTS[:4]) == []
        assert server.stored == lines()
