"""The whole crawler against an exchange that misbehaves, on one clock that the test drives.

Whatever happens, each published book's top is the exchange's at its id as far as the book says that it is known, and
every id from the first book on is in one book or in one gap.
"""

import asyncio
import resource
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from random import Random

import pytest
from waiting import patience

from crawler.app import Crawler
from crawler.proxy import Proxy
from crawler.selection import Shard
from crawler.settings import CrawlerSettings
from fairprice import topology
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import Book, Gap, Status, decode
from tests.clocks import ManualClock
from tests.faults.hostile_exchange import HostileExchange

WINDOW = 0.1


class Trial:
    """A crawler, its exchange, and all that it has published, judged as it comes."""

    def __init__(self, exchange, crawler, clock, broker):
        self.exchange, self.crawler, self.clock, self.broker = exchange, crawler, clock, broker
        self.books, self.gaps = 0, []
        self.covered = {}
        self.newest = {}
        self.statuses = {}

    async def live(self, seconds, window=WINDOW):
        """Let the exchange go on for so long and judge what is published."""
        for _ in range(round(seconds / window)):
            await self.clock.advance(window)
            await self.exchange.live()
            await self.read()

    async def until(self, condition, within=600.0, window=WINDOW):
        """Let the exchange go on until it is so; return the seconds that took."""
        began = self.clock.monotonic()
        while not condition():
            assert self.clock.monotonic() - began < within, f"not within {within} s"
            await self.live(window, window)
        return self.clock.monotonic() - began

    async def read(self):
        """Let real sockets bring what was sent, then judge what has come."""
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0005)
        async with patience():
            while self.broker.depths()[topology.BOOKS_STORER]:
                for delivery in await self.subscription.receive(100):
                    for event in decode(delivery.message.body):
                        self.judge(event)
                    await delivery.ack()

    def judge(self, event):
        match event:
            case Book():
                self.books += 1
                self.cover(event.symbol, event.first_update_id, event.update_id)
                top = self.exchange.markets[event.symbol].tops[event.update_id]
                assert known_top(event, event.bids, event.asks) == known_top(event, *([level] for level in top))
                self.newest[event.symbol] = event
            case Gap():
                self.gaps.append(event)
                self.cover(event.symbol, event.from_update_id, event.to_update_id)
            case Status():
                self.statuses[event.symbol] = event

    def cover(self, symbol, first, last):
        before = self.covered.get(symbol)
        assert before is None or first == before + 1, f"{symbol}: {first} does not follow {before}"
        self.covered[symbol] = last

    def samples(self, name):
        """The values of a metric by symbol."""
        return [(labels[1], value) for sample, labels, value in self.crawler.samples() if sample == name]

    def audits(self, outcome):
        """How many tops of each symbol were compared with this outcome."""
        return [
            value
            for name, labels, value in self.crawler.samples()
            if name == "crawler_audits_total" and labels[-1] == outcome
        ]

    def is_current(self, symbols=None):
        """Whether the last id of each market was published."""
        return all(
            self.covered.get(symbol) == self.exchange.markets[symbol].last_id
            for symbol in symbols or self.exchange.markets
        )


def known_top(book, bids, asks):
    """The best of these levels, None where it lies beyond what the book says of itself that it knows."""
    floor, ceiling = float(book.floor or 0), float(book.ceiling or inf)
    return (
        bids[0] if bids and float(bids[0][0]) >= floor else None,
        asks[0] if asks and float(asks[0][0]) <= ceiling else None,
    )


