"""A gateway on a free port over an embedded broker, with a clock that stands still unless told."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import aiohttp
import orjson
import pytest
import pytest_asyncio
from clocks import ManualClock
from kept_history import KeptHistory
from prometheus_client import CollectorRegistry

from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Message
from fairprice.messages import Audit, Book, Depth, Gap, Live, Price, Status, encode, join
from fairprice.runtime.backoff import delays
from fairprice.topology import Exchange
from gateway.app import run
from gateway.settings import GatewaySettings
from gateway.stream import BEAT

START = 1_723_075_200_000_000
"""Event time of a recording of 2024, far from any clock."""

SPOT, FUTURES = "binance", "binance-usdm"


class Make:
    """Events that differ by `step`, a tenth of a second of event time each."""

    @staticmethod
    def price(step=0, symbol="BTCUSDT", *, venue=SPOT, bid=None, status="ok", received=None, **values):
        bid = 61_837.64 + step / 100 if bid is None else bid
        trusted = status in {"ok", "locked"}
        numbers = {
            "bid": bid,
            "ask": bid + 0.02,
            "bid_size": 1.5,
            "ask_size": 0.5,
            "spread": 0.02,
            "spread_bps": 0.0032,
            "imbalance": 0.5,
            "mid": bid + 0.01 if trusted else None,
            "weighted_mid": bid + 0.015 if trusted else None,
            "impact_mid": bid + 0.012 if trusted else None,
            "curve_mid": bid + 0.018 if trusted else None,
            "depth_bid_10bps": 12.5,
            "depth_ask_10bps": 11.25,
            "impact_bid_10000": bid,
            "impact_ask_10000": bid + 0.02,
            **values,
        }
        time = START + step * 100_000
        price = bid + 0.015 if trusted else None
        return Price(
            venue,
            symbol,
            20 * step,
            20 * step + 19,
            time,
            time if received is None else received,
            time + 4000,
            "weighted_mid",
            status,
            price,
            numbers,
        )

    @staticmethod
    def book(step=0, symbol="BTCUSDT", *, venue=SPOT, bid=None):
        bid = 61_837.64 + step / 100 if bid is None else bid
        bids = [[f"{bid - level / 100:.8f}", f"{1 + level:.8f}"] for level in range(12)]
        asks = [[f"{bid + 0.02 + level / 100:.8f}", f"{1 + level:.8f}"] for level in range(12)]
        time = START + step * 100_000
        return Book(venue, symbol, 20 * step, 20 * step + 19, time, None, time, "crawler-1", bids, asks, None, None)

    @staticmethod
    def live(step=0, symbol="BTCUSDT", *, venue=SPOT, bid=None, ahead=5, **values):
        """The price of the book of this step with what came so many ids behind it."""
        price, book = Make.price(step, symbol, venue=venue, bid=bid, **values), Make.book(step, symbol, bid=bid)
        ids = price.first_update_id, price.update_id, price.event_time, price.update_id + ahead
        received = price.event_time + 50_000
        return Live(
            venue, symbol, *ids, received, received + 2000, price.estimator, price.status, price.price, book.bids,
            book.asks, price.values,
        )  # fmt: skip

    @staticmethod
    def gap(step=0, symbol="BTCUSDT", *, venue=SPOT, steps=20):
        time = START + step * 100_000
        return Gap(venue, symbol, 20 * step, 20 * (step + steps), time, time + steps * 100_000, "disconnected")

    @staticmethod
    def audit(minute=0, symbol="BTCUSDT", *, venue=SPOT, wrong=0):
        """The minute that begins so many minutes behind `START`."""
        return Audit(venue, symbol, START + minute * 60_000_000, "crawler-1", 1, 99, 9, wrong, 0, 0)

    @staticmethod
    def depth(step=0, symbol="BTCUSDT", *, venue=SPOT, quantity=5.0):
        values = {"bid_quantity_10bps": quantity, "ask_quantity_10bps": 2.5, "bid_quantity_500bps": None}
        values |= {"bid_value_10bps": 100.0 * quantity, "ask_value_10bps": 250.0, "bid_value_500bps": None}
        return Depth(venue, symbol, 20 * step + 19, START + step * 100_000, "crawler-1", values)

    @staticmethod
    def status(word="TRADING", symbol="BTCUSDT", *, venue=SPOT, crawler="crawler-1", problem=None, model_time=None):
        return Status(venue, symbol, START, crawler, word, word != "TRADING", problem, model_time)


def message(exchange, events, version):
    symbols = tuple(dict.fromkeys(f"{event.venue}.{event.symbol}" for event in events))
    body = join(encode(event) for event in events)
    return Message(body, f"{exchange}.{version}", "1", "test", 0, symbols[0] if len(symbols) == 1 else "batch", symbols)


@dataclass
class Running:
    """A gateway that serves; `http` is a client of it."""

    url: str
    broker: MemoryBroker
    http: aiohttp.ClientSession
    clock: ManualClock
    task: asyncio.Task

    async def publish(self, *events, version="v1"):
        streams = (("books", (Book, Gap, Status, Audit, Depth)), ("prices", (Price,)), ("live", (Live,)))
        for exchange, kinds in streams:
            mine = [event for event in events if isinstance(event, kinds)]
            if mine:
                await self.broker.publish(exchange, message(exchange, mine, version))
        # The taps' tasks take what is there before the next turn but one.
        for _ in range(5):
            await asyncio.sleep(0)

    @staticmethod
    def message_of(exchange, line):
        """A message that holds this line, whatever it is."""
        return Message(line, f"{exchange}.v1", "1", "test", 0, "batch", ())

    async def beat(self):
        """Let the gateway look at the states of feeds and books, and send what is new."""
        await self.clock.advance(BEAT)

    async def get(self, path, **arguments):
        async with self.http.get(self.url + path, **arguments) as answer:
            return answer, orjson.loads(await answer.read())

    def listen(self, query="", **arguments):
        return self.http.ws_connect(f"{self.url}/ws{query}", **arguments)


def memory_broker():
    """No queue but the taps': nobody else reads here."""
    return MemoryBroker(
        [Exchange("books", ()), Exchange("prices", ()), Exchange("live", ()), Exchange("dead-letters", ())]
    )


@asynccontextmanager
async def _serving(*, clock=None, expected=(), registry=None, checks=None, history=None, limits=None, **settings):
    clock = clock or ManualClock()
    broker = memory_broker()
    url = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run(
            GatewaySettings(**{"http_port": 0, **settings}),
            broker,
            clock=clock,
            back_off=lambda: delays(Random(1)),
            stop=asyncio.Event(),
            expected=expected,
            registry=registry or CollectorRegistry(),
            checks={} if checks is None else checks,
            history=history or KeptHistory(),
            on_serving=url.set_result,
            **(limits or {}),
        )
    )
    await asyncio.wait({task, url}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        async with aiohttp.ClientSession() as http:
            yield Running(await url, broker, http, clock, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def make():
    return Make


@pytest.fixture
def serving():
    """Return a context manager that runs a gateway; takes settings and what `_serving` names."""
    return _serving


@pytest.fixture
async def gateway():
    async with _serving() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    """One for all tests."""
    import pages

    async with pages.chromium() as browser:
        yield browser
