"""What every venue has to do, whatever its exchange writes: a recording in, books and gaps out.

A `wire` is how the exchange writes: it renders what a small made-up market does, and is made apart from the venue that
reads it. The market's own book, kept in the plainest way, says what is right.
"""

import gzip
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from clocks import ManualClock
from tables import each_row

from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.order_book import OrderBook
from crawler.venues.port import DiffHead, Reply, Shutdown, SymbolStatus
from fairprice.errors import ExchangeUnavailable, InvalidMarketData
from fairprice.messages import Book, Gap

START_US = 1_789_000_000_000_000
SNAPSHOT_LEVELS = 40
LEVELS = 20


class NaiveBook:
    """A book by its definition: numbers to levels, sorted anew each time it is looked at."""

    def __init__(self, bids, asks):
        self._sides = {}, {}
        self.apply(bids, asks)

    def apply(self, bids, asks):
        for side, changes in zip(self._sides, (bids, asks), strict=True):
            for price, quantity in changes:
                side.pop(Decimal(price), None)
                if Decimal(quantity):
                    side[Decimal(price)] = [price, quantity]

    def best(self):
        bids, asks = self._sides
        return [bids[price] for price in sorted(bids, reverse=True)], [asks[price] for price in sorted(asks)]


class Item(NamedTuple):
    """One thing that the exchange sends: its text, and what it means."""

    kind: str
    text: bytes
    first: int
    last: int
    bids: list
    asks: list
    time: int = 0


class Recording:
    """What the exchange sends in its order, and its book after each id at which a diff or snapshot ends."""

    def __init__(self, items, truth):
        self.items = items
        self.truth = truth

    def of_kind(self, kind):
        return [item for item in self.items if item.kind == kind]

    def without(self, dropped):
        return Recording([item for item in self.items if item not in dropped], self.truth)


def made_up(wire, *, seed=1, diffs=60, snapshot_each=15):
    """A market that wanders, with a snapshot now and then: whole where they come in the stream, else cut."""
    random = Random(seed)
    book = NaiveBook([_level(random, 10_000 - step) for step in range(1, 80)],
                     [_level(random, 10_000 + step) for step in range(1, 80)])  # fmt: skip
    update_id, top, items, truth = 8_000_000_000, None, [], {}
    for number in range(diffs):
        bids, asks = _changes(random, book)
        before, update_id = update_id, wire.next_id(update_id, len(bids) + len(asks))
        book.apply(bids, asks)
        best = truth[update_id] = book.best()
        time = START_US + number * 100_000
        text = wire.diff(before, update_id, time, bids, asks, best=best)
        items.append(Item("diff", text, before + 1, update_id, bids, asks, time))
        if (best[0][0], best[1][0]) != top:
            top = best[0][0], best[1][0]
            items.append(Item("ticker", wire.ticker(update_id, *top), update_id, update_id, *top))
        if number % snapshot_each == 2:
            most = None if wire.venue.snapshots_in_stream else SNAPSHOT_LEVELS
            bids, asks = best[0][:most], best[1][:most]
            items.append(Item("snapshot", wire.snapshot(update_id, bids, asks), update_id, update_id, bids, asks))
    return Recording(items, truth)


def recorded(wire, path):
    """A recording of the venue, read in the plainest way."""
    items = []
    with gzip.open(path) as file:
        for line in file:
            text = line.partition(b" ")[2].strip()
            kind, *fields = wire.read(text) or (None,)
            if kind == "diff":
                items.append(Item(kind, text, *fields))
            elif kind:
                items.append(Item(kind, text, fields[0], *fields))
    return Recording(items, {})


def remember(recording, each):
    """Note the book after each so many diffs from the one snapshot on; to sort it whole after each takes a minute."""
    (snapshot,) = recording.of_kind("snapshot")
    book = NaiveBook(snapshot.bids, snapshot.asks)
    for number, diff in enumerate(item for item in recording.of_kind("diff") if item.last > snapshot.last):
        book.apply(diff.bids, diff.asks)
        if number % each == 0:
            recording.truth[diff.last] = book.best()


def _level(random, cents):
    return [f"{cents / 100:.2f}", f"{random.randrange(1, 10_000) / 1000:.3f}"]


