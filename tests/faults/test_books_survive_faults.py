"""Whatever goes wrong on the way, every published book is the exchange's, and every hole is recorded.

The crawler's pure core is driven by the simulated exchange, which knows the truth and was written without knowledge of
the crawler. No sockets, a virtual clock, seeded faults: a failing round can be repeated by its number.
"""

from collections import Counter
from random import Random

import pytest

from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Ticker
from crawler.book.steps import Fact, SnapshotRequest
from crawler.venues.binance.decoder import decode_snapshot
from crawler.venues.table import VENUES
from fairprice.errors import InvalidMarketData
from fairprice.messages import Book
from simulator import KINDS, Disconnect, Exchange, Fault
from tests.truth import known

WINDOW = 100_000
LIMIT = 1000

STREAM_FAULTS = (
    "drop", "duplicate", "duplicate_older", "swap", "overlap", "crossed", "malformed", "disconnect", "server_shutdown",
    "silence", "id_reset", "clock", "ticker_mismatch",
)  # fmt: skip
SNAPSHOT_FAULTS = (
    "stale_snapshot", "boundary_snapshot", "slow_snapshot", "sparse_snapshot", "fail_snapshot", "rate_limit",
)  # fmt: skip
FAULTS = STREAM_FAULTS + SNAPSHOT_FAULTS
SOCKET_FAULTS = {"stop_pings", "refuse", "late_ack", "no_ack", "wrong_ack_id", "double_ack", "error_ack"}
"""What there is only between sockets."""
MALFORMED = [variant for variant in KINDS["malformed"].variants if variant not in {"huge", "fragmented"}]


