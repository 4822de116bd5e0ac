"""From a market to forecasts and bands: two crawlers that came at different times, the converter, a replay's rows.

The market is the simulator's; what is handed from one to the next is what goes over the wire.
"""

from dataclasses import replace
from decimal import Decimal

import pytest
from bands import coverage

from converter.pricing import Pricer
from crawler.book.feed import Feed
from crawler.book.market_data import Diff
from crawler.book.model import MarketModel
from crawler.book.steps import SnapshotRequest
from crawler.venues.binance.decoder import decode_snapshot
from crawler.venues.binance.venue import Binance
from fairprice.messages import Book, decode_line, encode
from simulator import Exchange
from simulator.instruments import instrument_of
from simulator.market import STEP_US, Market

SYMBOL = "BTCUSDT"
SECOND = 1_000_000
BEGIN = 1_723_161_000 * SECOND
WINDOW = SECOND // 10
"""Microseconds between two diffs."""
LEARNT = ("forecast_mid", "band_1s_low", "band_1s_high", "band_10s_low", "band_10s_high")


class Crawler:
    """What a crawler makes of one symbol, with a snapshot at once."""

    def __init__(self, name, exchange):
        venue = Binance()
        self.books = {}
        self._decoder = venue.decoder((SYMBOL,))
        self._feed = Feed(venue.name, SYMBOL, name, levels=20, compare_seconds=None)
        self._exchange = exchange

    def receive(self, frame):
        event = self._decoder.decode(frame)
        if isinstance(event, Diff):
            self._take(self._feed.receive_diff(event, event.event_time))
        else:
            self._take(self._feed.receive_ticker(event))

    def _take(self, outputs):
        for output in outputs:
            if isinstance(output, Book):
                self.books[output.event_time] = decode_line(encode(output))
            elif isinstance(output, SnapshotRequest):
                body = self._exchange.snapshot(SYMBOL, 1000).body
                self._take(self._feed.receive_snapshot(decode_snapshot(body, SYMBOL)))


MINUTES_6 = 3600
"""Windows."""
LATE, GONE = 333, 1900
"""Between these windows the second crawler is there."""


def follow(seed):
    """Let a market run for six minutes; return a crawler that was there all the time, and one that came later."""
    exchange = Exchange((SYMBOL,), seed=seed)
    first, second = Crawler("a", exchange), Crawler("b", exchange)
    for window in range(MINUTES_6):
        frames = [frame.on_wire(combined=True) for frame in exchange.frames(exchange.now_us + WINDOW)]
        for frame in frames:
            first.receive(frame)
            if LATE <= window < GONE:
                second.receive(frame)
    return first, second


def rows_of(books):
    """Return the prices of the books, each as another converter that comes to it first would make it."""
    choices = "forecast_mid", [Decimal(1)], [Decimal(10_000)]
    return [Pricer(*choices).price(book, None) for book in books]


@pytest.fixture(scope="module")
def crawlers():
    return follow(1)


@pytest.mark.slow(seconds=4)
def test_two_crawlers_that_came_at_different_times_write_the_same_rows_after_two_minutes(crawlers):
    first, second = ([*crawler.books.values()] for crawler in crawlers)
    first = [book for book in first if second[0].event_time <= book.event_time <= second[-1].event_time]
    assert [book.event_time for book in first] == [book.event_time for book in second]
    assert [replace(book, crawler="b", model=None) for book in first] == [replace(book, model=None) for book in second]
    learnt = [number for number, book in enumerate(second) if book.model]
    assert learnt == [*range(learnt[0], len(second))]
    assert 120 * SECOND <= second[learnt[0]].event_time - second[0].event_time <= 130 * SECOND
    assert [book.model for book in first[learnt[0] :]] == [book.model for book in second[learnt[0] :]]
    rows, others = rows_of(first[learnt[0] :]), rows_of(second[learnt[0] :])
    assert rows == others
    assert all(row.values[name] is not None for row in rows for name in LEARNT)
    young = rows_of(second[: learnt[0]])
    assert {(row.status, row.price, *(row.values[name] for name in LEARNT)) for row in young} == {
        ("learning", None, *[None] * 5)
    }


def test_books_in_any_order_and_again_and_again_make_the_same_rows(crawlers):
    books = [*crawlers[0].books.values()][-50:]
    pricer = Pricer("forecast_mid", [Decimal(1)], [Decimal(10_000)])
    again = {book.update_id: pricer.price(book, None) for book in [*reversed(books), *books]}
    assert [again[book.update_id] for book in books] == rows_of(books)


def test_the_bands_hold_what_they_say_on_the_simulated_market(crawlers):
    rows = [(row.event_time, row.values) for row in rows_of(crawlers[0].books.values())]
    for name in ("1s", "10s"):
        bands, share = coverage(rows, name)
        assert bands > 2000
        assert 0.85 <= share <= 0.95, name


MARKETS = 8


def held(seed):
    """Return how many mids lay in their band of a second and of ten, and outside, in six minutes of a market."""
    market, model = Market(instrument_of(SYMBOL), seed, BEGIN), MarketModel()
    for _ in range(MINUTES_6):
        for _ in range(WINDOW // STEP_US):
            market.step()
        bid, ask = market.top()
        bid_size, ask_size = market.levels[bid], market.levels[-ask]
        model.follow(market.now_us, (bid + ask) / 2, (bid_size - ask_size) / (bid_size + ask_size))
    return [(pairs.inside, pairs.outside) for pairs in (model.second, model.ten_seconds)]


@pytest.mark.rounds
def test_the_bands_hold_what_they_say_over_many_markets():
    """One of six minutes says little: what its volatility does moves its coverage by four and five points."""
    for counts in zip(*map(held, range(1, 1 + MARKETS)), strict=True):
        inside, outside = map(sum, zip(*counts, strict=True))
        assert inside + outside > 2000 * MARKETS
        assert 0.85 <= inside / (inside + outside) <= 0.95
