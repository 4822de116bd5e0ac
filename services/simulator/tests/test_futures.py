"""Binance USD-M futures: what differs from spot, and what must not."""

from dataclasses import replace
from itertools import pairwise

import aiohttp
import orjson
import pytest
import websockets
from driven import DrivenServer
from waiting import PATIENCE, soon

from simulator import DIALECTS, START_US, Exchange, Fault, Knobs, SimulatorServer
from simulator.limits import Limits
from simulator.rest import Request, Rest

SECOND = 1_000_000
VENUE = "binance-usdm"
DEPTH = "btcusdt@depth@100ms"


@pytest.fixture
def exchange():
    knobs = replace(DIALECTS[VENUE].knobs, snapshot_lags_ms=(0,))
    exchange = Exchange(("BTCUSDT", "HALTUSDT"), venue=VENUE, knobs=knobs)
    exchange.frames(START_US + SECOND)
    return exchange


def get(exchange, path, **parameters):
    rest = Rest(exchange, Limits(exchange.knobs), exchange.knobs)
    return rest.answer(Request(path, [*parameters.items()], {}, "10.0.0.1", exchange.now_us))


def events(frames, kind):
    return [orjson.loads(frame.payload) for frame in frames if frame.kind == kind]


@pytest.mark.parametrize(
    ("limit", "levels", "weight"),
    [
        (None, 500, 10), ("5", 5, 2), ("10", 10, 2), ("20", 20, 2), ("50", 50, 2), ("100", 100, 5), ("500", 500, 10),
        ("1000", 1000, 20),
    ],
)  # fmt: skip
def test_depth_gives_the_levels_asked_for_at_their_weight_and_tells_the_time(exchange, limit, levels, weight):
    reply = get(exchange, "/fapi/v1/depth", symbol="BTCUSDT", **({"limit": limit} if limit else {}))
    body = orjson.loads(reply.body)
    assert list(body) == ["lastUpdateId", "E", "T", "bids", "asks"]
    assert len(body["bids"]) == levels
    assert body["E"] == exchange.now_us // 1000
    assert reply.headers["x-mbx-used-weight-1m"] == str(weight)


@pytest.mark.parametrize("limit", ["1", "101", "5000"])
def test_other_limits_are_refused(exchange, limit):
    reply = get(exchange, "/fapi/v1/depth", symbol="BTCUSDT", limit=limit)
    assert (reply.status, orjson.loads(reply.body)["code"]) == (400, -4021)


def test_exchange_info_is_whole_whatever_was_asked_for(exchange):
    info = orjson.loads(get(exchange, "/fapi/v1/exchangeInfo", symbols='["NOPE"]').body)
    symbols = {one["symbol"]: one for one in info["symbols"]}
    assert {name: (one["contractType"], one["status"]) for name, one in symbols.items()} == {
        "BTCUSDT": ("PERPETUAL", "TRADING"),
        "HALTUSDT": ("PERPETUAL", "SETTLING"),
    }
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400,
    }  # fmt: skip


def test_the_paths_of_the_other_market_do_not_exist(exchange):
    assert get(exchange, "/fapi/v1/ping").status == get(exchange, "/fapi/v1/time").status == 200
    assert get(exchange, "/api/v3/ping").status == get(exchange, "/fapi/v1/ping/").status == 404
    assert get(Exchange(), "/fapi/v1/depth", symbol="BTCUSDT").status == 404


@pytest.mark.slow
def test_diffs_are_chained_by_pu_while_their_first_ids_jump(exchange, naive_book):
    book = naive_book(exchange.snapshot("BTCUSDT", 10**6).body)
    diffs = events(exchange.frames(exchange.now_us + 10 * SECOND), "depth")
    assert len(diffs) == 100
    assert all(list(diff) == ["e", "E", "T", "s", "U", "u", "pu", "b", "a"] for diff in diffs)
    assert all(later["pu"] == earlier["u"] for earlier, later in pairwise(diffs))
    assert all(diff["pu"] < diff["U"] <= diff["u"] for diff in diffs)
    assert sum(diff["U"] > diff["pu"] + 1 for diff in diffs) > 30
    for number, diff in enumerate(diffs, start=1):
        if book.apply(diff) and number % 50 == 0:  # what one does wrong stays; a book of the past is dear
            assert book.equals(exchange.book_at("BTCUSDT", book.update_id))


def test_tickers_tell_the_time(exchange):
    frames = exchange.frames(exchange.now_us + SECOND)
    ticker = events(frames, "bookTicker")[-1]
    assert list(ticker) == ["e", "u", "s", "b", "B", "a", "A", "T", "E"]
    assert START_US // 1000 < ticker["E"] <= exchange.now_us // 1000
    tops = [(one["u"], one["b"], one["a"]) for one in events(frames, "bookTicker")]
    for diff in events(frames, "depth"):
        known = [top for top in tops if top[0] <= diff["u"]]
        book = exchange.book_at("BTCUSDT", diff["u"], 1)
        assert not known or known[-1][1:] == (book.bids[0][0], book.asks[0][0])


