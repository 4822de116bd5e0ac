"""The live view beside the record: whatever becomes of it, the record is the same to the byte."""

import asyncio
import json
import urllib.request
from functools import partial
from random import Random

import pytest
from waiting import eventually

import converter.app
from converter.settings import ConverterSettings
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import Book, Live, Price, decode
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS, EXCHANGES, LIVE, PRICES
from simulator import Playback, SimulatorServer

START_MS = 1_700_000_000_000
BOOKS_THERE = 60
TICKERS = 5
"""Between two diffs, each with a best bid and ask of its own."""


class Blocked(MemoryBroker):
    """One whose alarm lets nothing through that may be lost."""

    def cast(self, exchange, message):
        return False


def recording(path):
    """Write diffs, each of which ends with the top of the ticker before it."""
    step = TICKERS + 1
    snapshot = {"lastUpdateId": step, "bids": [["100.00", "1.0"], ["99.00", "1.0"]], "asks": [["101.00", "1.0"]]}
    lines = []
    for number in range(1, BOOKS_THERE + 2):
        first = number * step
        for ahead in range(TICKERS):
            size = f"{first + ahead}.0"
            top = {
                "u": first - TICKERS + 1 + ahead,
                "s": "BTCUSDT",
                "b": "100.00",
                "B": size,
                "a": "101.00",
                "A": "1.0",
            }
            lines.append((number * 100 + ahead * 15, {"stream": "btcusdt@bookTicker", "data": top}))
        changes = {"U": first - step + 1, "u": first, "b": [["100.00", size]], "a": []}
        event = {"e": "depthUpdate", "E": START_MS + number * 100, "s": "BTCUSDT", **changes}
        lines.append((number * 100 + 99, {"stream": "btcusdt@depth@100ms", "data": event}))
        if number == 1:
            lines.append((number * 100 + 99, snapshot | {"bids": [["100.00", size], ["99.00", "1.0"]]}))
    text = [f"{START_MS + time}000000 {json.dumps(line, separators=(',', ':'))}\n" for time, line in lines]
    path.write_text("".join(text))
    return path


async def published(path, broker, interval):
    """Play it ten times as fast as it was recorded; return the lines of the record, and how many live ones came."""
    clock, stop = SystemClock(), asyncio.Event()
    heard = {BOOKS: [], PRICES: [], LIVE: []}

    async def listen(exchange, taken):
        async with broker.tap(exchange, 10_000) as tap:
            while True:
                for delivery in await tap.receive(1000):
                    taken += decode(delivery.message.body)

    exchanges = [name for name in heard if name != LIVE or not isinstance(broker, WithoutLive)]
    async with SimulatorServer(Playback([path], speed=10), close_when_played=True, at_present=True) as server:
        settings = CrawlerSettings(
            exchange_rest_url=server.rest_url,
            exchange_stream_url=server.stream_url,
            stream_connections=1,
            state_dir=None,
            quote_interval=interval,
        )
        async with asyncio.TaskGroup() as tasks:
            taps = [tasks.create_task(listen(name, heard[name])) for name in exchanges]
            convert = partial(converter.app.run, ConverterSettings(), broker, clock=clock, random=Random(1), stop=stop)
            converting = tasks.create_task(convert(replay=True))
            await Crawler(settings, broker, name="one", random=Random(1), clock=clock, replay=True).run(stop)
            await broker.until_empty("books.converter")
            stop.set()
            await converting
            for tap in taps:
                tap.cancel()
    record = [
        {name: value for name, value in vars(event).items() if name != "received_time"}
        for event in heard[BOOKS] + heard[PRICES]
        if isinstance(event, Book | Price)
    ]
    return record, [event for event in heard[LIVE] if isinstance(event, Live)]


class WithoutLive(MemoryBroker):
    """One with the definitions of an earlier version."""

    def __init__(self):
        super().__init__([each for each in EXCHANGES if not each.live])


@pytest.mark.slow
async def test_the_record_is_the_same_with_a_live_view_and_without_and_whatever_holds_it_up(tmp_path):
    path = recording(tmp_path / "capture.ndjson")
    plain, none = await published(path, MemoryBroker(), 0.0)
    assert len(plain) == 2 * BOOKS_THERE
    assert none == []
    record, live = await published(path, MemoryBroker(), 0.001)
    assert record == plain
    assert live, "between two books there is something to see"
    assert all(each.ticker_id > each.update_id and each.bids[0][1] == f"{each.values['bid_size']}" for each in live)
    for broker in (Blocked(), WithoutLive()):
        record, live = await published(path, broker, 0.001)
        assert (record, live) == (plain, [])


@pytest.mark.rabbitmq
@pytest.mark.influxdb
def test_over_servers_the_page_gets_what_the_tickers_say_and_the_record_stays_whole(pipeline):
    services = pipeline.start_chain(crawler={"FAIRPRICE_QUOTE_INTERVAL": "10ms"})
    crawler, converter, gateway = (services[name] for name in ("crawler", "converter", "gateway"))

    def live():
        with urllib.request.urlopen(f"{gateway.url}/api/prices/BTCUSDT") as answer:
            return json.load(answer)["live"]

    first = eventually(live)
    eventually(lambda: live()["ticker_id"] > first["ticker_id"])
    eventually(lambda: converter.metric("converter_live_prices_total") > 100)
    assert crawler.metric("broker_casts_total", outcome="sent") > 0
    assert converter.metric("converter_invalid_quotes_total") == 0
    pipeline.wait_for_more(1000)
    pipeline.finish()
    pipeline.assert_even("live view")
    pipeline.assert_clean()
