import math
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import orjson
import pytest
from waiting import patience

from fairprice.messages import encode
from gateway.audience import BACKLOG, MAX_LISTENERS, Audience, Listener
from gateway.instrument import PATIENCE
from gateway.key import Key


async def frames(socket, count):
    async with patience():
        return [orjson.loads(await socket.receive_str()) for _ in range(count)]


async def welcome(socket, count):
    """Return what comes first, after the health of the pipeline."""
    health, *rest = await frames(socket, 1 + count)
    assert health == {"type": "health", "problems": {}}
    return rest


async def until_price(socket, price):
    """Return the frames up to that price."""
    received = []
    async with patience():
        while not received or received[-1].get("update_id") != price.update_id or received[-1]["type"] != "price":
            received.append(orjson.loads(await socket.receive_str()))
    return received


async def of_type(socket, kind):
    async with patience():
        while (frame := orjson.loads(await socket.receive_str()))["type"] != kind:
            pass
    return frame


async def test_the_newest_price_of_each_symbol_comes_first_then_each_new_one(gateway, make):
    await gateway.publish(make.price(1), make.price(2), make.price(1, "ETHUSDT"))
    async with gateway.listen() as socket:
        first = await welcome(socket, 4)
        assert [(frame["type"], frame["symbol"]) for frame in first] == [
            ("price", "BTCUSDT"), ("feed", "BTCUSDT"), ("price", "ETHUSDT"), ("feed", "ETHUSDT"),
        ]  # fmt: skip
        assert first[0]["update_id"] == make.price(2).update_id
        assert first[1]["state"] == "live"
        await gateway.publish(make.price(3), make.price(4))
        received = [await of_type(socket, "price"), await of_type(socket, "price")]
        assert received == [orjson.loads(encode(make.price(step))) for step in (3, 4)]


async def test_symbols_limit_what_comes_and_one_not_yet_seen_waits(gateway, make):
    await gateway.publish(make.price(1), make.price(1, "ETHUSDT"))
    async with gateway.listen("?symbols=ethusdt,SOLUSDT") as socket:
        first = await welcome(socket, 3)
        assert [(frame["type"], frame["symbol"]) for frame in first] == [
            ("price", "ETHUSDT"), ("feed", "ETHUSDT"), ("feed", "SOLUSDT"),
        ]  # fmt: skip
        assert first[2]["state"] == "waiting"
        await gateway.publish(make.price(2), make.price(1, "SOLUSDT"))
        assert (await of_type(socket, "price"))["symbol"] == "SOLUSDT"


async def test_a_gap_is_told_at_once_and_counted_in_the_feed(gateway, make):
    await gateway.publish(make.price(1))
    async with gateway.listen() as socket:
        await welcome(socket, 2)
        await gateway.publish(make.gap(2))
        assert await of_type(socket, "gap") == orjson.loads(encode(make.gap(2)))
        await gateway.beat()
        assert (await of_type(socket, "feed"))["gaps"] == 1


async def test_books_come_on_request_only_and_the_last_of_a_burst_always(gateway, make):
    await gateway.publish(make.price(1), make.book(1))
    async with gateway.listen("?books=1") as greedy, gateway.listen() as modest:
        assert (await of_type(greedy, "book"))["update_id"] == make.book(1).update_id
        for step in range(2, 52):
            await gateway.publish(make.book(step))
        await gateway.beat()
        assert (await of_type(greedy, "book"))["update_id"] == make.book(51).update_id
        await gateway.beat()
        await gateway.publish(make.price(60))
        assert (await of_type(greedy, "price"))["update_id"] == make.price(60).update_id
        await gateway.beat()
        await gateway.publish(make.price(61))
        rest = [frame["type"] for frame in await until_price(greedy, make.price(61))]
        assert "book" not in rest  # the same book is not sent again
        assert "book" not in {frame["type"] for frame in await until_price(modest, make.price(61))}


async def moment_of(socket, price):
    """Return the next moment of that update; all on the way are of one update each."""
    while (moment := await of_type(socket, "moment"))["update_id"] != price.update_id:
        check(moment)
    return check(moment)


def check(moment):
    assert moment["price"]["update_id"] == moment["update_id"]
    assert moment["book"] is None or moment["book"]["update_id"] == moment["update_id"]
    return moment


