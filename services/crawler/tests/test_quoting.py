"""Tickers that become quotes on the broker, and what the broker's trouble does to them: nothing."""

import asyncio
from contextlib import asynccontextmanager

from clocks import ManualClock, settle

from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.quote import LEAST_PAUSE
from crawler.quoting import Quoting
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import QUOTES_TYPE, decode
from fairprice.topology import EXCHANGES, QUOTES

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def ticker(update_id, symbol="BTCUSDT"):
    top = Top(["100.0", f"{update_id}"], ["101.0", "1.0"])
    return Ticker(symbol, update_id, b"", lambda _: top)


def feed_of(symbol):
    feed = Feed("binance", symbol, "one", levels=20, is_alone=True)
    feed.receive_diff(Diff(symbol, 96, 100, 1_789_000_000_000_000, [["100.0", "1.0"]], []), 0)
    feed.receive_snapshot(Snapshot(symbol, 95, [["100.0", "1.0"]], [["101.0", "1.0"]], True, True))
    return feed


@asynccontextmanager
async def quoting(broker, clock, symbols=SYMBOLS):
    made = Quoting({symbol: feed_of(symbol) for symbol in symbols}, broker, "crawler/one", interval=0.01, clock=clock)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def read(tap):
    await settle()
    return [delivery.message for delivery in await tap.receive(10)]


async def test_a_ticker_is_cast_as_a_quote_at_once():
    broker, clock = MemoryBroker(), ManualClock()
    async with broker.tap(QUOTES, 10) as tap, quoting(broker, clock) as made:
        made.take(ticker(103))
        (message,) = await read(tap)
    (quote,) = decode(message.body)
    assert (quote.update_id, quote.ticker_id, quote.received_time) == (100, 103, clock.wall())
    assert (message.type, message.app_id, message.routing_key) == (QUOTES_TYPE, "crawler/one", "binance.BTCUSDT")
    assert message.symbols == ("binance.BTCUSDT",)
    assert made.quotes == 1


async def test_what_comes_together_leaves_together_and_the_newest_of_a_symbol_after_its_interval():
    broker, clock = MemoryBroker(), ManualClock()
    async with broker.tap(QUOTES, 10) as tap, quoting(broker, clock) as made:
        made.take(ticker(103))
        made.take(ticker(104, "ETHUSDT"))
        (message,) = await read(tap)
        assert message.routing_key == "batch"
        assert [quote.ticker_id for quote in decode(message.body)] == [103, 104]
        for update_id in (105, 107, 106):
            made.take(ticker(update_id))
        await clock.advance(0.009)
        assert made.quotes == 2
        await clock.advance(0.002)
        (message,) = await read(tap)
        assert [quote.ticker_id for quote in decode(message.body)] == [107]


async def test_a_ticker_of_which_no_quote_can_be_made_is_passed_over():
    broker, clock = MemoryBroker(), ManualClock()
    async with quoting(broker, clock) as made:
        made.take(ticker(100))
        made.take(ticker(100, "LTCUSDT"))
        await settle()
        assert made.quotes == 0
        made.take(ticker(101, "ETHUSDT"))
        await clock.advance(LEAST_PAUSE)
        assert made.quotes == 1


async def test_what_other_symbols_bring_right_behind_a_cast_leaves_together_a_moment_later():
    broker, clock = MemoryBroker(), ManualClock()
    async with broker.tap(QUOTES, 10) as tap, quoting(broker, clock, symbols=("A", "B", "C", "D")) as made:
        for symbol in ("A", "B", "C"):
            made.take(ticker(103, symbol))
            await clock.advance(LEAST_PAUSE / 4)
        await clock.advance(LEAST_PAUSE)
        assert [message.symbols for message in await read(tap)] == [("binance.A",), ("binance.B", "binance.C")]
        await clock.advance(LEAST_PAUSE)
        made.take(ticker(104, "D"))
        assert [message.symbols for message in await read(tap)] == [("binance.D",)]


async def test_a_broker_without_a_live_view_takes_nothing_and_nothing_waits_for_it():
    broker = MemoryBroker([each for each in EXCHANGES if not each.live])
    async with quoting(broker, clock := ManualClock()) as made:
        for update_id in range(101, 200):
            made.take(ticker(update_id))
            await clock.advance(0.011)
        assert made.quotes == 99