@asynccontextmanager
async def trial(symbols, *, follow=None, quiet=(), unlisted=(), proxy=lambda _address: None, **settings):
    clock = ManualClock()
    exchange = HostileExchange(symbols, wall=clock.wall, monotonic=clock.monotonic, quiet=quiet)
    exchange.habits.unlisted = set(unlisted)
    async with exchange:
        broker = MemoryBroker(exchanges=(topology.Exchange(topology.BOOKS, (topology.BOOKS_STORER,)),))
        options = {
            "symbols": follow or tuple(symbols), "exchange_rest_url": exchange.rest_url, "snapshot_levels": 100,
            "exchange_stream_url": exchange.stream_url, "state_dir": None,
        } | settings  # fmt: skip
        crawler = Crawler(CrawlerSettings(**options), broker, name="one", random=Random(1), clock=clock, proxy=proxy)
        stop = asyncio.Event()
        async with broker.subscribe(topology.BOOKS_STORER, 1000) as subscription:
            it = Trial(exchange, crawler, clock, broker)
            it.subscription = subscription
            running = asyncio.create_task(crawler.run(stop))
            try:
                yield it
                stop.set()
                while not running.done():
                    await clock.advance(WINDOW)
                    await it.read()
                await running
            finally:  # of what has failed nothing more is judged, or that would be waited for
                running.cancel()
                await asyncio.wait({running})


async def test_a_calm_day():
    async with trial(["AAAUSDT", "BBBUSDT"]) as it:
        seconds = await it.until(it.is_current)
        print(f"in sync after {seconds:.1f} s")
        await it.live(60)
        assert it.is_current()
        assert not it.gaps
        assert it.exchange.connections == 2


async def test_both_connections_are_silent_from_the_start():
    async with trial(["AAAUSDT", "BBBUSDT"]) as it:
        it.exchange.habits.silent_connections = 2
        seconds = await it.until(it.is_current)
        print(f"a feed that never began: {seconds:.1f} s until the first books")
        assert seconds < 60
        await it.live(10)
        assert it.is_current()
        assert not it.gaps


async def test_both_connections_fall_silent_later():
    async with trial(["AAAUSDT", "BBBUSDT"]) as it:
        await it.until(it.is_current)
        await it.live(30)
        it.exchange.fall_silent()
        await it.live(1)
        seconds = await it.until(it.is_current)
        print(f"a stalled feed: {seconds:.1f} s until the books are current again")
        assert seconds < 30
        assert {gap.symbol for gap in it.gaps} == {"AAAUSDT", "BBBUSDT"}
        assert {gap.reason for gap in it.gaps} == {"silence"}


async def test_one_connection_falls_silent_and_nothing_is_missed():
    async with trial(["AAAUSDT"]) as it:
        it.exchange.habits.silent_connections = 1
        await it.until(it.is_current)
        await it.live(60)
        assert it.exchange.connections == 3, "the silent one was replaced, once"
        assert not it.gaps


@pytest.mark.slow(seconds=2)
async def test_the_second_subscription_is_refused():
    symbols = [f"S{number}USDT" for number in range(150)]
    async with trial(symbols) as it:
        it.exchange.habits.refused_request = 2
        await it.live(5)
        assert 2 <= it.exchange.connections <= 16, "with back-off"
        it.exchange.habits.refused_request = None
        seconds = await it.until(it.is_current)
        print(f"a refused subscription: {seconds:.1f} s after it was granted")


@pytest.mark.slow(seconds=4)
async def test_connections_are_closed_each_30_seconds():
    async with trial(["AAAUSDT", "BBBUSDT"]) as it:
        await it.until(it.is_current)
        it.exchange.habits.closes_after = 30
        await it.live(300)
        await it.until(it.is_current)
        print(f"{it.exchange.connections} connections, {len(it.gaps)} gaps in five minutes")
        assert it.exchange.connections <= 30
        assert it.books > 5000


