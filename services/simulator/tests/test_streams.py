"""The websocket side, driven by another project's client (`websockets`) over real sockets."""

import asyncio
import socket
import time
from itertools import pairwise

import aiohttp
import orjson
import pytest
import websockets
from driven import DrivenServer, connect
from waiting import patience

from simulator import START_US, Disconnect, Exchange, Fault, Knobs, SimulatorServer
from simulator.clock import ScaledClock

DEPTH = "btcusdt@depth@100ms"


@pytest.fixture
async def serve():
    """Starts servers over fresh markets, whose time passes as the test lets it; all are stopped at the end."""
    servers = []

    async def start(*symbols, tick=0.05, **knobs):
        chosen = Knobs(**{"ack_order": "before", **knobs})
        server = DrivenServer(Exchange(symbols or ("BTCUSDT", "ETHUSDT"), knobs=chosen), tick=tick)
        servers.append(server)
        return await server.__aenter__()

    yield start
    for server in servers:
        await server.__aexit__(None, None, None)


async def refusal(server, path):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(server, path):
            pass
    return refused.value.response


async def message_of(server, client):
    """The next message of a client of aiohttp, which shows pings, too."""
    return await server.drive(client.receive())


# Forms of connecting


async def test_a_raw_stream_sends_bare_events_that_follow_on_from_one_another(serve):
    async with connect(await serve(), f"/ws/{DEPTH}") as client:
        events = await client.receive(4)
    assert all(event["e"] == "depthUpdate" and event["s"] == "BTCUSDT" for event in events)
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events))


async def test_the_connections_are_served_by_the_stream_servers_in_turn(serve):
    server = await serve(stream_servers_ms=(0, 50))
    both = f"/ws/{DEPTH}/btcusdt@bookTicker"
    async with (
        connect(server, f"/ws/{DEPTH}") as one,
        connect(server, f"/ws/{DEPTH}") as other,
        connect(server, both) as third,
    ):
        events = [await client.receive(8) for client in (one, other)]
        mixed = await third.receive(20)
    depths = [event for event in mixed if "e" in event]
    assert [event["E"] % 100 for event in events[0]] == [events[0][0]["E"] % 100] * 8
    assert {event["E"] % 100 for event in events[1]} == {(events[0][0]["E"] + 50) % 100}
    assert {event["E"] % 100 for event in depths} == {events[0][0]["E"] % 100}
    assert len(depths) < len(mixed), "tickers come from each"
    assert all(later["U"] == earlier["u"] + 1 for each in (*events, depths) for earlier, later in pairwise(each))


async def test_the_first_event_covers_a_window_that_was_already_running(serve):
    server = await serve()
    await server.clock.advance(0.55)
    joined = server.source.update_ids()["BTCUSDT"]
    async with connect(server, f"/ws/{DEPTH}") as client:
        first = (await client.receive())[0]
    assert first["U"] <= joined + 500
    assert first["u"] >= joined


@pytest.mark.parametrize(
    "path",
    [
        f"/stream?streams={DEPTH}/ethusdt@bookTicker",
        "/stream?streams=btcusdt%40depth%40100ms%2Fethusdt%40bookTicker",
    ],
)
async def test_combined_streams_are_wrapped_and_may_be_percent_encoded(serve, path):
    async with connect(await serve(), path) as client:
        messages = await client.receive(20)
    assert {message["stream"] for message in messages} == {DEPTH, "ethusdt@bookTicker"}
    assert all(set(message) == {"stream", "data"} for message in messages)


async def test_several_raw_streams_may_stand_in_the_path(serve):
    async with connect(await serve(), "/ws/btcusdt@bookTicker/ethusdt@bookTicker") as client:
        assert {event["s"] for event in await client.receive(30)} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_a_bare_connection_waits_for_subscribe(serve, path):
    async with connect(await serve(), path) as client:
        await client.quiet()
        assert await client.ask("SUBSCRIBE", DEPTH, identifier="mine") == {"result": None, "id": "mine"}
        event = (await client.receive())[0]
        assert ("stream" in event) == (path == "/stream")