def _changes(random, book):
    """Changes near the top of both sides that never cross: a level set, or removed."""
    bids, asks = book.best()
    changed = [[], []]
    for _ in range(random.randrange(1, 7)):
        index = random.randrange(2)
        step = random.randrange(-3, 25)
        best = round(float((bids, asks)[index][0][0]) * 100)
        other = round(float((bids, asks)[1 - index][0][0]) * 100)
        cents = best - step if index == 0 else best + step
        if (cents >= other - 5) if index == 0 else (cents <= other + 5):
            cents = best
        level = _level(random, cents)
        is_removed = random.random() < 0.4 and cents != best
        if all(level[0] != price for price, _ in changed[index]):
            changed[index].append([level[0], "0.000"] if is_removed else level)
    return changed


class Play:
    """A recording read by a venue's decoder and fed to a feed: what comes out of it."""

    def __init__(self, wire, recording, rest_snapshot=None):
        venue, self.recording = wire.venue, recording
        self.feed = Feed(venue.name, wire.symbol, "test", levels=LEVELS, verify=venue.verify)
        self.outputs = []
        decoder = venue.decoder([wire.symbol])
        for item in recording.items:
            if item.kind == "snapshot" and rest_snapshot:
                self.outputs += self.feed.receive_snapshot(rest_snapshot[item.text])
                continue
            event = decoder.decode(item.text)
            if type(event) is Diff:
                self.outputs += self.feed.receive_diff(event, START_US)
            elif type(event) is Ticker:
                self.outputs += self.feed.receive_ticker(event)
            else:
                self.outputs += self.feed.receive_snapshot(event)
        self.outputs += self.feed.end()
        self.books = [output for output in self.outputs if type(output) is Book]
        self.gaps = [output for output in self.outputs if type(output) is Gap]

    def require_right_books(self):
        """Each book is the market's as far as it says that it is known, and every id is in a book or in a gap."""
        known = [book for book in self.books if book.update_id in self.recording.truth]
        assert len(known) in {len(self.books), len(self.recording.truth)}
        for book in known:
            require_right(book, *self.recording.truth[book.update_id])
        following = None
        for event in self.outputs:
            if type(event) not in {Book, Gap}:
                continue
            first, last = (
                (event.first_update_id, event.update_id)
                if type(event) is Book
                else (event.from_update_id, event.to_update_id)
            )
            assert following in {None, first}
            following = last + 1
        assert following == self.recording.of_kind("diff")[-1].last + 1


def require_right(book, bids, asks):
    floor = Decimal("-Infinity") if book.floor is None else Decimal(book.floor)
    ceiling = Decimal("Infinity") if book.ceiling is None else Decimal(book.ceiling)
    assert [bid for bid in book.bids if Decimal(bid[0]) >= floor] == [bid for bid in bids if Decimal(bid[0]) >= floor]
    assert [ask for ask in book.asks if Decimal(ask[0]) <= ceiling] == [
        ask for ask in asks if Decimal(ask[0]) <= ceiling
    ]


@asynccontextmanager
async def rest_of(wire, answer):
    """The venue's REST client on a server that answers each request by `answer(path)`: a status and a body."""

    async def handle(request):
        status, body = answer(request.path)
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        yield wire.venue.rest(session, url, clock=ManualClock())
    await runner.cleanup()


async def snapshots_of(wire, recording):
    """What the venue makes of each snapshot by REST, by its text; None where they come in the stream."""
    if wire.venue.snapshots_in_stream:
        return None
    bodies = [item.text for item in recording.of_kind("snapshot")]
    rest = iter(bodies)
    async with rest_of(wire, lambda _: (200, next(rest))) as client:
        levels = max(SNAPSHOT_LEVELS, *(len(item.bids) for item in recording.of_kind("snapshot")))
        return {body: await client.snapshot(wire.symbol, levels) for body in bodies}


