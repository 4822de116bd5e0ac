"""`crawler record` against the simulated exchange over real sockets: what is recorded gives its books again."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from random import Random

import orjson
import preloaded
import pytest
from clocks import ManualClock
from waiting import eventually

from crawler.recorder import program
from crawler.settings import CrawlerSettings
from simulator import Exchange, Fault, SimulatorServer

HOUR = 3600.0


@pytest.fixture
def clock():
    return ManualClock()


def exchange(clock, *symbols):
    """An exchange on the network that lives on a clock."""
    return SimulatorServer(Exchange(symbols, start_us=clock.wall()), clock=clock, tick=0.05)


def indexes(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.index.json"))]


class Recording:
    """A recorder at work, and what it has written."""

    def __init__(self, server, clock, folder, symbols=("BTCUSDT",), *, seconds=HOUR, size=1e9, **settings):
        urls = {"exchange_rest_url": server.rest_url, "exchange_stream_url": server.stream_url}
        self.folder = folder
        self.clock = clock
        self._read = {}
        self._lines = []
        self.stop = asyncio.Event()
        self.code = None
        self._record = program.record(
            CrawlerSettings.load({}, symbols=symbols, **urls, **settings),
            folder,
            seconds=seconds,
            size=size,
            stop=self.stop,
            clock=clock,
            random=Random(1),
        )

    async def __aenter__(self):
        self.task = asyncio.create_task(self._record)
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await self.clock.until(self.task.done)
        self.code = self.task.result()

    async def until(self, condition):
        """Let time pass until it is so."""
        await self.clock.until(lambda: self.task.done() or condition(self), within=600, step=0.25)
        if self.task.done():
            self.task.result()
            raise AssertionError("the recorder has ended")

    def lines(self):
        """Receive time and JSON of each line so far; what was read once is not read again."""
        for path in sorted(self.folder.glob("*.ndjson.gz")):
            packed = path.read_bytes()[self._read.get(path, 0) :]
            try:
                lines = gzip.decompress(packed).splitlines()
            except (EOFError, gzip.BadGzipFile):  # it is being written
                break
            self._read[path] = self._read.get(path, 0) + len(packed)
            self._lines += [
                (int(time), orjson.loads(text)) for time, _, text in (line.partition(b" ") for line in lines)
            ]
        return self._lines

    def frames(self):
        """What was written by symbol and kind of stream, in its order; a bare snapshot belongs to the only symbol."""
        frames = defaultdict(list)
        for received, frame in self.lines():
            assert 0 <= self.clock.wall() * 1000 - received < HOUR * 1e9
            stream, data = (frame["stream"], frame["data"]) if "stream" in frame else ("btcusdt@snapshot", frame)
            name, _, kind = stream.partition("@")
            frames[name.upper(), kind.removesuffix("@100ms")].append(data)
        return frames

    def connections(self):
        """The frames of each connection, as it sent them."""
        frames = defaultdict(list)
        for _, frame in self.lines():
            if "connection" in frame:
                sent = {name: frame[name] for name in ("stream", "data")}
                frames[frame["connection"]].append(sent["data"]["frame"] if sent["stream"].startswith("!") else sent)
        return frames


def count(recording, kind, symbol="BTCUSDT"):
    return len(recording.frames()[symbol, kind])


def joining(recording, symbol):
    """The first snapshot that the diffs join; one from a replica that lags may be older than all of them."""
    frames = recording.frames()
    first_id = frames[symbol, "depth"][0]["U"]
    return next((body for body in frames[symbol, "snapshot"] if body["lastUpdateId"] + 1 >= first_id), None)


def rebuilt(snapshot, diffs):
    """The book after the last diff: a naive one, as far as the snapshot reached."""
    sides = [dict(snapshot["bids"]), dict(snapshot["asks"])]
    for diff in diffs:
        for side, key in zip(sides, "ba", strict=True):
            side.update(dict(diff[key]))
    bids, asks = ([level for level in side.items() if float(level[1])] for side in sides)
    return sorted(bids, key=lambda level: -float(level[0])), sorted(asks, key=lambda level: float(level[0]))


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
@pytest.mark.parametrize("connections", [1, 2])
async def test_what_is_recorded_gives_the_exchanges_books_again(clock, symbols, connections, tmp_path):
    async with exchange(clock, *symbols) as server:
        async with Recording(server, clock, tmp_path, symbols, stream_connections=connections) as recording:
            for symbol in symbols:
                await recording.until(lambda recording: count(recording, "depth", symbol) > 20)  # noqa: B023
                await recording.until(lambda recording: joining(recording, symbol))  # noqa: B023
        assert recording.code == 0
        frames = recording.frames()
        for symbol in symbols:
            snapshot = joining(recording, symbol)
            diffs = frames[symbol, "depth"]
            assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(diffs))
            following = [diff for diff in diffs if diff["u"] > snapshot["lastUpdateId"]]
            truth = server.source.book_at(symbol, diffs[-1]["u"])
            bids, asks = rebuilt(snapshot, following)
            assert bids[:20] == [tuple(level) for level in truth.bids[:20]]
            assert asks[:20] == [tuple(level) for level in truth.asks[:20]]
            assert frames[symbol, "bookTicker"]
        assert not server.limits.breaches


async def test_what_each_connection_sent_is_there_and_each_event_once_beside_it(clock, tmp_path):
    async with (
        exchange(clock, "BTCUSDT") as server,
        Recording(server, clock, tmp_path, stream_connections=2) as recording,
    ):
        await recording.until(lambda recording: count(recording, "depth") > 20)
    sent = recording.connections()
    assert set(sent) == {1, 2}
    ids = {
        number: [frame["data"]["u"] for frame in frames if frame.get("stream") == "btcusdt@depth@100ms"]
        for number, frames in sent.items()
    }
    assert all(len(mine) > 10 and mine == sorted(set(mine)) for mine in ids.values())
    assert [frame for frames in sent.values() for frame in frames if frame.get("id") == 1]
    once = [diff["u"] for diff in recording.frames()["BTCUSDT", "depth"]]
    assert once == sorted(set(ids[1]) | set(ids[2]))
    opened = [note for note in recording.frames()["!CONNECTION", ""] if note["is_open"]]
    assert [(note["connection"], note["symbols"]) for note in opened] == [(1, ["BTCUSDT"]), (2, ["BTCUSDT"])]


async def test_a_lost_connection_is_opened_again_and_followed_by_another_snapshot(clock, tmp_path):
    async with (
        exchange(clock, "BTCUSDT") as server,
        Recording(server, clock, tmp_path, stream_connections=1) as recording,
    ):
        await recording.until(lambda recording: count(recording, "snapshot"))
        server.inject(Fault("disconnect"))
        await recording.until(lambda recording: recording.frames()["!LOSS", ""])
        diffs, snapshots = count(recording, "depth"), count(recording, "snapshot")
        await recording.until(lambda recording: count(recording, "snapshot") > snapshots)
        await recording.until(lambda recording: count(recording, "depth") > diffs + 10)
    frames = recording.frames()
    (loss,) = frames["!LOSS", ""]
    assert loss["symbols"] == ["BTCUSDT"]
    assert [note["is_open"] for note in frames["!CONNECTION", ""]][:3] == [True, False, True]
    holes = [(a["u"] + 1, b["U"] - 1) for a, b in pairwise(frames["BTCUSDT", "depth"]) if b["U"] > a["u"] + 1]
    gaps = [gap for index in indexes(tmp_path) for gap in index["gaps"]]
    assert recording.code == len(gaps) == len(holes) == 1
    assert gaps[0]["from_update_id"] <= holes[0][0] <= holes[0][1] <= gaps[0]["to_update_id"]
    assert gaps[0]["reason"] == "disconnect"


async def test_a_snapshot_that_fails_is_asked_for_again(clock, tmp_path):
    async with exchange(clock, "BTCUSDT") as server:
        server.inject(Fault("fail_snapshot", count=2))
        async with Recording(server, clock, tmp_path) as recording:
            await recording.until(lambda recording: count(recording, "snapshot"))
        assert recording.code == 0


async def test_a_frame_that_cannot_be_read_is_written_as_a_note(clock, tmp_path):
    async with (
        exchange(clock, "BTCUSDT") as server,
        Recording(server, clock, tmp_path, stream_connections=1) as recording,
    ):
        await recording.until(lambda recording: count(recording, "snapshot"))
        server.inject(Fault("malformed", variant="bad_json"))
        await recording.until(lambda recording: recording.frames()["!UNREADABLE", ""])
        diffs = count(recording, "depth")
        await recording.until(lambda recording: count(recording, "depth") > diffs)
    assert recording.code == 1, "what it told is missing"
    assert sum(index["unreadable"] for index in indexes(tmp_path)) == len(recording.frames()["!UNREADABLE", ""])


async def test_an_unknown_symbol_is_named_and_the_others_are_recorded(clock, tmp_path, capsys):
    symbols = ("BTCUSDT", "GONEUSDT")
    async with exchange(clock, "BTCUSDT") as server, Recording(server, clock, tmp_path, symbols) as recording:
        await recording.until(lambda recording: count(recording, "snapshot"))
    assert recording.code == 1
    assert "error: no book could be made of GONEUSDT" in capsys.readouterr().err
    with pytest.raises(ExceptionGroup) as caught:
        async with (
            exchange(clock, "BTCUSDT") as server,
            Recording(server, clock, tmp_path / "none", symbols[1:]) as recording,
        ):
            await recording.until(lambda recording: recording.frames())
    assert "lists none of GONEUSDT" in str(caught.value.exceptions)
    assert not list((tmp_path / "none").iterdir())


@pytest.mark.parametrize("limit", [{"seconds": 2.0}, {"size": 20_000}], ids=["time", "size"])
async def test_a_file_ends_by_time_or_size_and_each_stands_alone_beside_its_index(clock, limit, tmp_path):
    symbols = ("BTCUSDT", "ETHUSDT")
    async with exchange(clock, *symbols) as server, Recording(server, clock, tmp_path, symbols, **limit) as recording:
        await recording.until(lambda recording: len(list(tmp_path.glob("*.gz"))) == 3)
    assert recording.code == 0
    files, found = sorted(tmp_path.glob("*.gz")), indexes(tmp_path)
    assert len(files) == len(found) >= 3
    assert len(files) + len(found) == len(list(tmp_path.iterdir()))
    newest = dict.fromkeys(symbols, 0)
    for path, index in zip(files, found, strict=True):
        lines = [line.partition(b" ") for line in gzip.decompress(path.read_bytes()).splitlines()]
        frames = [orjson.loads(text) for _, _, text in lines]
        assert (index["lines"], index["size"], index["is_complete"]) == (len(lines), path.stat().st_size, True)
        assert (index["first_received_ns"], index["last_received_ns"]) == (int(lines[0][0]), int(lines[-1][0]))
        assert frames[0]["stream"] == "!exchangeInfo"
        for symbol, told in index["symbols"].items():
            mine = [frame["data"] for frame in frames if frame["stream"].startswith(symbol.lower())]
            diffs = [event for event in mine if event.get("e") == "depthUpdate"]
            assert told["diffs"] == len(diffs)
            if not diffs:
                continue  # the last file may have ended at once
            assert (told["first_update_id"], told["last_update_id"]) == (diffs[0]["U"], diffs[-1]["u"])
            assert told["snapshots"] == sum("lastUpdateId" in event for event in mine)
            assert newest[symbol] in {0, diffs[0]["U"] - 1}
            newest[symbol] = diffs[-1]["u"]
    assert all(symbol["snapshots"] for index in found[:-1] for symbol in index["symbols"].values())


# As a process


@pytest.fixture
def market():
    """A simulated exchange of two symbols as a process; its addresses as settings."""
    options = ("--port", "0", "--symbols", "BTCUSDT,ETHUSDT")
    process = preloaded.start("simulator", *options, environ=os.environ, piped="stdout")
    url = process.stdout.readline().split()[1]
    yield {"FAIRPRICE_EXCHANGE_REST_URL": url, "FAIRPRICE_EXCHANGE_STREAM_URL": url.replace("http", "ws")}
    process.kill()
    process.wait()
    process.stdout.close()


def recorder(folder, environ, *options, most_kib=None):
    """Start `crawler record`; `most_kib` bounds its files, as a full disk does."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    command = ["crawler", "record", str(folder), *map(str, options)]
    if not most_kib:
        return preloaded.start(*command, environ=clean | environ, piped="stderr")
    limited = ["bash", "-c", f'ulimit -f {most_kib}; exec "$@"', "bash", sys.executable, "-m", *command]
    return subprocess.Popen(limited, env=clean | environ, stderr=subprocess.PIPE, text=True)