async def test_a_unicode_symbol_can_be_had(serve):
    server = await serve("币安人生USDT")
    async with connect(server, "/stream?streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@depth@100ms") as client:
        assert (await client.receive())[0]["data"]["s"] == "币安人生USDT"


async def test_times_are_in_the_unit_of_the_connection(serve):
    server = await serve()
    for unit, digits in (("MILLISECOND", 13), ("MICROSECOND", 16), ("microsecond", 16)):
        async with connect(server, f"/ws/{DEPTH}?timeUnit={unit}") as client:
            assert len(str((await client.receive())[0]["E"])) == digits


async def test_handshakes_that_make_no_sense_are_refused(serve):
    server = await serve()
    assert (await refusal(server, "/ws/nonsense")).status_code == 400
    assert (await refusal(server, f"/ws/{DEPTH}?timeUnit=HOUR")).status_code == 400
    assert (await refusal(server, "/elsewhere")).status_code == 404


# Control messages


async def test_subscriptions_can_be_changed_and_listed_on_a_connection(serve):
    async with connect(await serve(), f"/stream?streams={DEPTH}") as client:
        await client.ask("SUBSCRIBE", "ethusdt@bookTicker")
        assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [DEPTH, "ethusdt@bookTicker"]
        await client.until(lambda message: message.get("stream") == "ethusdt@bookTicker")
        await client.ask("UNSUBSCRIBE", "ethusdt@bookTicker")
        assert {message["stream"] for message in await client.receive(3)} == {DEPTH}


async def test_combined_can_be_switched_in_mid_connection(serve):
    async with connect(await serve(), f"/ws/{DEPTH}") as client:
        assert "stream" not in (await client.receive())[0]
        await client.ask("SET_PROPERTY", "combined", True)
        assert (await client.receive())[0]["stream"] == DEPTH


async def test_an_unknown_but_well_formed_stream_is_acknowledged_and_then_silent(serve):
    async with connect(await serve(), "/ws") as client:
        assert (await client.ask("SUBSCRIBE", "nopeusdt@depth"))["result"] is None
        await client.quiet()


async def test_a_malformed_stream_is_answered_with_an_error_and_the_end(serve):
    async with connect(await serve(), "/ws") as client:
        assert (await client.ask("SUBSCRIBE", "no stream"))["error"]["msg"] == "Invalid request: invalid stream"
        assert (await client.closing())[0] == 1008


@pytest.mark.parametrize(("order", "reply_first"), [("before", True), ("after", False)])
async def test_the_reply_comes_before_or_after_the_first_event(serve, order, reply_first):
    async with connect(await serve(ack_order=order), "/ws") as client:
        await client.send(orjson.dumps({"method": "SUBSCRIBE", "params": [DEPTH], "id": 1}).decode())
        first, second = await client.receive(2)
        assert ("result" in first, "result" in second) == (reply_first, not reply_first)


async def test_replies_can_be_wrapped(serve):
    async with connect(await serve(wrap_replies=True), "/stream") as client:
        await client.send('{"method":"LIST_SUBSCRIPTIONS","id":4}')
        assert (await client.receive())[0]["data"] == {"result": [], "id": 4}


# Liveness and limits


async def test_pings_come_with_changing_payloads(serve):
    server = await serve("HALTUSDT", tick=1)
    payloads = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws", autoping=False) as client,
    ):
        for _ in range(3):
            message = await message_of(server, client)
            assert message.type is aiohttp.WSMsgType.PING
            payloads.append(message.data)
            await client.pong(message.data)
    assert len(set(payloads)) == 3


@pytest.mark.parametrize("answer", [None, b"", b"wrong"])
async def test_without_the_right_pong_the_connection_ends(serve, answer):
    server = await serve("HALTUSDT", tick=1)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws", autoping=False) as client,
    ):
        while (message := await message_of(server, client)).type is aiohttp.WSMsgType.PING:
            if answer is not None:
                await client.pong(answer)
        assert (message.data, message.extra) == (1008, "Pong timeout")
    assert server.limits.breaches["pong_timeout"] == 1


