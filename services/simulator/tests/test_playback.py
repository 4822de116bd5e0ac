import asyncio
import gzip
import time

import aiohttp
import orjson
import pytest

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
    path.write_bytes(gzip.compress(b"".join(b"%d000 %b\n" % line for line in lines)))
    return [line for _, line in lines]


def streams_of(lines, *names):
    wanted = [b'{"stream":"%b"' % name.encode() for name in names]
    return [line for line in lines if any(line.startswith(start) for start in wanted)]


async def depth(session, server, symbol="BTCUSDT", limit=1000):
    async with session.get(f"{server.rest_url}/api/v3/depth?symbol={symbol}&limit={limit}") as reply:
        return reply.status, await reply.read()


async def listen(server, path, *, ask_after=1, symbols=("BTCUSDT",), read_slowly=False):
    """Everything a client is sent until the end, and the snapshots it is given after the first frame."""
    frames, snapshots = [], {}
    async with aiohttp.ClientSession() as session, session.ws_connect(server.stream_url + path) as client:
        async for message in client:
            frames.append(message.data.encode())
            if len(frames) == ask_after:
                for symbol in symbols:
                    snapshots[symbol] = await depth(session, server, symbol)
            if read_slowly and len(frames) % 50 == 0:
                await asyncio.sleep(0.01)
        return frames, snapshots, client.close_code


@pytest.mark.parametrize("speed", [None, 20])
async def test_a_recording_is_played_byte_for_byte_and_then_the_connection_is_closed(tmp_path, speed):
    lines = recorded(tmp_path / "r.gz")
    async with SimulatorServer(Playback(tmp_path / "r.gz", speed=speed), close_when_played=True) as server:
        frames, snapshots, code = await listen(server, "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker")
        assert frames == streams_of(lines, "btcusdt@depth@100ms", "btcusdt@bookTicker")
        assert snapshots["BTCUSDT"] == (200, next(line for line in lines if line.startswith(b'{"lastUpdateId"')))
        assert code == 1000
        assert server.played.is_set()
        assert server.status()["played"] is True


async def test_raw_connections_get_the_bare_events(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=1)
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        frames, _, _ = await listen(server, "/ws/btcusdt@depth@100ms")
    wrapped = streams_of(lines, "btcusdt@depth@100ms")
    assert frames == [line[len(b'{"stream":"btcusdt@depth@100ms","data":') : -1] for line in wrapped]


async def test_playing_takes_its_time_at_a_given_speed_and_none_at_max(tmp_path):
    recorded(tmp_path / "r.gz", seconds=4)
    times = []
    for speed in (10, None):
        async with SimulatorServer(Playback(tmp_path / "r.gz", speed=speed), close_when_played=True) as server:
            began = time.monotonic()
            await listen(server, "/ws/btcusdt@depth@100ms")
            times.append(time.monotonic() - began)
    assert 0.35 < times[0] < 1.5
    assert times[1] < times[0]


async def test_the_client_can_ask_for_the_snapshot_late_and_still_joins_at_the_recorded_point(tmp_path, naive_book):
    lines = recorded(tmp_path / "r.gz")
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        frames, snapshots, _ = await listen(server, "/ws/btcusdt@depth@100ms", ask_after=2)
    book = naive_book(snapshots["BTCUSDT"][1])
    recorded_ids = [orjson.loads(line)["data"]["u"] for line in streams_of(lines, "btcusdt@depth@100ms")]
    expected = sum(last_id > book.update_id for last_id in recorded_ids)
    assert sum(book.apply(orjson.loads(frame)) for frame in frames) == expected >= 27