def readable(folder):
    """The lines of its files as far as they are whole; a killed recorder leaves at most one that is not."""
    lines = []
    for path in sorted(folder.glob("*.gz")):
        with gzip.open(path) as file:
            try:
                lines += [line for line in file if line.endswith(b"}\n")]
            except EOFError:
                continue
    return lines


def test_a_killed_recorder_has_lost_no_more_than_a_second(market, tmp_path):
    process = recorder(tmp_path, market | {"FAIRPRICE_SYMBOLS": "BTCUSDT,ETHUSDT"})
    eventually(lambda: process.poll() is not None or len(readable(tmp_path)) > 2000)
    assert process.poll() is None, process.stderr.read()
    killed_ns = time.time_ns()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()

    lines = readable(tmp_path)
    assert all(orjson.loads(line.partition(b" ")[2]) for line in lines)
    last_ns = int(lines[-1].partition(b" ")[0])
    assert 0 < killed_ns - last_ns < 2_000_000_000, "a second, and another one for a busy machine"
    complete = [index for index in indexes(tmp_path) if index["is_complete"]]
    assert len(complete) < len([*tmp_path.glob("*.gz")]), "another file begins with each full hour, the last is cut off"


def test_a_disk_that_takes_no_more_is_told_and_what_was_written_stays_readable(market, tmp_path):
    process = recorder(tmp_path, market, most_kib=32)
    _, text = process.communicate()
    assert process.returncode == 1
    (path,) = tmp_path.glob("*.gz")
    assert f"error: cannot write {path}: File too large" in text
    assert "Traceback" not in text
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert f"{len(lines)} lines in 1 files of {tmp_path}." in text
    assert all(orjson.loads(line.partition(b" ")[2]) for line in lines)


