import asyncio
import contextlib
import gzip

import aiohttp
import orjson
import pytest
from clocks import settle
from driven import Client, DrivenPlayback, DrivenServer, connect
from waiting import soon

from simulator import Exchange, Fault, Knobs, Playback, SimulatorServer

SECOND = 1_000_000


def recorded(path, symbols=("BTCUSDT",), seconds=3.0, snapshot_at=0.25):
    """Writes what an exchange sends as a recording and returns its lines' JSON."""
    exchange = Exchange(symbols, seed=4)
    start = exchange.now_us
    streams = {f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("depth@100ms", "bookTicker", "trade")}
    lines = []
    asked = not snapshot_at
    for tenth in range(1, int(seconds * 10) + 1):
        frames = exchange.frames(start + tenth * SECOND // 10, streams)
        lines += [(frame.time_us, frame.on_wire(combined=True)) for frame in frames]
        if not asked and tenth / 10 >= snapshot_at:
            asked = True
            for symbol in symbols:
                body = exchange.snapshot(symbol, 1000).body
                wrapped = b'{"stream":"%b@snapshot","data":%b}' % (symbol.lower().encode(), body)
                lines.append((exchange.now_us, body if len(symbols) == 1 else wrapped))
    path.write_bytes(gzip.compress(b"".join(b"%d000 %b\n" % line for line in lines), compresslevel=1))
    return [line for _, line in lines]


def streams_of(lines, *names):
    wanted = [b'{"stream":"%b"' % name.encode() for name in names]
    return [line for line in lines if any(line.startswith(start) for start in wanted)]


async def depth(session, server, symbol="BTCUSDT", limit=1000, rest="/api/v3"):
    async with session.get(f"{server.rest_url}{rest}/depth?symbol={symbol}&limit={limit}") as reply:
        return reply.status, await reply.read()


async def listen(server, path, *, ask_after=1, symbols=("BTCUSDT",), read_slowly=False, rest="/api/v3"):
    """Everything a client is sent until the end, and the snapshots it is given after the first frame."""
    frames, snapshots = [], {}
    async with aiohttp.ClientSession() as session, session.ws_connect(server.stream_url + path) as client:
        async for message in client:
            frames.append(message.data.encode())
            if len(frames) == ask_after:
                for symbol in symbols:
                    snapshots[symbol] = await depth(session, server, symbol, rest=rest)
            if read_slowly and len(frames) % 50 == 0:
                await asyncio.sleep(0.01)
        return frames, snapshots, client.close_code


@pytest.mark.parametrize("speed", [None, 20])
async def test_a_recording_is_played_byte_for_byte_and_then_the_connection_is_closed(tmp_path, speed):
    lines = recorded(tmp_path / "r.gz")
    async with SimulatorServer(Playback([tmp_path / "r.gz"], speed=speed), close_when_played=True) as server:
        frames, snapshots, code = await listen(server, "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker")
        assert frames == streams_of(lines, "btcusdt@depth@100ms", "btcusdt@bookTicker")
        assert snapshots["BTCUSDT"] == (200, next(line for line in lines if line.startswith(b'{"lastUpdateId"')))
        assert code == 1000
        assert server.played.is_set()
        assert server.status()["played"] is True


async def test_raw_connections_get_the_bare_events(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=1)
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        frames, _, _ = await listen(server, "/ws/btcusdt@depth@100ms")
    wrapped = streams_of(lines, "btcusdt@depth@100ms")
    assert frames == [line[len(b'{"stream":"btcusdt@depth@100ms","data":') : -1] for line in wrapped]


async def test_playing_takes_its_time_at_a_given_speed_and_none_at_max(tmp_path):
    recorded(tmp_path / "r.gz", seconds=4)
    times = []
    for speed in (10, None):
        playback = DrivenPlayback([tmp_path / "r.gz"], speed=speed)
        async with DrivenServer(playback, tick=0.01, close_when_played=True) as server:
            await server.drive(listen(server, "/ws/btcusdt@depth@100ms"))
            times.append(server.clock.monotonic())
    assert times == [pytest.approx(0.4, abs=0.03), pytest.approx(0, abs=0.03)]


async def test_the_client_can_ask_for_the_snapshot_late_and_still_joins_at_the_recorded_point(tmp_path, naive_book):
    lines = recorded(tmp_path / "r.gz")
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        frames, snapshots, _ = await listen(server, "/ws/btcusdt@depth@100ms", ask_after=2)
    kept = naive_book(snapshots["BTCUSDT"][1])
    recorded_ids = [orjson.loads(line)["data"]["u"] for line in streams_of(lines, "btcusdt@depth@100ms")]
    expected = sum(last_id > kept.update_id for last_id in recorded_ids)
    assert sum(kept.apply(orjson.loads(frame)) for frame in frames) == expected >= 27


async def test_playing_stops_at_the_recorded_snapshot_until_it_is_asked_for(tmp_path):
    recorded(tmp_path / "r.gz")
    async with client_of(DrivenPlayback([tmp_path / "r.gz"], knobs=PATIENT)) as client:
        await client.receive(3)
        await client.quiet(29)
        await client.ask_for_snapshot()
        await client.receive(27)


async def test_playing_goes_on_when_nobody_wants_the_snapshot(tmp_path):
    recorded(tmp_path / "r.gz")
    async with client_of(DrivenPlayback([tmp_path / "r.gz"], knobs=PATIENT)) as client:
        await client.receive(3)
        await client.quiet(29)
        assert client.server.clock.monotonic() < 30
        await client.receive(27)
        assert client.server.clock.monotonic() >= 30


def diff(number, time_ms=None):
    event = {"e": "depthUpdate", "E": time_ms or number, "s": "BTCUSDT", "U": number, "u": number, "b": [], "a": []}
    return orjson.dumps({"stream": "btcusdt@depth@100ms", "data": event})


def book(number):
    return orjson.dumps({"lastUpdateId": number, "bids": [["1.0", "1.0"]], "asks": [["2.0", "1.0"]]})


def played_from(path, *lines, **options):
    """A playback of these lines, a tenth of a second of recorded time apart."""
    path.write_bytes(b"".join(b"%d %b\n" % (number * 100_000_000, line) for number, line in enumerate(lines, 1)))
    return DrivenPlayback([path], **options)


class Listener(Client):
    """Listens to one stream of diffs and asks for snapshots beside it."""

    def __init__(self, server, socket, session) -> None:
        super().__init__(server, socket)
        self.session = session

    async def ids(self, count):
        return [event["u"] for event in await self.receive(count)]

    def asking(self, limit=1000):
        """Ask in a task."""
        return asyncio.create_task(depth(self.session, self.server, limit=limit))

    async def ask_for_snapshot(self, limit=1000):
        return await self.server.drive(self.asking(limit))


@contextlib.asynccontextmanager
async def client_of(playback, **options):
    async with (
        DrivenServer(playback, **options) as server,
        aiohttp.ClientSession() as session,
        connect(server, "/ws/btcusdt@depth@100ms") as client,
    ):
        yield Listener(server, client.socket, session)


def none_left(answer):
    status, body = answer
    return status == 503 and orjson.loads(body) == {
        "code": -9001,
        "msg": "No snapshot of BTCUSDT is left in this recording.",
    }


PATIENT = Knobs(wait_for_snapshot_s=30)


async def test_snapshots_are_given_once_each_in_their_order_and_then_that_none_is_left(tmp_path):
    lines = [diff(1), book(1), diff(2), book(2), diff(3), book(3), diff(4)]
    async with client_of(played_from(tmp_path / "r", *lines, knobs=Knobs(wait_for_snapshot_s=0))) as client:
        await client.ids(4)
        await client.server.drive(client.server.played.wait())
        assert [await client.ask_for_snapshot() for _ in range(3)] == [(200, book(1)), (200, book(2)), (200, book(3))]
        assert none_left(await client.ask_for_snapshot())


async def test_a_request_before_the_place_of_its_snapshot_is_answered_there_while_playing_waits(tmp_path):
    lines = [diff(1), book(1), diff(2), *(diff(number) for number in range(3, 30)), book(29), diff(30)]
    async with client_of(played_from(tmp_path / "r", *lines, speed=1, knobs=PATIENT)) as client:
        assert await client.ids(1) == [1]
        assert await client.ask_for_snapshot() == (200, book(1))
        assert await client.ids(1) == [2]
        asking = client.asking()
        assert await client.ids(27) == list(range(3, 30))
        assert await client.server.drive(asking) == (200, book(29))
        assert await client.ids(1) == [30]


async def test_a_snapshot_whose_client_has_gone_is_not_used_up(tmp_path):
    lines = [diff(1), book(1), *(diff(number) for number in range(2, 12)), book(11), diff(12)]
    async with client_of(played_from(tmp_path / "r", *lines, speed=1, knobs=PATIENT)) as client:
        await client.ids(1)
        await client.ask_for_snapshot()
        gone = client.asking()
        await client.ids(3)
        gone.cancel()
        await asyncio.wait([gone])
        await settle()  # the exchange sees it go
        await client.ids(8)
        assert await client.ask_for_snapshot() == (200, book(11))


async def test_after_a_hole_playing_waits_at_the_next_snapshot_for_whoever_lost_the_book(tmp_path):
    lines = [diff(1), book(1), diff(2), book(2), diff(5), diff(6), book(6), diff(7), diff(8)]
    async with client_of(played_from(tmp_path / "r", *lines, knobs=PATIENT)) as client:
        await client.ids(1)
        assert await client.ask_for_snapshot() == (200, book(1))
        assert await client.ids(3) == [2, 5, 6]
        await client.quiet()
        assert await client.ask_for_snapshot() == (200, book(6))  # not that before the hole, which is too old
        assert await client.ids(2) == [7, 8]


async def test_diffs_that_change_places_are_played_as_they_stand(tmp_path):
    lines = [diff(1), book(1), diff(3), diff(2), diff(4)]
    async with client_of(played_from(tmp_path / "r", *lines, knobs=Knobs(wait_for_snapshot_s=0))) as client:
        assert await client.ids(4) == [1, 3, 2, 4]


async def test_who_waits_for_a_snapshot_that_another_gets_is_told_that_none_is_left(tmp_path):
    lines = [diff(1), book(1), *(diff(number) for number in range(2, 9)), book(8), diff(9)]
    async with client_of(played_from(tmp_path / "r", *lines, speed=1, knobs=PATIENT)) as client:
        await client.ids(1)
        await client.ask_for_snapshot()
        asking = [client.asking(), client.asking()]
        await client.ids(8)
        answers = sorted([await client.server.drive(task) for task in asking])
        assert answers[0] == (200, book(8))
        assert none_left(answers[1])


async def test_a_question_where_the_book_stands_uses_no_snapshot_up(tmp_path):
    async with client_of(played_from(tmp_path / "r", diff(1), book(1), diff(2), knobs=PATIENT)) as client:
        status, body = await client.ask_for_snapshot(limit=5)
        assert (status, orjson.loads(body)["code"]) == (503, -9002)
        assert await client.ask_for_snapshot() == (200, book(1))


async def test_recordings_are_played_one_after_the_other_without_the_time_between_them(tmp_path):
    (tmp_path / "first").mkdir()
    played_from(tmp_path / "first" / "a", diff(1), book(1), diff(2), diff(3))
    played_from(tmp_path / "first" / "b", diff(10), book(10), diff(11))
    late = (tmp_path / "first" / "b").read_bytes().splitlines()
    (tmp_path / "first" / "b").write_bytes(b"".join(b"9" + line + b"\n" for line in late))
    playback = Playback([tmp_path / "first"], speed=1, knobs=PATIENT)
    async with client_of(playback, close_when_played=True) as client:
        assert await client.ids(1) == [1]
        assert await client.ask_for_snapshot() == (200, book(1))
        second = client.asking()
        assert await client.ids(4) == [2, 3, 10, 11]
        assert await client.server.drive(second) == (200, book(10))
        assert client.server.status()["update_ids"] == {"BTCUSDT": 11}


async def test_the_book_of_a_recording_is_not_told_and_its_symbols_have_no_status(tmp_path):
    async with client_of(played_from(tmp_path / "r", diff(1), book(1))) as client:
        async with client.session.get(f"{client.server.control_url}/book?symbol=BTCUSDT&id=1") as reply:
            assert (reply.status, "played as it is" in await reply.text()) == (404, True)
        body = {"symbol": "BTCUSDT", "status": "BREAK"}
        async with client.session.post(f"{client.server.control_url}/symbols", json=body) as reply:
            assert (reply.status, "played as it is" in await reply.text()) == (404, True)


def test_what_cannot_be_read_is_told(tmp_path, caplog):
    played_from(tmp_path / "r", diff(1), diff(2, time_ms=10**12), book(1))
    (record,) = caplog.records
    where, why = record.getMessage().split("Z): ")
    assert where == (
        f"not readable, and a hole: {tmp_path / 'r'}, line 2 "
        "(after 1970-01-01T00:00:00.100Z, before 1970-01-01T00:00:00.300"
    )
    assert why.startswith("its event time is more than a day away from its receive time")


async def test_several_symbols_have_each_their_own_snapshot(tmp_path, naive_book):
    symbols = ("BTCUSDT", "ETHUSDT")
    recorded(tmp_path / "r.gz", symbols)
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        path = "/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms"
        frames, snapshots, _ = await listen(server, path, ask_after=2, symbols=symbols)
    for symbol in symbols:
        kept = naive_book(snapshots[symbol][1])
        mine = [orjson.loads(frame)["data"] for frame in frames if symbol.lower().encode() in frame[:30]]
        assert sum(kept.apply(event) for event in mine) >= 25


async def test_a_symbol_without_any_snapshot_is_answered_so_at_once(tmp_path):
    recorded(tmp_path / "r.gz", snapshot_at=0)
    async with SimulatorServer(Playback([tmp_path / "r.gz"])) as server, aiohttp.ClientSession() as session:
        assert none_left(await depth(session, server))


async def test_nothing_is_dropped_for_a_slow_client(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=8)
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        path = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"
        frames, _, _ = await listen(server, path, read_slowly=True)
    assert frames == [line for line in lines if not line.startswith(b'{"lastUpdateId"')]


async def test_playing_pauses_while_nobody_listens(tmp_path):
    recorded(tmp_path / "r.gz", snapshot_at=0, seconds=20)
    url = "/ws/btcusdt@depth@100ms"
    async with DrivenServer(DrivenPlayback([tmp_path / "r.gz"], speed=1)) as server:
        async with connect(server, url) as client:
            received = await client.receive(10)
        await server.clock.until(lambda: not server.audience.connections)
        sent = server.status()["frames"]["depth"]
        await server.clock.advance(60)
        assert server.status()["frames"]["depth"] == sent < 20
        async with connect(server, url) as client:
            assert (await client.receive())[0]["U"] > received[-1]["u"]


async def test_the_other_depth_speed_is_sent_what_was_recorded(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=1)
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        frames, _, _ = await listen(server, "/stream?streams=btcusdt@depth")
    assert frames == [line.replace(b"@depth@100ms", b"@depth", 1) for line in streams_of(lines, "btcusdt@depth@100ms")]


async def test_after_the_end_it_is_silent_but_alive(tmp_path):
    recorded(tmp_path / "r.gz", seconds=1)
    playback = DrivenPlayback([tmp_path / "r.gz"], knobs=Knobs(wait_for_snapshot_s=0))
    async with (
        DrivenServer(playback) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws/btcusdt@depth@100ms", autoping=False) as client,
    ):
        await soon(server.played.wait())
        while (message := await server.drive(client.receive())).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.PING


async def test_faults_apply_to_recordings_too(tmp_path):
    lines = recorded(tmp_path / "r.gz")
    true = streams_of(lines, "btcusdt@depth@100ms", "btcusdt@trade")
    async with SimulatorServer(Playback([tmp_path / "r.gz"]), close_when_played=True) as server:
        server.inject(Fault("drop", after=5))
        frames, _, _ = await listen(server, "/stream?streams=btcusdt@depth@100ms/btcusdt@trade")
    missing = streams_of(true, "btcusdt@depth@100ms")[5]
    assert frames == [line for line in true if line != missing]


async def test_exchange_info_lists_what_was_recorded(tmp_path):
    recorded(tmp_path / "r.gz", ("BTCUSDT", "ETHUSDT"), seconds=0.5)
    async with (
        SimulatorServer(Playback([tmp_path / "r.gz"])) as server,
        aiohttp.ClientSession() as session,
        session.get(server.rest_url + "/api/v3/exchangeInfo") as reply,
    ):
        symbols = orjson.loads(await reply.read())["symbols"]
    assert [(one["symbol"], one["status"]) for one in symbols] == [("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING")]


DOORS = {"spot": ("", "/api/v3"), "usdm": ("/public", "/fapi/v1")}


async def test_a_recording_is_played_under_the_names_that_a_client_asks_for_from_its_own_snapshot_on(
    recording, naive_book
):
    with gzip.open(recording.path) as file:
        lines = [line.partition(b" ")[2].strip() for line in file]
    door, rest = DOORS[recording.market]
    async with SimulatorServer(Playback([recording.path]), close_when_played=True) as server:
        path = f"{door}/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
        frames, snapshots, _ = await listen(server, path, rest=rest)
    renamed = [line.replace(b"@depth@0ms", b"@depth@100ms", 1) for line in lines]
    assert frames == streams_of(renamed, "btcusdt@depth@100ms", "btcusdt@bookTicker")
    assert snapshots["BTCUSDT"][1] == lines[recording.snapshot_line]
    kept = naive_book(snapshots["BTCUSDT"][1])
    depth_frames = streams_of(frames, "btcusdt@depth@100ms")
    assert sum(kept.apply(orjson.loads(frame)["data"]) for frame in depth_frames) == recording.books