class Client:
    """Stands for the crawler's edge: carries frames and snapshots, late or not at all, and checks what comes out."""

    def __init__(self, seed, venue="binance", symbols=("BTCUSDT",), exchange=None):
        self.random = Random(seed)
        self.exchange = exchange or Exchange(symbols, seed, venue=venue)
        self.venue = venue
        self.decoder = VENUES[venue].decoder(symbols)
        self.feeds = {symbol: self.new_feed(symbol) for symbol in symbols}
        self.asked = []
        self.replies = []
        self.offline_until = 0
        self.books = {symbol: [] for symbol in symbols}
        self.gaps = {symbol: [] for symbol in symbols}
        self.covered = {symbol: [] for symbol in symbols}
        self.facts = []
        self.last_id = {}
        self.begins = {}
        """Of each symbol and last id of a diff the first id that came with it."""

    @property
    def out_of_sync(self):
        return [symbol for symbol, feed in self.feeds.items() if not feed.in_sync]

    def new_feed(self, symbol):
        return Feed(self.venue, symbol, "test", levels=20)

    def run(self, windows):
        for _ in range(windows):
            now = self.exchange.now_us + WINDOW
            self.live(self.exchange.advance(now), now)

    def live(self, sent, now):
        """Take what the exchange has sent in a window that ends now, and what has been asked for."""
        for each in sent:
            if isinstance(each, Disconnect):
                self.offline_until = now + self.random.randrange(0, 1_000_000)
                self.connect()
                for feed in self.feeds.values():
                    self.take(feed.expect_loss("disconnect"))
            elif now >= self.offline_until:
                self.receive(each.on_wire(combined=True), now)
        self.answer(now)
        for feed in self.feeds.values():
            self.take(feed.tick(now / 1e6))

    def connect(self):
        self.exchange.connect()

    def receive(self, frame, now):
        try:
            event = self.decoder.decode(frame)
        except InvalidMarketData as error:
            for symbol in [error.symbol] if error.symbol else []:
                self.take(self.feeds[symbol].expect_loss("unreadable_frame"))
            return
        if isinstance(event, Diff):
            self.last_id[event.symbol] = event.update_id
            key = event.symbol, event.update_id
            self.begins[key] = min(event.first_update_id, self.begins.get(key, event.first_update_id))
            self.take(self.feeds[event.symbol].receive_diff(event, now))
        elif isinstance(event, Ticker):
            self.take(self.feeds[event.symbol].receive_ticker(event))

    def answer(self, now):
        due = [symbol for when, symbol in self.asked if when <= now]
        self.asked = [(when, symbol) for when, symbol in self.asked if when > now]
        for symbol in due:
            reply = self.exchange.snapshot(symbol, LIMIT)
            if reply.status != 200 or reply.cut:
                self.asked.append((now + WINDOW, symbol))
            else:
                self.replies.append((now + reply.delay_us, symbol, reply.body))
        arrived = [reply for reply in self.replies if reply[0] <= now]
        self.replies = [reply for reply in self.replies if reply[0] > now]
        for _, symbol, body in arrived:
            try:
                snapshot = decode_snapshot(body, symbol)
            except InvalidMarketData:
                self.asked.append((now + WINDOW, symbol))
            else:
                self.take(self.feeds[symbol].receive_snapshot(snapshot))

    def take(self, outputs):
        for output in outputs:
            if isinstance(output, SnapshotRequest):
                when = self.exchange.now_us + self.random.randrange(0, 8) * WINDOW
                self.asked.append((when, output.symbol))
            elif isinstance(output, Fact):
                self.facts.append(output)
            elif isinstance(output, Book):
                self.books[output.symbol].append(output)
                self.covered[output.symbol].append((output.first_update_id, output.update_id))
                self.check(output)
            else:
                self.gaps[output.symbol].append(output)
                self.covered[output.symbol].append((output.from_update_id, output.to_update_id))

    def check(self, book):
        """Compare with the truth: within floor and ceiling every level is known, so the best ones are the very best.

        It claims no id that did not come.
        """
        assert book.first_update_id >= self.begins[book.symbol, book.update_id]
        bids, asks = known(self.exchange.book_at(book.symbol, book.update_id, 40), book)
        for mine, true in ((book.bids, bids), (book.asks, asks)):
            assert true, "at least the top is known"
            compared = min(len(true), 20)
            assert mine[:compared] == true[:compared]

    def recover(self):
        """Go on without faults until everything is in sync again and a little longer, then require everything."""
        self.exchange.board.clear()
        self.run(26)  # until the client is online again, and sure that old ids are not just late
        for _ in range(20):
            self.run(10)
            if not self.out_of_sync:
                break
        self.run(3)
        assert self.out_of_sync == []
        for feed in self.feeds.values():
            self.take(feed.end())
        assert {symbol: books[-1].update_id for symbol, books in self.books.items()} == self.last_id
        self.require_no_hole()
        for symbol, books in self.books.items():
            times = Counter(book.event_time for book in books)
            assert times.most_common(1)[0][1] == 1, f"{symbol}: two books would share a key in the store"

    def require_no_hole(self):
        """Every id from the first published one on is in exactly one range, in order."""
        for symbol, ranges in self.covered.items():
            expected = ranges[0][0]
            for first, last in ranges:
                assert first == expected, f"{symbol}: {first} does not follow {expected - 1}"
                expected = last + 1


def random_fault(random, kind, after=0):
    variant = random.choice(MALFORMED if kind == "malformed" else KINDS[kind].variants)
    seconds = {
        "silence": random.random(),
        "server_shutdown": random.random(),
        "clock": random.choice((-60.0, -0.1, 0.1, 60.0)),
        "slow_snapshot": random.random() * 3,
        "rate_limit": 0.5,
    }.get(kind)
    return Fault(kind, None, random.randrange(1, 3), after, variant=variant, seconds=seconds)