async def test_playing_stops_at_the_recorded_snapshot_until_it_is_asked_for(tmp_path):
    recorded(tmp_path / "r.gz")
    playback = Playback(tmp_path / "r.gz", knobs=Knobs(wait_for_snapshot_s=5))
    async with (
        SimulatorServer(playback, close_when_played=True) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws/btcusdt@depth@100ms") as client,
    ):
        before = [await client.receive(timeout=5) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await client.receive(timeout=0.1)
        await depth(session, server)
        after = [message async for message in client]
    assert len(before) + len(after) == 30


async def test_later_snapshots_are_the_book_at_the_play_position_cut_to_the_limit(tmp_path, naive_book):
    lines = recorded(tmp_path / "r.gz")
    async with (
        SimulatorServer(Playback(tmp_path / "r.gz")) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws/btcusdt@depth@100ms") as client,
    ):
        book = naive_book((await depth(session, server))[1])
        for _ in range(30):
            book.apply(orjson.loads((await client.receive(timeout=5)).data))
        await asyncio.wait_for(server.played.wait(), 5)
        _, body = await depth(session, server, limit=5000)
        again = naive_book(body)
        assert (
            again.update_id == book.update_id == orjson.loads(streams_of(lines, "btcusdt@depth@100ms")[-1])["data"]["u"]
        )
        assert (again.bids, again.asks) == (book.bids, book.asks)
        assert len(orjson.loads((await depth(session, server, limit=7))[1])["bids"]) == 7
        url = f"{server.control_url}/book?symbol=BTCUSDT&id={book.update_id}"
        async with session.get(url) as reply:
            assert reply.status == 200
        assert server.status()["update_ids"] == {"BTCUSDT": book.update_id}


async def test_several_symbols_have_each_their_own_snapshot(tmp_path, naive_book):
    symbols = ("BTCUSDT", "ETHUSDT")
    recorded(tmp_path / "r.gz", symbols)
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        path = "/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms"
        frames, snapshots, _ = await listen(server, path, ask_after=2, symbols=symbols)
    for symbol in symbols:
        book = naive_book(snapshots[symbol][1])
        mine = [orjson.loads(frame)["data"] for frame in frames if symbol.lower().encode() in frame[:30]]
        assert sum(book.apply(event) for event in mine) >= 25


async def test_a_symbol_without_any_snapshot_is_answered_with_an_error(tmp_path):
    recorded(tmp_path / "r.gz", snapshot_at=0)
    async with SimulatorServer(Playback(tmp_path / "r.gz")) as server, aiohttp.ClientSession() as session:
        status, body = await depth(session, server)
        assert status == 503
        assert "no snapshot of BTCUSDT" in orjson.loads(body)["msg"]


async def test_nothing_is_dropped_for_a_slow_client(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=8)
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        path = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"
        frames, _, _ = await listen(server, path, read_slowly=True)
    assert frames == [line for line in lines if not line.startswith(b'{"lastUpdateId"')]


async def test_playing_pauses_while_nobody_listens(tmp_path):
    recorded(tmp_path / "r.gz", snapshot_at=0, seconds=20)
    url = "/ws/btcusdt@depth@100ms"
    async with SimulatorServer(Playback(tmp_path / "r.gz", speed=15)) as server, aiohttp.ClientSession() as session:
        async with session.ws_connect(server.stream_url + url) as client:
            for _ in range(10):
                await client.receive(timeout=5)
        await asyncio.sleep(0.1)
        sent = server.status()["frames"]["depth"]
        await asyncio.sleep(0.2)
        assert server.status()["frames"]["depth"] == sent < 200
        async with session.ws_connect(server.stream_url + url) as client:
            assert (await client.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT


async def test_the_other_depth_speed_is_sent_what_was_recorded(tmp_path):
    lines = recorded(tmp_path / "r.gz", seconds=1)
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        frames, _, _ = await listen(server, "/stream?streams=btcusdt@depth")
    assert frames == [line.replace(b"@depth@100ms", b"@depth", 1) for line in streams_of(lines, "btcusdt@depth@100ms")]


async def test_after_the_end_it_is_silent_but_alive(tmp_path):
    recorded(tmp_path / "r.gz", seconds=1)
    playback = Playback(tmp_path / "r.gz", knobs=Knobs(time_scale=100, wait_for_snapshot_s=0))
    async with (
        SimulatorServer(playback) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.stream_url + "/ws/btcusdt@depth@100ms", autoping=False) as client,
    ):
        await asyncio.wait_for(server.played.wait(), 5)
        while (message := await client.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.PING


async def test_faults_apply_to_recordings_too(tmp_path):
    lines = recorded(tmp_path / "r.gz")
    true = streams_of(lines, "btcusdt@depth@100ms", "btcusdt@trade")
    async with SimulatorServer(Playback(tmp_path / "r.gz"), close_when_played=True) as server:
        server.inject(Fault("drop", after=5))
        frames, _, _ = await listen(server, "/stream?streams=btcusdt@depth@100ms/btcusdt@trade")
    missing = streams_of(true, "btcusdt@depth@100ms")[5]
    assert frames == [line for line in true if line != missing]


async def test_exchange_info_lists_what_was_recorded(tmp_path):
    recorded(tmp_path / "r.gz", ("BTCUSDT", "ETHUSDT"), seconds=0.5)
    async with (
        SimulatorServer(Playback(tmp_path / "r.gz")) as server,
        aiohttp.ClientSession() as session,
        session.get(server.rest_url + "/api/v3/exchangeInfo") as reply,
    ):
        symbols = orjson.loads(await reply.read())["symbols"]
    assert [(one["symbol"], one["status"]) for one in symbols] == [("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING")]


@pytest.mark.recording
async def test_the_real_recording_is_played_byte_for_byte_from_its_own_snapshot_on(real_recording, naive_book):
    with gzip.open(real_recording) as file:
        lines = [line.partition(b" ")[2].strip() for line in file]
    async with SimulatorServer(Playback(real_recording), close_when_played=True) as server:
        path = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
        frames, snapshots, _ = await listen(server, path)
    assert frames == streams_of(lines, "btcusdt@depth@100ms", "btcusdt@bookTicker")
    assert snapshots["BTCUSDT"][1] == next(line for line in lines if line.startswith(b'{"lastUpdateId"'))
    book = naive_book(snapshots["BTCUSDT"][1])
    depth_frames = streams_of(frames, "btcusdt@depth@100ms")
    assert sum(book.apply(orjson.loads(frame)["data"]) for frame in depth_frames) == 3449
