import asyncio
import contextlib
import os
import signal
import socket
import sys

import aiohttp
import orjson
import pytest
from driven import DrivenServer
from tables import each_row
from waiting import patience, soon

from simulator import Exchange, Fault, PortInUse, SimulatorServer
from simulator.__main__ import main
from simulator.streams import CLOSE_S


@pytest.fixture
async def server():
    async with DrivenServer(Exchange(("BTCUSDT",))) as server:
        await server.clock.advance(1)
        yield server


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def answer(http, method, url, **more):
    async with patience(), http.request(method, url, **more) as reply:
        return reply.status, orjson.loads(await reply.read())


async def test_the_true_book_can_be_had_at_an_id(server, http):
    _, snapshot = await answer(http, "GET", f"{server.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000")
    update_id = snapshot["lastUpdateId"]
    status, book = await answer(http, "GET", f"{server.control_url}/book?symbol=BTCUSDT&id={update_id}")
    assert (status, book["symbol"], book["update_id"]) == (200, "BTCUSDT", update_id)
    assert book["bids"][:5000] == snapshot["bids"]
    assert book["asks"][:5000] == snapshot["asks"]
    assert len(book["bids"]) > 5000
    _, books = await answer(
        http, "GET", f"{server.control_url}/book?symbol=BTCUSDT&id={update_id},{update_id - 1}&limit=20"
    )
    assert [each["update_id"] for each in books] == [update_id, update_id - 1]
    assert (books[0]["bids"], books[0]["asks"]) == (book["bids"][:20], book["asks"][:20])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("symbol=BTCUSDT&id=1", 404, "ids from"),
        ("symbol=NOPE&id=1", 404, "these are: BTCUSDT"),
        ("symbol=BTCUSDT&id=x", 400, "id"),
        ("symbol=BTCUSDT&id=1&limit=few", 400, "limit"),
    ],
)
async def test_a_book_that_cannot_be_had_says_what_can(server, http, query, status, message):
    got, body = await answer(http, "GET", f"{server.control_url}/book?{query}")
    assert got == status
    assert message in body["error"]


async def test_faults_are_armed_listed_and_cleared_over_http(server, http):
    url = f"{server.control_url}/faults"
    assert await answer(http, "POST", url, data=b'{"kind":"drop","after":1000}') == (200, {"armed": [1]})
    assert await answer(http, "POST", url, data=b'[{"kind":"swap","after":999},{"kind":"refuse"}]') == (
        200,
        {"armed": [2, 3]},
    )
    assert [fault["kind"] for fault in (await answer(http, "GET", url))[1]["faults"]] == ["drop", "swap", "refuse"]
    assert await answer(http, "DELETE", url) == (200, {"armed": []})
    assert (await answer(http, "GET", url))[1]["faults"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", 'like {"kind":"drop"'),
        (b"{", "kinds: drop"),
        (b'{"kind":"bang"}', "known kinds: drop"),
        (b'[{"kind":"drop","count":0}]', "count: 0"),
    ],
)
async def test_a_wrong_fault_is_refused_by_field(server, http, body, message):
    status, answered = await answer(http, "POST", f"{server.control_url}/faults", data=body)
    assert status == 400
    assert message in answered["error"]


async def test_the_status_counts_what_happened(server, http):
    server.inject(Fault("duplicate"))
    async with http.ws_connect(f"{server.stream_url}/ws/btcusdt@depth@100ms") as client:
        for _ in range(3):
            await server.drive(client.receive())
        await answer(http, "GET", f"{server.rest_url}/api/v3/ping")
        _, status = await answer(http, "GET", f"{server.control_url}/status")
    assert status["frames"]["depth"] >= 3
    assert status["connections"] == {"open": 1, "opened": 1, "refused": 0}
    assert status["subscriptions"] == ["btcusdt@depth@100ms"]
    assert status["requests"] == {"/api/v3/ping": 1}
    assert status["weight"] == {"127.0.0.1": 1}
    assert status["breaches"] == {}
    assert status["fired"] == {"duplicate": 1}
    assert status["faults"][0]["spent"] is True
    assert status["update_ids"]["BTCUSDT"] > 2**33
    assert status["played"] is None