def test_every_fault_of_the_exchange_is_here_or_between_sockets():
    assert set(KINDS) == set(FAULTS) | SOCKET_FAULTS


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.rounds) for seed in range(2, 15))])
def test_any_mixture_of_faults(seed, venue):
    client = Client(seed, venue)
    client.run(6)
    for _ in range(5):
        client.exchange.inject(random_fault(client.random, client.random.choice(FAULTS), client.random.randrange(3)))
        client.run(client.random.randrange(2, 10))
    client.recover()


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_alone_while_in_sync_and_while_synchronising(kind, venue):
    client = Client(7, venue)
    client.exchange.inject(random_fault(client.random, kind))
    client.run(20)
    client.exchange.inject(random_fault(client.random, kind))
    client.exchange.inject(Fault("drop", after=3))
    client.run(20)
    assert client.exchange.board.fired.get(kind), f"{kind} never fired"
    client.recover()


@pytest.mark.parametrize(
    ("kind", "variant"),
    [*(("malformed", variant) for variant in MALFORMED)]
    + [(kind, variant) for kind in ("boundary_snapshot", "sparse_snapshot") for variant in KINDS[kind].variants],
)
@pytest.mark.parametrize("venue", VENUES)
def test_each_variant(kind, variant, venue):
    client = Client(3, venue)
    client.exchange.inject(Fault(kind, variant=variant, after=5 if kind == "malformed" else 0, count=2))
    client.run(20)
    assert client.exchange.board.fired[kind]
    client.recover()


@pytest.mark.parametrize("venue", VENUES)
def test_a_dropped_diff_is_recorded_with_its_ids_and_times(venue):
    client = Client(1, venue)
    client.run(20)
    before = client.books["BTCUSDT"][-1]
    client.exchange.inject(Fault("drop"))
    client.run(20)

    [gap] = client.gaps["BTCUSDT"]
    after = next(book for book in client.books["BTCUSDT"] if book.update_id > gap.to_update_id)
    assert (gap.from_update_id, gap.from_time) == (before.update_id + 1, before.event_time)
    assert (gap.to_update_id, gap.to_time) == (after.first_update_id - 1, after.event_time)
    assert gap.reason == "missed_updates"


@pytest.mark.parametrize("kind", ["duplicate", "duplicate_older", "overlap", "swap"])
@pytest.mark.parametrize("venue", VENUES)
def test_repetition_and_disorder_change_nothing(kind, venue):
    calm, client = Client(2, venue), Client(2, venue)
    client.run(15)
    client.exchange.inject(Fault(kind, count=3))
    client.run(15)
    calm.run(30)

    assert client.exchange.board.fired[kind] == 3
    assert client.gaps["BTCUSDT"] == []
    assert [book.update_id for book in client.books["BTCUSDT"]] == [book.update_id for book in calm.books["BTCUSDT"]]


def test_a_fault_of_one_symbol_does_not_disturb_another():
    client = Client(4, symbols=("BTCUSDT", "ETHUSDT"))
    client.run(15)
    client.exchange.inject(Fault("drop", "BTCUSDT"))
    client.exchange.inject(Fault("malformed", "BTCUSDT", variant="nan_quantity", after=4))
    client.run(30)

    assert client.gaps["BTCUSDT"]
    assert client.gaps["ETHUSDT"] == []
    assert client.out_of_sync == []


def test_the_price_leaves_the_reach_of_the_snapshot_but_the_book_stays_known():
    client = Client(6)
    client.run(1200)
    book = client.books["BTCUSDT"][-1]

    assert client.feeds["BTCUSDT"].sync.refreshes["taken"] >= 2
    assert client.gaps["BTCUSDT"] == client.facts == []
    assert (book.floor, book.ceiling) == (book.bids[-1][0], book.asks[-1][0]), "all that is published is known"


def test_a_lasting_contradiction_with_the_ticker_leads_to_a_new_synchronisation():
    client = Client(8)
    client.run(20)
    client.exchange.inject(Fault("ticker_mismatch", count=100))
    client.run(10)
    assert client.feeds["BTCUSDT"].sync.resyncs["audit"] >= 1
    client.recover()
    assert {gap.reason for gap in client.gaps["BTCUSDT"]} == {"audit"}