@pytest.mark.parametrize("seconds", ["-2", "0", "x", "nan"])
def test_a_time_that_is_none_is_refused_in_words(seconds, tmp_path):
    process = recorder(tmp_path / "new", {}, "--seconds", seconds)
    _, text = process.communicate()
    assert process.returncode == 2
    assert f"argument --seconds: {seconds!r} is no positive number" in text
    assert not (tmp_path / "new").exists()


def test_where_nothing_could_be_recorded_no_file_is_left(tmp_path):
    nowhere = {"FAIRPRICE_EXCHANGE_REST_URL": "http://127.0.0.1:1", "FAIRPRICE_EXCHANGE_STREAM_URL": "ws://127.0.0.1:1"}
    process = recorder(tmp_path / "new", nowhere, "--seconds", "1")
    _, text = process.communicate()
    assert process.returncode == 2
    assert "cannot reach the exchange" in text
    assert f"error: nothing was recorded into {tmp_path / 'new'}" in text
    assert list((tmp_path / "new").iterdir()) == []

    (tmp_path / "file").touch()
    process = recorder(tmp_path / "file", nowhere, "--seconds", "1")
    _, text = process.communicate()
    assert (process.returncode, (tmp_path / "file").read_bytes()) == (2, b"")
    assert f"error: cannot record into {tmp_path / 'file'}: File exists; name a folder" in text