@pytest.mark.slow(seconds=8)
async def test_rest_is_away_for_an_hour_under_load():
    async with trial([f"S{number}USDT" for number in range(10)]) as it:
        await it.until(it.is_current)
        before = resident_bytes()
        it.exchange.habits.is_rest_away = True
        it.exchange.habits.deep_changes = 34
        await it.live(1)
        await it.exchange.close_all()
        await it.exchange.live()  # nobody is told: every book is lost, and cannot come back
        await it.live(80)  # more than the minute that is kept
        await it.live(3480, window=5.0)
        grown = resident_bytes() - before
        print(f"memory grew by {grown / 1e6:.0f} MB to {resident_bytes() / 1e6:.0f} MB")
        assert grown < 120e6, "so that one that begins with 70 MB stays below 200 MB"
        it.exchange.habits.is_rest_away = False
        seconds = await it.until(it.is_current)
        print(f"REST away for an hour: {seconds:.1f} s until the books are current again")
        assert seconds < 70, "the longest pause between two attempts is a minute"
        assert {gap.symbol for gap in it.gaps} == set(it.exchange.markets)


async def test_a_price_that_leaves_the_reach_while_rest_is_away_costs_no_gap():
    async with trial(["S9USDT"]) as it:
        await it.until(it.is_current)
        it.exchange.habits.is_rest_away = True
        await it.until(lambda: sum(it.audits("beyond_reach")) >= 20)
        it.exchange.habits.is_rest_away = False
        before = it.audits("match")
        seconds = await it.until(lambda: sum(it.audits("match")) >= sum(before) + 20)
        print(f"REST is back: {seconds:.1f} s until the top is known again")
        assert seconds < 70, "the longest pause between two attempts is a minute"
        assert it.audits("mismatch") == [0]
        assert not it.gaps
        assert it.is_current()


@pytest.mark.slow(seconds=4)
async def test_four_hundred_failing_symbols_delay_the_others_by_nothing_but_their_turn():
    good = [f"G{number}USDT" for number in range(100)]
    bad = [f"B{number}USDT" for number in range(400)]
    async with trial([*bad, *good]) as it:
        it.exchange.habits.failing = set(bad)
        seconds = await it.until(lambda: it.is_current(good))
        print(f"100 symbols beside 400 that fail: {seconds:.1f} s")
        assert seconds < 10
        it.exchange.habits.moves_in = 5  # what is asked for is the subject, not what moves
        await it.live(60, window=1.0)
        assert len(it.exchange.snapshots) <= 100 + 400 * 9, "a failing symbol is asked for at growing intervals"
        it.exchange.habits.failing = set()
        print(f"the 400 after they healed: {await it.until(it.is_current, window=1.0):.1f} s")


async def test_diffs_come_five_seconds_behind_rest():
    async with trial(["AAAUSDT"]) as it:
        it.exchange.habits.lag = 5
        seconds = await it.until(lambda: it.books)
        print(f"a stream 5 s behind REST: {seconds:.1f} s until the first book")
        assert seconds < 11, "five until there is a diff, five until there is one that the snapshot does not hold"
        assert it.exchange.snapshots == ["AAAUSDT"]
        await it.live(60)
        assert not it.gaps


async def test_an_exchange_without_tickers_is_told_after_a_minute():
    def unaudited():
        return dict(it.samples("crawler_unaudited"))["AAAUSDT"]

    async with trial(["AAAUSDT"]) as it:
        it.exchange.habits.has_tickers = False
        await it.until(it.is_current)
        assert not unaudited()
        seconds = await it.until(unaudited)
        assert 50 < seconds < 65
        await it.until(lambda: it.statuses["AAAUSDT"].problem)
        assert it.statuses["AAAUSDT"].problem == "nothing to compare the order book with: no tickers"
        assert it.crawler.checks()["books"]() is None, "books come all the same"
        it.exchange.habits.has_tickers = True
        await it.until(lambda: not unaudited())
        await it.until(lambda: not it.statuses["AAAUSDT"].problem)
        assert not it.gaps


async def test_six_hundred_symbols_are_spread_over_connections():
    async with trial([f"S{number}USDT" for number in range(600)]) as it:
        seconds = await it.until(it.is_current)
        print(f"600 symbols: {seconds:.1f} s until all are in sync")
        assert it.exchange.connections == 4, "two for each half"


