"""What the pipeline publishes fits the schema for other languages, say validators that know nothing of our code."""

import asyncio
import json
import os
import shutil
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import pytest
from jsonschema import Draft202012Validator
from waiting import patience

import converter.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import lines
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, LIVE, PRICES, QUOTES
from simulator import Exchange, Fault, SimulatorServer

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schema"
NODE = "FAIRPRICE_TEST_NODE"
VENUES = ("binance", "binance-usdm")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
STREAMS = (BOOKS, PRICES, QUOTES, LIVE)
ENOUGH = Counter({"book": 80, "price": 80, "gap": 1, "status": 4, "quote": 50, "live": 50})
MOST = 100
"""Lines of a kind that are kept, however many more come on a busy machine."""


async def published(broker, exchange, counts, heard, is_enough):
    """Collect the first lines of each kind with the type of their message."""
    async with broker.tap(exchange, capacity=100_000) as tap:
        while True:
            for delivery in await tap.receive(1000):
                for line in lines(delivery.message.body):
                    counts[kind := json.loads(line)["type"]] += 1
                    if counts[kind] <= MOST:
                        heard.append((delivery.message.type, kind, line))
            if counts >= ENOUGH:
                is_enough.set()


async def run_a_while():
    """Follow both made-up markets, through a hole, until there is enough of each kind of event."""
    broker, clock, stop, is_enough = MemoryBroker(), SystemClock(), asyncio.Event(), asyncio.Event()
    counts, heard = Counter(), []
    async with asyncio.TaskGroup() as listening:
        taps = [listening.create_task(published(broker, each, counts, heard, is_enough)) for each in STREAMS]
        async with asyncio.TaskGroup() as tasks:
            convert = partial(converter.app.run, ConverterSettings(), broker, clock=clock, random=Random(1), stop=stop)
            tasks.create_task(convert())
            for seed, venue in enumerate(VENUES):
                tasks.create_task(follow(venue, seed, broker, clock, stop))
            async with patience():
                await is_enough.wait()
            stop.set()
        for tap in taps:
            tap.cancel()
    return heard


async def follow(venue, seed, broker, clock, stop):
    exchange = Exchange(SYMBOLS, seed, venue=venue, start_us=clock.wall())
    exchange.inject(Fault("drop", after=20, count=3))
    async with SimulatorServer(exchange, at_present=True) as server:
        settings = CrawlerSettings(
            venue=venue,
            symbols=SYMBOLS,
            exchange_rest_url=server.rest_url,
            exchange_stream_url=server.stream_url,
            stream_connections=1,
            state_dir=None,
            quote_interval=0.01,
        )
        await Crawler(settings, broker, name=f"crawler-of-{venue}", random=Random(1), clock=clock).run(stop)


@pytest.fixture(scope="module")
def heard():
    return asyncio.run(run_a_while())


def test_every_line_that_the_pipeline_publishes_fits_the_schema_of_its_message(heard):
    validators = {
        message_type: Draft202012Validator(json.loads((SCHEMA / f"{message_type}.json").read_bytes()))
        for message_type in (f"{stream}.v1" for stream in STREAMS)
    }
    for message_type, _, line in heard:
        validators[message_type].validate(json.loads(line))


def broken(line):
    """Yield the line with what another writer may do wrong."""
    event = json.loads(line)
    yield line[:-1]
    for change in ({"symbol": None}, {"symbol": "BTC USDT"}, {"venue": 7}, {"event_time": -1, "from_time": "1"}):
        yield json.dumps(event | change).encode()
    for missing in ("type", "venue", "symbol"):
        yield json.dumps({field: value for field, value in event.items() if field != missing}).encode()


@pytest.mark.may_skip
def test_a_reader_in_javascript_takes_every_line_and_no_broken_one(heard, checked_by_node):
    samples = b"".join(path.read_bytes() for path in sorted((ROOT / "shared/tests/samples").iterdir()))
    good = [*(line for _, _, line in heard), *samples.splitlines()]
    assert checked_by_node([*good, b'{"type":"trade"}']) == {"fitting": len(good), "unfit": 0, "unknown": 1}
    one_of_each = {kind: line for _, kind, line in heard}
    bad = [each for line in one_of_each.values() for each in broken(line)]
    assert len(bad) >= 20
    assert checked_by_node(bad) == {"fitting": 0, "unfit": len(bad), "unknown": 0}


@pytest.fixture
def checked_by_node(tmp_path):
    """Give lines to the reader that docs/messages.md shows, and return its account."""
    if not os.environ.get(NODE) or not shutil.which("node") or not shutil.which("npm"):
        pytest.skip(f"node and npm read the messages with {NODE}=1; npm fetches ajv for it")
    for path in SCHEMA.iterdir():
        shutil.copy(path, tmp_path)
    install = ["npm", "install", "--prefix", tmp_path, "--no-save", "--no-audit", "--no-fund", "ajv@8"]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip("npm cannot fetch ajv here")

    def check(sent):
        done = subprocess.run(
            ["node", tmp_path / "check.mjs"], input=b"\n".join(sent), capture_output=True, check=False
        )
        account = json.loads(done.stdout)
        assert done.returncode == (1 if account["unfit"] else 0), done.stderr
        return account

    return check