async def test_a_slow_snapshot_is_slow(http):
    async with DrivenServer(Exchange(("BTCUSDT",))) as server:
        server.inject(Fault("slow_snapshot", seconds=6))
        url = f"{server.rest_url}/api/v3/depth?symbol=BTCUSDT"
        assert (await server.drive(answer(http, "GET", url)))[0] == 200
        assert 6 <= server.clock.monotonic() < 6.2


async def test_a_snapshot_cut_off_breaks_in_the_body(server, http):
    url = f"{server.rest_url}/api/v3/depth?symbol=BTCUSDT"
    server.inject(Fault("fail_snapshot", variant="reset"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer(http, "GET", url)


async def test_headers_of_a_refusal_reach_the_client(server, http):
    server.inject(Fault("rate_limit", seconds=9))
    async with http.get(f"{server.rest_url}/api/v3/depth?symbol=BTCUSDT") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (429, "9")
        assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "5"


async def test_a_port_in_use_is_told_with_what_to_do(server):
    port = int(server.rest_url.rpartition(":")[2])
    with pytest.raises(PortInUse, match=f"127.0.0.1:{port} is in use by another program: stop that program, or"):
        async with SimulatorServer(Exchange(), port=port):
            pass


async def test_a_server_ends_without_waiting_for_clients_that_are_connected(http):
    """Half a second for each of two steps, far less than the time that a client otherwise has for a close frame."""
    async with contextlib.AsyncExitStack() as ending:
        server = await ending.enter_async_context(SimulatorServer(Exchange()))
        client = await http.ws_connect(f"{server.stream_url}/ws/btcusdt@depth@100ms")
        await soon(client.receive())
        async with patience(CLOSE_S / 3):
            await ending.aclose()
    await client.close()


# The program


@contextlib.asynccontextmanager
async def started(*options):
    """The program, which does not outlive the test."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *options, stdout=pipe, stderr=pipe, env=environment
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
            await program.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_says_where_it_serves_and_ends_cleanly(http, number):
    options = ("--port", "0", "--symbols", "btc/usdt, ETH-USDT", "--seed", "7")
    async with patience(), started(*options) as program:
        line = (await program.stdout.readline()).decode()
        rest, stream, control = line.split()[1::2]
        assert (stream, control) == (rest.replace("http", "ws"), f"{rest}/__sim")
        _, info = await answer(http, "GET", f"{rest}/api/v3/exchangeInfo")
        assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        program.send_signal(number)
        _, errors = await program.communicate()
    assert (program.returncode, errors) == (0, b"")


def test_bad_recordings_and_ports_end_with_2_and_a_sentence(tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.write_text("1 {}\n")
    assert main(["--capture", str(bad), "--port", "0"]) == 2
    assert f"simulator: {bad}, line 1: neither" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    assert "is in use by another program" in capsys.readouterr().err


@each_row(
    "options",
    [
        ["--port", "x"],
        ["--port", "70000"],
        ["--symbols", ","],
        ["--symbols", "BTC USDT"],
        ["--symbols", "*USDT"],
        ["--speed", "0"],
        ["--time-scale", "-1"],
    ],
)
def test_bad_options_end_with_2_and_a_sentence(options, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert f"argument {options[0]}: '{options[1]}' is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speed", "2"], "--speed needs --capture FILE; a market is made faster by --time-scale"),
        (["--capture", "x", "--symbols", "ETHUSDT"], "--symbols is of a market; leave it out with --capture"),
        (["--capture", "x", "--seed", "1"], "--seed is of a market"),
        (["--capture", "x", "--time-scale", "2"], "--time-scale is of a market"),
    ],
)
def test_an_option_that_would_be_passed_over_is_an_error(options, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