async def test_a_moment_is_a_price_with_the_very_book_that_it_was_made_of(gateway, make):
    await gateway.publish(make.price(1), make.book(1))
    await gateway.publish(make.book(2))  # its price is still under way
    async with gateway.listen("?moments=1") as socket:
        moment = await moment_of(socket, make.price(1))
        assert moment["price"] == orjson.loads(encode(make.price(1)))
        assert moment["book"] == orjson.loads(encode(make.book(1)))
        await gateway.publish(make.price(2), make.price(3), make.book(4))
        await gateway.beat()
        assert (await moment_of(socket, make.price(2)))["book"] == orjson.loads(encode(make.book(2)))
        await gateway.publish(make.price(4))
        await gateway.beat()
        assert (await moment_of(socket, make.price(4)))["book"] == orjson.loads(encode(make.book(4)))


async def test_a_moment_has_no_book_only_when_prices_have_had_none_for_a_while(gateway, make):
    await gateway.publish(make.price(1), make.book(1))
    async with gateway.listen("?moments=1") as socket:
        assert (await moment_of(socket, make.price(1)))["book"] is not None
        await gateway.publish(make.price(2))
        await gateway.clock.advance(PATIENCE)
        assert (await moment_of(socket, make.price(2)))["book"] is None
        await gateway.publish(make.book(3), make.price(3))
        await gateway.beat()
        assert (await moment_of(socket, make.price(3)))["book"] is not None


async def test_a_book_that_cannot_be_read_makes_a_moment_without_one(gateway, make):
    await gateway.publish(replace(make.book(1), bids=[["x", "1"]]), make.price(1))
    async with gateway.listen("?moments=1") as socket:
        assert (await moment_of(socket, make.price(1)))["book"] is None


async def test_a_run_that_begins_anew_begins_with_moments_of_its_own(serving, make):
    async with serving(limits={"new_run_after": 0.5}) as gateway:
        await gateway.publish(make.book(500), make.price(500))
        async with gateway.listen("?moments=1") as socket:
            assert (await moment_of(socket, make.price(500)))["book"] is not None
            for step in range(1, 6):
                await gateway.publish(make.book(step), make.price(step))
                await gateway.beat()
            assert (await moment_of(socket, make.price(5)))["book"] is not None


async def test_a_feed_that_falls_silent_is_told_and_so_is_its_return(gateway, make):
    await gateway.publish(make.price(1))
    async with gateway.listen() as socket:
        assert (await of_type(socket, "feed"))["state"] == "live"
        await gateway.clock.advance(6)
        while (feed := await of_type(socket, "feed"))["state"] != "stale":
            pass
        assert 5 <= feed["age_seconds"] < 5.3
        await gateway.publish(make.price(2))
        await gateway.beat()
        assert (await of_type(socket, "feed"))["state"] == "live"


@pytest.mark.parametrize(
    ("query", "venues"),
    [
        ("btcusdt", ["binance", "binance-usdm"]),
        ("binance-usdm:BTCUSDT", ["binance-usdm"]),
        ("binance.btcusdt", ["binance"]),
    ],
)
async def test_a_wish_names_a_symbol_at_every_venue_or_at_one(gateway, make, query, venues):
    both = [make.price(1, venue=venue) for venue in ("binance", "binance-usdm")]
    await gateway.publish(*both)
    async with gateway.listen(f"?symbols={query}") as socket:
        first = await welcome(socket, 2 * len(venues))
        assert [frame["venue"] for frame in first if frame["type"] == "price"] == venues
        await gateway.publish(*(make.price(2, venue=venue) for venue in ("binance", "binance-usdm")))
        assert [(await of_type(socket, "price"))["venue"] for _ in venues] == venues


async def test_a_halt_is_told_with_the_word_of_the_exchange_and_so_is_a_problem(gateway, make):
    await gateway.publish(make.price(1))
    async with gateway.listen() as socket:
        await welcome(socket, 2)
        await gateway.publish(make.status("HALT"))
        await gateway.beat()
        assert (await of_type(socket, "feed"))["exchange_status"] == "HALT"
        await gateway.publish(make.status(problem="nothing to compare with for a minute"))
        await gateway.beat()
        feed = await of_type(socket, "feed")
        assert (feed["state"], feed["problem"]) == ("live", "nothing to compare with for a minute")


