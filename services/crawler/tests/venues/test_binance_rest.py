"""Binance's REST over a real socket: what is asked, what is made of each answer, and what waits for what."""

import asyncio
import re
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from aiohttp import web
from clocks import ManualClock
from waiting import soon

from crawler.venues.binance.venue import Binance
from crawler.venues.binance_usdm.venue import BinanceUsdm
from crawler.venues.port import SymbolStatus
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, NoSnapshotLeft, StartupError

LEVEL = ["100.0", "1.0"]
VENUES = {venue.name: venue for venue in (Binance(), BinanceUsdm())}


def depth(bids=2, asks=3, update_id=70):
    return orjson.dumps(
        {
            "lastUpdateId": update_id,
            "bids": [[f"{100 - step / 1000:.3f}", "1.0"] for step in range(bids)],
            "asks": [[f"{101 + step / 1000:.3f}", "1.0"] for step in range(asks)],
        }
    )


class Exchange:
    """Answers each request with the next of `replies`, the last one again and again; notes what was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    async def answer(self, request):
        self.asked.append(request.path_qs)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        status, body, headers = reply if isinstance(reply, tuple) else (200, reply, {})
        return web.Response(status=status, body=body, headers=headers)


@asynccontextmanager
async def served(exchange, venue=VENUES["binance"], clock=None, **options):
    app = web.Application()
    app.router.add_get("/{path:.*}", exchange.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        yield venue.rest(session, url, clock=clock or ManualClock(), **options)
    await runner.cleanup()


@pytest.mark.parametrize(
    ("venue", "levels", "asked"),
    [
        ("binance", 1000, "/api/v3/depth?symbol=BTCUSDT&limit=1000"),
        ("binance", 250, "/api/v3/depth?symbol=BTCUSDT&limit=250"),
        ("binance", 9000, "/api/v3/depth?symbol=BTCUSDT&limit=5000"),
        ("binance-usdm", 1000, "/fapi/v1/depth?symbol=BTCUSDT&limit=1000"),
        ("binance-usdm", 250, "/fapi/v1/depth?symbol=BTCUSDT&limit=500"),
        ("binance-usdm", 3, "/fapi/v1/depth?symbol=BTCUSDT&limit=5"),
        ("binance-usdm", 5000, "/fapi/v1/depth?symbol=BTCUSDT&limit=1000"),
    ],
)
async def test_a_snapshot_is_asked_for_by_what_the_market_allows(venue, levels, asked):
    exchange = Exchange(depth())
    async with served(exchange, VENUES[venue]) as rest:
        snapshot = await rest.snapshot("BTCUSDT", levels)
        assert await rest.snapshot_body("BTCUSDT", levels) == (snapshot, depth())
    assert exchange.asked == [asked] * 2
    assert (snapshot.symbol, snapshot.update_id, len(snapshot.bids), len(snapshot.asks)) == ("BTCUSDT", 70, 2, 3)


@pytest.mark.parametrize(
    ("venue", "levels", "weight"),
    [("binance", 100, 5), ("binance", 101, 25), ("binance", 1000, 50), ("binance", 5000, 250),
     ("binance-usdm", 50, 2), ("binance-usdm", 100, 5), ("binance-usdm", 500, 10), ("binance-usdm", 1000, 20)],
)  # fmt: skip
async def test_requests_beyond_the_weight_wait_for_the_next_minute(venue, levels, weight):
    exchange, clock = Exchange(depth()), ManualClock()
    async with served(exchange, VENUES[venue], clock, share=0.1) as rest:
        allowed = int(VENUES[venue].limits.weight * 0.1 * 0.8 / weight)
        for _ in range(allowed):
            await rest.snapshot("BTCUSDT", levels)
        waiting = asyncio.create_task(rest.snapshot("BTCUSDT", levels))
        await clock.advance(59.9)
        assert len(exchange.asked) == allowed
        await clock.advance(0.2)
        await waiting
    assert len(exchange.asked) == allowed + 1


@pytest.mark.parametrize(
    ("lengths", "complete"),
    [
        ((1000, 1000), (False, False)),
        ((57, 1000), (True, False)),
        ((57, 58), (True, True)),
        ((0, 3), (True, True)),
        ((0, 0), (True, True)),
        ((100, 100), (False, False)),
    ],
)
async def test_a_side_is_whole_when_it_is_shorter_than_asked_for_and_not_cut(lengths, complete):
    async with served(Exchange(depth(*lengths))) as rest:
        snapshot = await rest.snapshot("BTCUSDT", 1000)
    assert (snapshot.bids_complete, snapshot.asks_complete) == complete


async def test_a_length_that_is_met_again_and_again_is_a_cap():
    exchange = Exchange(depth(100, 40), depth(99, 100), depth(41, 100), depth(100, 42), depth(43, 42), depth(60, 200))
    sides = []
    async with served(exchange) as rest:
        for _ in range(6):
            snapshot = await rest.snapshot("BTCUSDT", 1000)
            sides.append((snapshot.bids_complete, snapshot.asks_complete))
    assert sides == [(True, True), (True, True), (True, False), (False, True), (True, True), (True, True)]


REFUSALS = [
    (500, b"", {}, ExchangeUnavailable),
    (404, b"<html>", {}, ExchangeUnavailable),
    (503, b"", {}, ExchangeUnavailable),
    (503, b'{"code":-1008,"msg":"overloaded"}', {}, ExchangeUnavailable),
    (503, b'{"code":-9001,"msg":"No snapshot of BTCUSDT is left in this recording."}', {}, NoSnapshotLeft),
    (400, b'{"code":-1121,"msg":"Invalid symbol."}', {}, InvalidMarketData),
    (400, b'{"code":-1102,"msg":"no -1121 of its own"}', {}, ExchangeUnavailable),
    (400, b"[-1121]", {}, ExchangeUnavailable),
    (451, b'{"code":0,"msg":"restricted location"}', {}, StartupError),
    (302, b"", {"Location": "https://elsewhere.example/"}, ExchangeUnavailable),
    (200, b"", {}, InvalidMarketData),
    (200, b"<html>Please wait</html>", {}, InvalidMarketData),
    (200, depth(1, 0).replace(b"[]", b'[["99.0","1.0"]]'), {}, InvalidMarketData),
]


@pytest.mark.parametrize(("status", "body", "headers", "error"), REFUSALS)
async def test_each_refusal_is_an_error_of_its_family_that_quotes_it(status, body, headers, error):
    async with served(Exchange((status, body, headers))) as rest:
        with pytest.raises(error) as refused:
            await rest.snapshot("BTCUSDT", 100)
    if status != 200:
        assert str(status) in str(refused.value)
    assert getattr(refused.value, "symbol", "BTCUSDT") == "BTCUSDT"


async def test_a_redirect_is_not_followed_and_names_where_it_leads():
    exchange = Exchange((307, b"", {"Location": "/elsewhere"}))
    async with served(exchange) as rest:
        with pytest.raises(ExchangeUnavailable, match=r"/elsewhere.*FAIRPRICE_EXCHANGE_REST_URL"):
            await rest.symbols()
    assert len(exchange.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, b"{}", {"Retry-After": "17"}, 17),
        (418, b"", {"Retry-After": "300"}, 300),
        (418, b'{"code":-1003,"msg":"IP banned until 1900000045000."}', {}, 45),
        (403, b"<html>", {}, 120),
        (429, b"", {"Retry-After": "soon"}, 120),
        (418, b"", {"Retry-After": "99999999999"}, 3 * 86400),
    ],
)
async def test_after_a_ban_all_requests_of_the_process_wait(status, body, headers, seconds):
    exchange, clock = Exchange((status, body, headers), depth()), ManualClock(wall_us=1_900_000_000_000_000)
    async with served(exchange, clock=clock) as rest:
        with pytest.raises(ExchangeUnavailable) as banned:
            await rest.snapshot("BTCUSDT", 100)
        assert banned.value.retry_after == seconds
        assert await rest.newest_update_id("ETHUSDT") is None
        waiting = asyncio.create_task(rest.snapshot("ETHUSDT", 100))
        await clock.advance(seconds - 0.1)
        assert len(exchange.asked) == 1
        await clock.advance(0.2)
        await waiting


async def test_the_weight_that_the_exchange_counts_is_told_and_kept_to():
    exchange, clock = Exchange((200, depth(), {"x-mbx-used-weight-1m": "4790"})), ManualClock()
    async with served(exchange, clock=clock) as rest:
        await rest.snapshot("BTCUSDT", 100)
        assert rest.used_weight == 4790
        waiting = asyncio.create_task(rest.snapshot("BTCUSDT", 1000))
        await clock.advance(59)
        assert len(exchange.asked) == 1
        await clock.advance(1)
        await waiting


async def test_an_exchange_that_does_not_answer_is_given_up_in_time():
    asked, silence, clock = asyncio.Event(), asyncio.Event(), ManualClock()

    class Silent(Exchange):
        async def answer(self, request):
            asked.set()
            await silence.wait()

    async with served(Silent(b""), clock=clock) as rest:
        asking = asyncio.create_task(rest.snapshot("BTCUSDT", 100))
        await soon(asked.wait())
        await clock.advance(9.9)
        assert not asking.done()
        await clock.advance(0.1)
        with pytest.raises(ExchangeUnavailable, match="no answer within 10 s"):
            await soon(asking)
        silence.set()


async def test_a_body_that_does_not_end_is_given_up_in_time():
    begun, silence, clock = asyncio.Event(), asyncio.Event(), ManualClock()

    class Halting(Exchange):
        async def answer(self, request):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(depth()[:10])
            begun.set()
            await silence.wait()
            return response

    async with served(Halting(b""), clock=clock) as rest:
        asking = asyncio.create_task(rest.symbols())
        await soon(begun.wait())
        await clock.advance(59.9)
        assert not asking.done()
        await clock.advance(0.1)
        with pytest.raises(ExchangeUnavailable, match="no answer within 60 s"):
            await soon(asking)
        silence.set()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
async def test_nobody_at_the_address_is_told_with_the_address(address):
    async with aiohttp.ClientSession() as session:
        rest = Binance().rest(session, address, clock=ManualClock())
        with pytest.raises(ExchangeUnavailable, match=re.escape(f"{address}/api/v3/exchangeInfo")):
            await rest.symbols()


INFO = {
    "rateLimits": [
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 2, "limit": 2000},
    ],
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING"},
        {"symbol": "OLDUSDT", "status": "BREAK"},
        {"symbol": "ETHUSDT"},
        {"status": "TRADING"},
        None,
    ],
}


@pytest.mark.parametrize(
    ("venue", "asked"),
    [("binance", "/api/v3/exchangeInfo?showPermissionSets=false"), ("binance-usdm", "/fapi/v1/exchangeInfo")],
)
async def test_all_symbols_are_listed_with_the_exchanges_own_word(venue, asked):
    exchange = Exchange(orjson.dumps(INFO))
    async with served(exchange, VENUES[venue]) as rest:
        assert await rest.symbols() == {
            "BTCUSDT": SymbolStatus(is_trading=True, word="TRADING"),
            "OLDUSDT": SymbolStatus(is_trading=False, word="BREAK"),
            "ETHUSDT": SymbolStatus(is_trading=True, word="TRADING"),
        }
        assert rest._weight.limit == 1000
    assert exchange.asked == [asked]


@pytest.mark.parametrize(
    "limits",
    [
        None,
        [],
        [None],
        [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE"}],
        [INFO["rateLimits"][1] | {"limit": 0}],
        [INFO["rateLimits"][1] | {"limit": "9"}],
    ],
)
async def test_limits_that_cannot_be_read_leave_the_documented_ones(limits):
    async with served(Exchange(orjson.dumps(INFO | {"rateLimits": limits}))) as rest:
        assert len(await rest.symbols()) == 3
        assert rest._weight.limit == 6000


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"symbols":{}}', b'{"symbols":[]}', b"<html>"])
async def test_a_list_of_symbols_that_is_none_may_pass(body):
    async with served(Exchange(body)) as rest:
        with pytest.raises(ExchangeUnavailable, match="lists no symbols"):
            await rest.symbols()


async def test_the_newest_id_is_asked_for_at_the_lowest_weight_and_not_too_often():
    exchange, clock = Exchange(depth(5, 5, update_id=77)), ManualClock()
    async with served(exchange, clock=clock, share=0.1) as rest:
        answers = [await rest.newest_update_id("BTCUSDT") for _ in range(6)]
        assert answers == [77] * 4 + [None] * 2, "a twentieth of 480"
        await clock.advance(60)
        assert await rest.newest_update_id("BTCUSDT") == 77
    assert set(exchange.asked) == {"/api/v3/depth?symbol=BTCUSDT&limit=5"}