class HangingProxy:
    """Takes connections and says nothing to the first ones; the others it joins with where they want to go."""

    def __init__(self, hanging):
        self.hanging = hanging
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.proxy = Proxy("http", *self.server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        if self.connections > self.hanging:
            host, port = head.split()[1].decode().rsplit(":", 1)
            there, back = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        else:
            await reader.read()
            writer.close()


async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_a_proxy_hangs_and_works_later():
    async with HangingProxy(hanging=4) as way:
        choose = lambda address: way.proxy if address.startswith("ws") else None  # noqa: E731
        async with trial(["AAAUSDT"], proxy=choose) as it:
            seconds = await it.until(it.is_current)
            print(f"a proxy that hangs four times: {seconds:.1f} s until the first books")
            assert seconds < 60
            assert way.connections == 6
            await it.live(10)
            assert not it.gaps


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def test_of_many_symbols_all_begin_shallow_the_most_traded_first_and_deep_snapshots_follow_within_the_weight():
    symbols = [f"S{number}USDT" for number in range(150)]
    async with trial(symbols, snapshot_levels=1000) as it:
        shallow = await it.until(it.is_current)
        assert it.exchange.limits[:150] == [100] * 150
        places = [symbols.index(symbol) for symbol in it.exchange.snapshots[:150]]
        assert sum(places[:50]) > 2 * sum(places[-50:]), "of this exchange the last on the list are traded most"
        it.exchange.habits.moves_in = 10
        deep = await it.until(lambda: it.exchange.limits.count(1000) >= 150, window=1.0)
        assert it.exchange.breaches == 0
        print(f"150 symbols: all in sync after {shallow:.1f} s, with 1,000 levels after {deep:.0f} s more")
        assert not it.gaps


async def test_many_symbols_of_which_nothing_deeper_is_wanted_ask_for_one_snapshot_each():
    """Another one at once would use up the pause between two, and the price leaves so few levels soon."""
    symbols = [f"S{number}USDT" for number in range(50)]
    async with trial(symbols, snapshot_levels=100) as it:
        await it.until(it.is_current)
        await it.live(1)
        assert sorted(it.exchange.snapshots) == sorted(symbols)


async def test_symbols_that_come_and_go_while_running_touch_no_other_one():
    async with trial(["AAAUSDT", "BBBUSDT", "CCCUSDT"], unlisted=["CCCUSDT"], follow=("*USDT", "!B*")) as it:
        await it.until(lambda: it.is_current(["AAAUSDT"]))
        assert it.covered.keys() == {"AAAUSDT"}
        it.exchange.habits.unlisted = set()
        await it.until(lambda: it.is_current(["AAAUSDT", "CCCUSDT"]), window=1.0)
        assert (it.exchange.connections, it.gaps) == (2, [])
        it.exchange.habits.unlisted = {"AAAUSDT"}
        await it.until(lambda: it.statuses["AAAUSDT"].exchange_status == "UNLISTED", window=1.0)
        await it.until(lambda: not it.samples("crawler_books_total")[1:], window=1.0)
        assert [symbol for symbol, _ in it.samples("crawler_books_total")] == ["CCCUSDT"]
        assert it.is_current(["CCCUSDT"])
        it.exchange.habits.unlisted = set()
        await it.until(lambda: len(it.samples("crawler_books_total")) == 2 and it.is_current(["AAAUSDT"]), window=1.0)
        assert it.exchange.connections == 2
        [gap] = it.gaps
        assert (gap.symbol, gap.reason) == ("AAAUSDT", "not_followed"), "it was traded again before the list was read"


async def test_shares_of_one_address_follow_each_symbol_once():
    symbols = [f"S{number}USDT" for number in range(9)]
    followed = []
    for number in (1, 2, 3):
        async with trial(symbols, follow=("*",), shard=f"{number}/3") as it:
            share = [symbol for symbol in symbols if Shard(number, 3).owns(symbol)]
            await it.until(lambda it=it, share=share: it.is_current(share))
            followed += it.covered
    assert sorted(followed) == symbols