def test_faults_keep_the_chain(exchange):
    exchange.inject(Fault("overlap", after=2))
    exchange.inject(Fault("id_reset", after=5, value=10**9))
    sent = events(exchange.advance(exchange.now_us + SECOND), "depth")
    overlapping = [number for number, (one, next_one) in enumerate(pairwise(sent)) if one["pu"] == next_one["pu"]]
    reset = [number for number, (one, next_one) in enumerate(pairwise(sent)) if next_one["u"] < one["u"]]
    assert len(overlapping) == len(reset) == 1
    assert all(
        later["pu"] == earlier["u"] - (10**9 if number in reset else 0)
        for number, (earlier, later) in enumerate(pairwise(sent))
        if number not in overlapping
    )


@pytest.fixture
async def server():
    async with SimulatorServer(Exchange(("BTCUSDT",), venue=VENUE)) as server:
        yield server


def connect(server, path):
    return websockets.connect(server.stream_url + path, max_size=None, open_timeout=PATIENCE, close_timeout=PATIENCE)


async def subscribed(client):
    await client.send(orjson.dumps({"method": "SUBSCRIBE", "params": [DEPTH], "id": 1}).decode())
    while "result" not in (reply := orjson.loads(await soon(client.recv()))):
        pass
    return reply


@pytest.mark.parametrize("path", ["/public/stream", "/public/ws", f"/public/stream?streams={DEPTH}"])
async def test_depth_is_sent_on_the_public_path(server, path):
    async with connect(server, path) as client:
        if "streams=" not in path:
            assert await subscribed(client) == {"result": None, "id": 1}
        message = orjson.loads(await soon(client.recv()))
        assert message.get("data", message)["e"] == "depthUpdate"


@pytest.mark.parametrize("path", ["/stream", "/ws", "/market/stream"])
async def test_on_other_paths_a_subscription_is_acknowledged_and_silent_for_ever(server, path):
    async with connect(server, path) as client, connect(server, "/public/stream") as other:
        assert await subscribed(client) == {"result": None, "id": 1}
        await subscribed(other)
        for _ in range(3):
            await soon(other.recv())
        await client.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        assert orjson.loads(await soon(client.recv())) == {"result": [DEPTH], "id": 2}


async def test_spot_has_no_public_path():
    async with SimulatorServer(Exchange(("BTCUSDT",))) as server:
        with pytest.raises(websockets.InvalidStatus):
            await connect(server, "/public/stream")


async def test_ten_messages_a_second_are_allowed_and_a_ping_comes_each_three_minutes(server):
    assert (server.knobs.messages_per_second, server.knobs.ping_interval_s) == (10, 180.0)
    async with connect(server, "/public/stream") as client:
        for number in range(10):
            await client.send(orjson.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}).decode())
            assert orjson.loads(await soon(client.recv())) == {"result": [], "id": number}


# A status that changes, and snapshots that hold less: of both markets


@pytest.mark.parametrize(("venue", "halted"), [("binance", "BREAK"), (VENUE, "SETTLING")])
async def test_a_symbol_can_be_halted_and_resumed_while_others_go_on(venue, halted):
    exchange = Exchange(("BTCUSDT", "ETHUSDT"), venue=venue)
    rest = exchange.dialect.rest
    async with DrivenServer(exchange) as server, aiohttp.ClientSession() as session:

        async def change(status):
            document = {"symbol": "BTCUSDT", "status": status}
            async with session.post(f"{server.control_url}/symbols", json=document) as reply:
                return reply.status

        async def statuses():
            async with session.get(f"{server.rest_url}{rest}/exchangeInfo") as reply:
                return [one["status"] for one in orjson.loads(await reply.read())["symbols"]]

        assert await change(halted) == 200
        assert await statuses() == [halted, "TRADING"]
        stopped = exchange.update_ids()
        await server.clock.advance(1)
        assert exchange.update_ids()["BTCUSDT"] == stopped["BTCUSDT"]
        assert exchange.update_ids()["ETHUSDT"] > stopped["ETHUSDT"]
        assert await change("TRADING") == 200
        await server.clock.advance(1)
        assert exchange.update_ids()["BTCUSDT"] > stopped["BTCUSDT"]
        assert await change("ASLEEP") == 404


@pytest.mark.parametrize(("variant", "sides"), [("empty", (0, 0)), ("no_bids", (0, 100)), ("no_asks", (100, 0))])
def test_a_snapshot_may_lack_a_side(variant, sides):
    exchange = Exchange()
    exchange.inject(Fault("sparse_snapshot", variant=variant))
    for expected in (sides, (100, 100)):
        body = orjson.loads(exchange.snapshot("BTCUSDT").body)
        assert (len(body["bids"]), len(body["asks"])) == expected


def test_an_exchange_may_cap_its_snapshots():
    body = orjson.loads(Exchange(knobs=Knobs(most_levels=100)).snapshot("BTCUSDT", 1000).body)
    assert (len(body["bids"]), len(body["asks"])) == (100, 100)