class VenueContract:
    """The tests; a subclass gives the fixture `wire`."""

    @pytest.fixture
    def venue(self, wire):
        return wire.venue

    @pytest.fixture
    def decoder(self, wire):
        return wire.venue.decoder([wire.symbol])

    def test_diffs_are_read_and_the_ids_that_they_add_join(self, wire, decoder):
        diffs = made_up(wire).of_kind("diff")
        for item in diffs:
            diff = decoder.decode(item.text)
            assert type(diff) is Diff
            assert diff[:6] == (wire.symbol, item.first, item.last, item.time, item.bids, item.asks)
        assert all(later.first == earlier.last + 1 for earlier, later in pairwise(diffs))

    def test_tickers_are_read(self, wire, decoder):
        for item in made_up(wire).of_kind("ticker"):
            ticker = decoder.decode(item.text)
            assert type(ticker) is Ticker
            assert (ticker.symbol, ticker.update_id) == (wire.symbol, item.last)
            assert ticker.top() == Top(list(item.bids), list(item.asks))

    async def test_snapshots_are_read_from_where_they_come(self, wire, decoder):
        recording = made_up(wire)
        by_rest = await snapshots_of(wire, recording)
        for item in recording.of_kind("snapshot"):
            snapshot = by_rest[item.text] if by_rest else decoder.decode(item.text)
            assert type(snapshot) is Snapshot
            assert snapshot[:4] == (wire.symbol, item.last, item.bids, item.asks)
            assert (snapshot.bids_complete, snapshot.asks_complete) == (not by_rest, not by_rest)

    def test_a_glance_tells_what_decoding_tells_or_nothing(self, wire, decoder):
        for item in made_up(wire).items:
            if item.kind == "snapshot" and not wire.venue.snapshots_in_stream:
                continue
            decoder.peek(item.text)
            event = decoder.decode(item.text)
            glance = decoder.peek(item.text)
            if type(glance) is DiffHead:
                assert glance == (event.symbol, event.update_id)
            else:
                assert glance is None or glance == event

    def test_what_is_not_whole_is_refused_and_never_anything_else(self, wire, decoder):
        items = made_up(wire, diffs=4).items
        for item in items:
            decoder.decode(item.text) if item.kind != "snapshot" else None
        for item in items:
            for end in range(len(item.text)):
                decoder.peek(item.text[:end])
                with pytest.raises(InvalidMarketData) as refused:
                    decoder.decode(item.text[:end])
                assert refused.value.symbol in {None, wire.symbol}
                assert len(str(refused.value)) < 400

    @each_row("text", [b"", b"5", b"null", b"[]", b'""', b"\xff\x00", b"<html>"])
    def test_what_is_no_event_at_all_is_refused(self, decoder, text):
        assert decoder.peek(text) is None
        with pytest.raises(InvalidMarketData):
            decoder.decode(text)

    @each_row("number", ["NaN", "-1.0", "1e5", "", "0x1", "1,5", "Infinity", None, 1.5])
    def test_a_number_that_is_no_plain_decimal_is_refused_for_its_symbol(self, wire, decoder, number):
        for bids in ([["1.0", number]], [[number, "1.0"]]):
            frame = wire.diff(8, 9, START_US, bids, [], best=([], []))
            with pytest.raises(InvalidMarketData) as refused:
                decoder.decode(frame)
            assert refused.value.symbol == wire.symbol

    def test_what_others_trade_is_of_no_use(self, wire, decoder):
        frame = wire.diff(8, 9, START_US, [], [], best=([], []), symbol="OTHER")
        assert decoder.peek(frame) is None
        assert decoder.decode(frame) is None

    def test_replies_carry_the_id_of_their_request(self, wire, venue, decoder):
        names = venue.streams(wire.symbol)
        assert all(name in venue.subscription(names, 77) for name in names)
        assert "77" in venue.subscription(names, 77)
        assert decoder.decode(wire.reply(77)) == Reply(77, None)
        refused = decoder.decode(wire.reply(78, "too many requests"))
        assert refused.id == 78
        assert "too many requests" in refused.error

    def test_the_end_of_a_server_is_announced(self, wire, decoder):
        assert decoder.decode(wire.shutdown()) == Shutdown()

    def test_each_symbol_has_streams_of_its_own(self, venue):
        assert venue.streams("AAAUSDT")
        assert not set(venue.streams("AAAUSDT")) & set(venue.streams("BBBUSDT"))

    def test_limits_and_times_are_told(self, venue):
        limits = venue.limits
        assert min(limits.weight, limits.attempts, limits.messages, limits.names, limits.connections) > 0
        assert limits.streams >= len(venue.streams("AAAUSDT"))
        assert 0 < venue.ping_interval < venue.max_age

    def test_addresses_are_brought_to_its_form_or_refused(self, venue):
        urls = venue.rest_url, venue.stream_url
        assert venue.normal_urls(*urls) == urls
        assert venue.normal_urls(*(url + "/" for url in urls)) == urls
        assert venue.stream_address(venue.stream_url).startswith(venue.stream_url)
        for wrong in (urls[::-1], (urls[0], urls[0]), (urls[1], urls[1]), ("localhost", urls[1])):
            with pytest.raises(ValueError, match="://"):
                venue.normal_urls(*wrong)

    async def test_symbols_are_listed_with_the_exchanges_own_word(self, wire):
        body = wire.symbols("AAAUSDT", "BBBUSDT")
        async with rest_of(wire, lambda path: (200, body) if path == wire.symbols_path else (404, b"")) as rest:
            listed = await rest.symbols()
            assert rest.used_weight == 0
        assert listed["AAAUSDT"].is_trading
        assert not listed["BBBUSDT"].is_trading
        assert all(type(status) is SymbolStatus and status.word for status in listed.values())

    @pytest.mark.parametrize("status", [400, 404, 500, 502, 503])
    async def test_what_may_pass_is_no_error_for_good(self, wire, status):
        async with rest_of(wire, lambda _: (status, b"<html>")) as rest:
            with pytest.raises(ExchangeUnavailable):
                await rest.symbols()
            if not wire.venue.snapshots_in_stream:
                with pytest.raises(ExchangeUnavailable):
                    await rest.snapshot(wire.symbol, 100)

    async def test_a_snapshot_can_be_recorded_as_sent_and_the_newest_id_be_asked_for(self, wire):
        if wire.venue.snapshots_in_stream:
            return
        body = made_up(wire).of_kind("snapshot")[0]
        async with rest_of(wire, lambda _: (200, body.text)) as rest:
            snapshot, text = await rest.snapshot_body(wire.symbol, 100)
            assert (snapshot.update_id, text) == (body.last, body.text)
            recorded = wire.venue.recorded_snapshot(text, wire.symbol)
            assert (recorded.update_id, recorded.bids, recorded.asks) == (body.last, body.bids, body.asks)
            assert (recorded.bids_complete, recorded.asks_complete) == (False, False)
            with pytest.raises(InvalidMarketData):
                wire.venue.recorded_snapshot(b"{}", wire.symbol)
            assert await rest.newest_update_id(wire.symbol) == body.last

    async def test_each_book_is_the_markets(self, wire):
        recording = made_up(wire, diffs=400)
        play = Play(wire, recording, await snapshots_of(wire, recording))
        play.require_right_books()
        assert play.gaps == []
        assert len(play.books) == 400 - 3
        assert play.feed.audit.matches > 200
        assert play.feed.audit.mismatches == 0

    @pytest.mark.parametrize("seed", range(6))
    async def test_what_did_not_come_is_a_gap_until_a_snapshot_joins(self, wire, seed):
        whole = made_up(wire, seed=seed, diffs=100)
        start = Random(seed).randrange(5, 60)
        dropped = whole.of_kind("diff")[start : start + 1 + seed]
        recording = whole.without(dropped)
        play = Play(wire, recording, await snapshots_of(wire, whole))
        play.require_right_books()
        assert [gap.from_update_id for gap in play.gaps] == [dropped[0].first]
        assert play.gaps[0].to_update_id >= dropped[-1].last
        assert play.books[-1].update_id == whole.of_kind("diff")[-1].last

    async def test_a_book_that_its_proof_contradicts_is_not_published(self, wire, decoder):
        whole = made_up(wire, diffs=100)
        diff = next(item for item in whole.of_kind("diff")[30:] if item.bids)
        event = decoder.decode(diff.text)
        bids, asks = whole.truth[diff.last]
        right, wrong = (OrderBook(levels, asks, levels=LEVELS) for levels in (bids, bids[1:]))
        assert wire.venue.verify(right, event)
        if event.proof is None:
            return
        assert not wire.venue.verify(wrong, event)
        forged = wire.diff(diff.first - 1, diff.last, diff.time, [], [], best=whole.truth[diff.last])
        items = [item._replace(text=forged) if item == diff else item for item in whole.items if item.kind != "ticker"]
        play = Play(wire, Recording(items, whole.truth), await snapshots_of(wire, whole))
        play.require_right_books()
        assert [gap.from_update_id for gap in play.gaps] == [diff.first]
