"""Quotes that become live prices, and that they are no concern of the record's."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
from clocks import ManualClock, settle
from structlog.testing import capture_logs

from converter import app
from converter.app import Counters
from converter.settings import ConverterSettings
from fairprice.broker.memory import LIVE_CAPACITY, MemoryBroker
from fairprice.broker.port import Message
from fairprice.errors import BrokerUnavailable
from fairprice.messages import BOOKS_TYPE, LIVE_TYPE, QUOTES_TYPE, Book, Model, Quote, decode, encode, join
from fairprice.topology import BOOKS, EXCHANGES, LIVE, PRICES, PRICES_STORER, QUOTES, QUOTES_CONVERTER

MODEL = Model(0, 2.0, 4.0, 8.0, 1.5, 16.0, 1195, 1190, 1150, 1100)
BIDS, ASKS = [["100", "3"], ["99", "9"]], [["101", "1"], ["102", "9"]]
QUOTE = Quote("binance", "BTCUSDT", 1, 5, 1_000_000, 7, 1_000_500, "a", BIDS, ASKS, "99", "102", MODEL)
BOOK = Book("binance", "BTCUSDT", 1, 5, 1_000_000, None, 1_000_001, "a", BIDS, ASKS, "99", "102", MODEL)


def message(*lines, kind=QUOTES_TYPE):
    return Message(join(lines), kind, "quotes.v1/x", "crawler", 1, "binance.BTCUSDT", ("binance.BTCUSDT",))


@asynccontextmanager
async def running(broker, clock=None, counters=None):
    clock = clock or ManualClock()
    converting = app.run(
        ConverterSettings(), broker, clock=clock, random=Random(1), stop=asyncio.Event(), counters=counters
    )
    task = asyncio.create_task(converting)
    await settle()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def cast(broker, *messages):
    """Cast them and return what comes to the live view."""
    async with broker.tap(LIVE, 1000) as tap:
        for each in messages:
            broker.cast(QUOTES, each)
        await settle()
        receiving = asyncio.create_task(tap.receive(1000))
        await settle()
        receiving.cancel()
        return [each.message for each in receiving.result()] if receiving.done() else []


async def test_a_quote_gets_the_price_that_a_book_of_these_levels_gets():
    broker, clock, counters = MemoryBroker(), ManualClock(1_002_000), Counters()
    async with running(broker, clock, counters):
        (sent,) = await cast(broker, message(encode(QUOTE)))
        await broker.publish(BOOKS, message(encode(BOOK), kind=BOOKS_TYPE))
        async with broker.subscribe(PRICES_STORER, 10) as subscription:
            (delivery,) = await subscription.receive(1)
    assert (sent.type, sent.routing_key, sent.message_id) == (LIVE_TYPE, "binance.BTCUSDT", "live.v1/x")
    (live,), (price,) = decode(sent.body), decode(delivery.message.body)
    assert (live.ticker_id, live.received_time, live.priced_time) == (7, 1_000_500, 1_002_000)
    assert (live.bids, live.asks) == (BIDS, ASKS)
    assert (live.price, live.status, live.estimator) == (price.price, price.status, price.estimator)
    assert live.values == price.values
    assert (live.first_update_id, live.update_id, live.event_time) == (1, 5, 1_000_000)
    assert counters.live.prices == {("binance", "ok"): 1}
    assert counters.live.latency.total == pytest.approx(0.0015)


async def test_quotes_of_one_message_stay_together():
    broker = MemoryBroker()
    async with running(broker):
        (sent,) = await cast(broker, message(encode(QUOTE), encode(replace(QUOTE, symbol="ETHUSDT"))))
    assert [live.symbol for live in decode(sent.body)] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(
    "line",
    [b"{", encode(replace(QUOTE, bids=[["0", "1"]])), encode(replace(QUOTE, asks=["x"])), encode(BOOK)],
    ids=["no JSON", "price 0", "no levels", "a book"],
)
async def test_what_is_no_quote_is_counted_logged_once_and_never_among_the_dead_letters(line):
    broker, counters = MemoryBroker(), Counters()
    with capture_logs() as logs:
        async with running(broker, counters=counters):
            (sent,) = await cast(broker, message(line, line, encode(QUOTE)))
    assert len(list(decode(sent.body))) == 1
    assert counters.live.invalid == 2
    assert counters.invalid_lines == 0
    assert [each["log_level"] for each in logs] == ["warning"]
    assert set(broker.depths().values()) == {0}


async def test_what_two_crawlers_bring_is_priced_once_whoever_is_behind():
    broker, counters = MemoryBroker(), Counters()
    quotes = [
        replace(QUOTE, ticker_id=ticker_id, event_time=event_time)
        for ticker_id, event_time in ((7, 10), (7, 10), (6, 10), (6, 9), (7, 11), (8, 9), (2, 12), (2, 12))
    ]
    async with running(broker, counters=counters):
        (sent,) = await cast(broker, message(*map(encode, quotes)))
    assert [(live.ticker_id, live.event_time) for live in decode(sent.body)] == [(7, 10), (7, 11), (8, 9), (2, 12)]
    assert counters.live.copies == 4


async def test_the_symbols_whose_newest_quote_is_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("converter.live.SYMBOLS", 2)
    broker, counters = MemoryBroker(), Counters()
    quotes = [replace(QUOTE, symbol=symbol) for symbol in ("A", "B", "A", "C", "B")]
    async with running(broker, counters=counters):
        (sent,) = await cast(broker, message(*map(encode, quotes)))
    assert [live.symbol for live in decode(sent.body)] == ["A", "B", "C", "B"]


async def test_a_message_of_another_type_is_passed_over_and_so_is_a_line_of_a_later_version():
    broker, counters = MemoryBroker(), Counters()
    async with running(broker, counters=counters):
        assert await cast(broker, message(encode(QUOTE), kind="quotes.v2"), message(b'{"type":"newer"}')) == []
    assert counters.live.invalid == 1
    assert broker.depths()[QUOTES_CONVERTER] == 0


async def test_more_quotes_than_there_is_time_for_leave_the_books_their_turn():
    broker = MemoryBroker()
    async with running(broker):
        for number in range(3 * LIVE_CAPACITY):
            broker.cast(QUOTES, message(encode(replace(QUOTE, ticker_id=number))))
        async with broker.tap(PRICES, 10) as prices:
            await broker.publish(BOOKS, message(encode(BOOK), kind=BOOKS_TYPE))
            for _ in range(20):
                await asyncio.sleep(0)
            assert broker.depths()[QUOTES_CONVERTER] > LIVE_CAPACITY / 2, "most quotes are still to be priced"
            receiving = asyncio.create_task(prices.receive(1))
            await asyncio.sleep(0)
            assert receiving.done()


async def test_without_a_live_view_the_record_is_made_as_ever():
    """The queue of an older broker is not there; what is asked for is refused, again and again."""
    broker = WithoutQuotes()
    clock = ManualClock()
    async with running(broker, clock):
        for number in range(1, 4):
            await broker.publish(
                BOOKS, message(encode(replace(BOOK, update_id=number, event_time=number)), kind=BOOKS_TYPE)
            )
            await clock.advance(60.0)
        assert broker.depths()[PRICES_STORER] == 3
        assert broker.refused > 2


class WithoutQuotes(MemoryBroker):
    """Has nothing for the live view."""

    def __init__(self):
        super().__init__([each for each in EXCHANGES if not each.live])
        self.refused = 0

    @asynccontextmanager
    async def subscribe(self, queue, prefetch):
        if queue == QUOTES_CONVERTER:
            self.refused += 1
            raise BrokerUnavailable("no queue")
        async with super().subscribe(queue, prefetch) as subscription:
            yield subscription