async def test_a_client_that_answers_pings_stays(serve):
    server = await serve("HALTUSDT", tick=1)
    async with connect(server, "/ws") as client:
        await server.clock.advance(150)
        assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == []


async def test_more_than_five_messages_a_second_end_the_connection(serve):
    server = await serve()
    async with connect(server, "/ws") as client:
        for _ in range(4):
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        await client.socket.ping()
        await client.socket.pong()
        assert await client.closing() == (1008, "Too many requests")
    assert server.limits.breaches["messages"] >= 1


async def test_five_messages_a_second_are_no_breach(serve):
    server = await serve()
    async with connect(server, "/ws") as client:
        for _ in range(5):
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert len(await client.receive(5)) == 5
    assert server.limits.breaches == {}


async def test_too_many_attempts_are_refused(serve):
    server = await serve(attempts_per_5_minutes=2)
    for _ in range(2):
        async with connect(server, "/ws"):
            pass
    assert (await refusal(server, "/ws")).status_code == 429
    assert server.limits.breaches == {"connection_attempts": 1}


async def test_a_connection_ends_after_24_hours_with_notice_if_there_is_one(serve):
    server = await serve("BTCUSDT", shutdown_notice_s=4, lifetime_s=10)
    async with connect(server, f"/ws/{DEPTH}") as client:
        assert set(await client.until(lambda message: message["e"] == "serverShutdown")) == {"e", "E"}
        assert (await client.closing())[0] == 1001


async def test_a_banned_address_loses_its_connections_if_so_chosen(serve):
    server = await serve(weight_per_minute=0, requests_before_ban=0, ban_cuts_streams=True)
    async with connect(server, "/ws") as client, aiohttp.ClientSession() as session:
        async with session.get(server.rest_url + "/api/v3/ping") as reply:
            assert reply.status == 418
        assert await client.closing() == (1008, "IP banned")


@pytest.mark.slow
async def test_a_client_that_does_not_read_is_cut_off(serve):
    server = await serve(tick=1, backlog_bytes=50_000)
    host, port = server.rest_url.removeprefix("http://").split(":")
    reader = socket.create_connection((host, int(port)))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    path = f"/stream?streams={DEPTH}/btcusdt@depth20@100ms/btcusdt@bookTicker/ethusdt@depth20@100ms"
    reader.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await server.clock.until(lambda: server.audience.connections)
    await server.clock.until(lambda: not server.audience.connections, within=3600, step=1.0)
    reader.close()


# Faults that need a socket


@pytest.mark.parametrize("fault", [Fault("disconnect", code=1012), Fault("disconnect", variant="abort")])
async def test_disconnect_ends_every_connection(serve, fault):
    server = await serve()
    async with connect(server, f"/ws/{DEPTH}") as one, connect(server, "/ws/ethusdt@depth") as other:
        server.inject(fault)
        expected = (1012, "") if fault.variant == "close" else None
        assert [await client.closing() for client in (one, other)] == [expected, expected]


async def test_disconnect_with_scope_one_spares_the_others(serve):
    server = await serve()
    async with connect(server, f"/ws/{DEPTH}") as one, connect(server, f"/ws/{DEPTH}") as other:
        server.inject(Fault("disconnect", scope="one"))
        await server.clock.until(lambda: len(server.audience.connections) < 2)
        ended, spared = sorted((one, other), key=lambda client: client.socket.close_code is None)
        assert await ended.closing() is not None
        await spared.receive(10)


async def test_refuse_turns_handshakes_away(serve):
    server = await serve()
    server.inject(Fault("refuse", code=451, count=2))
    assert [(await refusal(server, "/ws")).status_code for _ in range(2)] == [451, 451]
    async with connect(server, "/ws"):
        pass


async def test_refuse_with_seconds_lasts_as_long(serve):
    server = await serve()
    server.inject(Fault("refuse", seconds=3))
    assert [(await refusal(server, "/ws")).status_code for _ in range(3)] == [503] * 3
    await server.clock.advance(2.9)
    assert (await refusal(server, "/ws")).status_code == 503
    await server.clock.advance(0.2)
    async with connect(server, "/ws"):
        pass
    assert server.status()["fired"] == {"refuse": 1}