async def test_trouble_of_the_pipeline_is_told_and_so_is_its_end(serving):
    problems = {"store": None}
    checks = {"store": lambda: problems["store"], "broker": lambda: None}
    async with serving(checks=checks) as gateway, gateway.listen() as socket:
        await welcome(socket, 0)
        for problem in ("the disk is full", None):
            problems["store"] = problem
            await gateway.beat()
            assert (await of_type(socket, "health"))["problems"] == ({"store": problem} if problem else {})


@pytest.mark.parametrize(
    "query",
    [
        "?books=yes",
        "?moments=2",
        "?symbols=" + ",".join(["A"] * 201),
        "?symbols=" + "A" * 130,
        "?symbols=binance/BTCUSDT",
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_in_json(gateway, query):
    answer, problem = await gateway.get(f"/ws{query}")
    assert answer.status == 400
    assert "must be" in problem["error"]


async def test_too_many_listeners_are_sent_away_with_a_reason(serving):
    async with serving(limits={"max_listeners": 1}) as gateway, gateway.listen():
        answer, problem = await gateway.get("/ws")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "10"
        assert "as many listeners as it takes" in problem["error"]


@pytest.mark.rounds
@pytest.mark.slow(seconds=3)
async def test_of_a_thousand_tabs_those_that_are_let_in_get_each_price_and_the_others_a_reason(gateway, make):
    await gateway.publish(make.price(1))
    async with AsyncExitStack() as stack, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        tabs = [await stack.enter_async_context(http.ws_connect(f"{gateway.url}/ws")) for _ in range(MAX_LISTENERS)]
        for _ in range(1000 - MAX_LISTENERS):
            answer, problem = await gateway.get("/ws")
            assert (answer.status, "as many listeners as it takes" in problem["error"]) == (503, True)
        await gateway.publish(make.price(2))
        for tab in (tabs[0], tabs[-1]):
            await until_price(tab, make.price(2))
        _, price = await gateway.get("/api/prices/BTCUSDT")
        assert price["update_id"] == make.price(2).update_id


def narrow(address):
    """Return a socket that takes little before its owner reads."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


@pytest.mark.slow
async def test_a_listener_that_does_not_read_loses_old_frames_and_slows_nobody(serving, make):
    async with (
        serving(limits={"heartbeat": 3600}) as gateway,  # who does not read answers no ping either
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=narrow)) as http,
        http.ws_connect(f"{gateway.url}/ws") as slow,
        gateway.listen() as fast,
    ):
        step, lost = 0, 0
        while not lost:
            await gateway.publish(*(make.price(step + each) for each in range(100)))
            step += 100
            for each in range(100):
                assert (await of_type(fast, "price"))["update_id"] == make.price(step - 100 + each).update_id
            lost = await dropped(gateway)
        newest = make.price(step - 1).update_id
        received, told = [], 0
        while not received or received[-1] != newest:
            frame = (await frames(slow, 1))[0]
            told += frame["count"] if frame["type"] == "dropped" else 0
            received += [frame["update_id"]] if frame["type"] == "price" else []
        assert told == lost
        assert received == sorted(received)
        missing = step - len(received)
        assert math.isclose(missing, lost, abs_tol=3)  # a frame of the feed may be among the lost


async def dropped(gateway):
    async with gateway.http.get(f"{gateway.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("fairprice_gateway_dropped_messages_total ")
    )


async def test_a_full_backlog_drops_its_head_and_says_so_first():
    listener = Listener(None)
    audience = Audience()
    with audience.joined(listener):
        for number in range(BACKLOG + 5):
            audience.send(Key("binance", "BTCUSDT"), b"%d" % number)
        assert audience.dropped == 5
        assert orjson.loads(await listener.next()) == {"type": "dropped", "count": 5}
        assert [await listener.next() for _ in range(BACKLOG)] == [b"%d" % (number + 5) for number in range(BACKLOG)]
    assert audience.dropped == 5
    assert len(audience) == 0


async def test_listeners_are_told_when_the_gateway_stops(serving, make):
    async with serving() as gateway, gateway.listen() as socket:
        await welcome(socket, 0)
        gateway.task.cancel()
        async with patience():
            end = await socket.receive()
        assert end.type is aiohttp.WSMsgType.CLOSE
        assert end.data == aiohttp.WSCloseCode.GOING_AWAY