@pytest.mark.slow
async def test_stop_pings_leaves_the_data_flowing(serve):
    server = await serve("BTCUSDT")
    server.inject(Fault("stop_pings", seconds=10_000))
    kinds = set()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + f"/ws/{DEPTH}", autoping=False) as client,
    ):
        for _ in range(250):
            kinds.add((await message_of(server, client)).type)
    assert kinds == {aiohttp.WSMsgType.TEXT}


async def test_silence_keeps_the_socket_open_and_the_pings_going(serve):
    server = await serve("BTCUSDT", tick=1)
    server.inject(Fault("silence", seconds=10_000))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + f"/ws/{DEPTH}", autoping=False) as client,
    ):
        for _ in range(2):
            message = await message_of(server, client)
            assert message.type is aiohttp.WSMsgType.PING
            await client.pong(message.data)


async def test_replies_can_be_wrong_missing_late_or_doubled(serve):
    server = await serve()
    async with connect(server, "/ws") as client:

        async def replies(fault):
            server.inject(fault)
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":5}')
            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":6}')
            found = []
            while (reply := (await client.receive())[0]) != {"result": [], "id": 6}:
                found.append(reply)
            await server.clock.advance(1)  # no more than five messages a second
            return found

        right = {"result": [], "id": 5}
        assert await replies(Fault("no_ack")) == []
        assert await replies(Fault("wrong_ack_id")) == [right | {"id": 987654321}]
        assert await replies(Fault("double_ack")) == [right, right]
        assert (await replies(Fault("error_ack")))[0]["error"]["code"] == 2
        assert (await replies(Fault("error_ack", variant="bare")))[0]["code"] == 2
        asked = server.clock.monotonic()
        assert await replies(Fault("late_ack", seconds=5)) == []
        assert await client.receive() == [right]
        assert server.clock.monotonic() >= asked + 5


async def test_malformed_frames_reach_the_client_as_such(serve):
    server = await serve()
    async with aiohttp.ClientSession() as session:

        async def first(variant):
            url = f"{server.stream_url}/stream?streams={DEPTH}"
            async with session.ws_connect(url, max_msg_size=0) as client:
                server.inject(Fault("malformed", variant=variant))
                return await message_of(server, client)

        binary, fragmented, broken, huge = [
            await first(kind) for kind in ("binary", "fragmented", "invalid_utf8", "huge")
        ]
    assert binary.type is aiohttp.WSMsgType.BINARY
    assert orjson.loads(fragmented.data)["stream"] == DEPTH
    assert (broken.type, broken.data.code) == (aiohttp.WSMsgType.ERROR, 1007)
    assert len(huge.data) > 10 * 1024 * 1024


async def test_server_shutdown_is_sent_unasked_and_then_carried_out(serve):
    server = await serve()
    async with connect(server, f"/stream?streams={DEPTH}") as client:
        server.inject(Fault("server_shutdown", seconds=2))
        notice = await client.until(lambda message: message["stream"] == "!serverShutdown")
        assert set(notice["data"]) == {"e", "E"}
        assert (await client.receive())[0]["stream"] == DEPTH
        assert (await client.closing())[0] == 1001


def test_the_exchange_s_time_passes_at_the_pace_of_the_time_scale():
    before = time.monotonic()
    clock = ScaledClock(START_US, 50)
    made = time.monotonic()
    time.sleep(0.01)
    asking = time.monotonic()
    passed_us = clock.wall() - START_US
    assert 50e6 * (asking - made) - 1 <= passed_us <= 50e6 * (time.monotonic() - before)


async def test_a_market_without_a_clock_of_a_test_lives_by_the_machine_s():
    began = time.monotonic()
    async with SimulatorServer(Exchange(("BTCUSDT",), knobs=Knobs(time_scale=50))) as server, patience():
        while (moved_us := server.source.now_us - START_US) < 10_000_000:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.01)
    assert moved_us <= 50e6 * (time.monotonic() - began)


def test_a_disconnect_without_a_code_is_a_reset():
    assert Disconnect(None).code is None
