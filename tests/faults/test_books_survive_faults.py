"""Whatever goes wrong on the way, every published book is the exchange's, and every hole is recorded.

The crawler's core is driven by the simulated exchange, which knows the truth and was written without knowledge of the
crawler. No sockets, a virtual clock, seeded faults: a failing round can be repeated by its number.
"""

from collections import Counter
from decimal import Decimal
from random import Random

import pytest
import structlog

from crawler.book.depth_sync import SnapshotRequest
from crawler.book.market_data import Diff
from crawler.book_feed import BookFeed
from crawler.venues.binance.wire import decode_snapshot
from fairprice.errors import InvalidMarketData
from fairprice.messages import Book
from simulator import Disconnect, Exchange, Fault

WINDOW = 100_000
LIMIT = 1000

STREAM_FAULTS = (
    "drop", "duplicate", "duplicate_older", "swap", "overlap", "crossed", "malformed", "disconnect", "silence",
    "id_reset", "clock",
)  # fmt: skip
SNAPSHOT_FAULTS = ("stale_snapshot", "boundary_snapshot", "slow_snapshot", "fail_snapshot", "rate_limit")
MALFORMED = (
    "bad_json", "truncated", "binary", "invalid_utf8", "number_for_string", "missing_first_id", "reversed_ids",
    "negative_quantity", "nan_quantity", "exponent_quantity", "unknown_key", "unknown_event", "wrong_symbol",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quiet():
    with structlog.testing.capture_logs():
        yield


class Client:
    """Stands for the crawler's edge: carries frames and snapshots, late or not at all, and checks what comes out."""

    def __init__(self, seed, symbols=("BTCUSDT",)):
        self.random = Random(seed)
        self.exchange = Exchange(symbols, seed)
        self.feed = BookFeed(symbols, {}, crawler="test", levels=20)
        self.asked = []
        self.replies = []
        self.offline_until = 0
        self.books = {symbol: [] for symbol in symbols}
        self.gaps = {symbol: [] for symbol in symbols}
        self.covered = {symbol: [] for symbol in symbols}
        self.last_id = {}

    def run(self, windows):
        for _ in range(windows):
            now = self.exchange.now_us + WINDOW
            for sent in self.exchange.advance(now):
                if isinstance(sent, Disconnect):
                    self.offline_until = now + self.random.randrange(0, 2_000_000)
                    self.exchange.connect()
                    self.feed.lost("disconnect")
                elif now >= self.offline_until:
                    event, outputs = self.feed.receive_frame(sent.on_wire(combined=True), now)
                    self.take(outputs)
                    if isinstance(event, Diff):
                        self.last_id[event.symbol] = event.update_id
            self.answer(now)

    def answer(self, now):
        due = [request for when, request in self.asked if when <= now]
        self.asked = [(when, request) for when, request in self.asked if when > now]
        for request in due:
            reply = self.exchange.snapshot(request.symbol, LIMIT)
            if reply.status != 200 or reply.cut:
                self.ask(request, now + WINDOW)
            else:
                self.replies.append((now + reply.delay_us, request, reply.body))
        arrived = [reply for reply in self.replies if reply[0] <= now]
        self.replies = [reply for reply in self.replies if reply[0] > now]
        for _, request, body in arrived:
            try:
                snapshot = decode_snapshot(body, LIMIT)
            except InvalidMarketData:
                self.ask(request, now + WINDOW)
            else:
                self.take(self.feed.receive_snapshot(request.symbol, snapshot))

    def ask(self, request, when):
        self.asked.append((when, request))

    def take(self, outputs):
        for output in outputs:
            if isinstance(output, SnapshotRequest):
                self.ask(output, self.exchange.now_us + self.random.randrange(0, 8) * WINDOW)
            elif isinstance(output, Book):
                self.books[output.symbol].append(output)
                self.covered[output.symbol].append((output.first_update_id, output.update_id))
                self.check(output)
            else:
                self.gaps[output.symbol].append(output)
                self.covered[output.symbol].append((output.from_update_id, output.to_update_id))

    def check(self, book):
        """Compare with the truth: within floor and ceiling every level is known, so the best ones are the very best."""
        truth = self.exchange.book_at(book.symbol, book.update_id, 40)
        floor, ceiling = Decimal(book.floor or 0), Decimal(book.ceiling or "Infinity")
        for mine, true in (
            (book.bids, [level for level in truth.bids if Decimal(level[0]) >= floor]),
            (book.asks, [level for level in truth.asks if Decimal(level[0]) <= ceiling]),
        ):
            compared = min(len(true), 20)
            assert [tuple(level) for level in mine[:compared]] == [tuple(level) for level in true[:compared]]

    def require_no_hole(self):
        """Every id from the first published one on is in exactly one range, in order."""
        for symbol, ranges in self.covered.items():
            assert self.books[symbol], f"{symbol} never came into sync"
            expected = ranges[0][0]
            for first, last in ranges:
                if first != expected:
                    assert last < expected, f"{symbol}: {expected} to {first - 1} are in no book and in no gap"
                expected = last + 1

    def require_distinct_times(self):
        for symbol, books in self.books.items():
            times = Counter(book.event_time for book in books)
            assert times.most_common(1)[0][1] == 1, f"{symbol}: two books would share a key in the store"


def recover(client):
    """Go on without faults until everything is in sync again, and a little longer."""
    client.exchange.board.clear()
    client.run(35)  # until the client is online again, and sure that old ids are not just late
    for _ in range(20):
        client.run(10)
        if not client.feed.out_of_sync:
            break
    client.run(3)


def require_everything(client):
    assert client.feed.out_of_sync == ()
    assert {symbol: books[-1].update_id for symbol, books in client.books.items()} == client.last_id
    client.require_no_hole()
    client.require_distinct_times()


def random_fault(random, kind, symbol=None):
    variant = random.choice(MALFORMED) if kind == "malformed" else ""
    seconds = {
        "silence": random.random(),
        "clock": random.choice((-60.0, -0.1, 0.1, 60.0)),
        "slow_snapshot": random.random() * 3,
        "rate_limit": 0.5,
    }.get(kind)
    return Fault(kind, symbol, random.randrange(1, 3), random.randrange(0, 3), variant=variant, seconds=seconds)


@pytest.mark.parametrize("seed", range(120))
def test_any_mixture_of_faults(seed):
    client = Client(seed)
    client.run(6)
    for _ in range(5):
        kind = client.random.choice(STREAM_FAULTS + SNAPSHOT_FAULTS)
        client.exchange.inject(random_fault(client.random, kind))
        client.run(client.random.randrange(2, 10))
    recover(client)

    require_everything(client)


@pytest.mark.parametrize("kind", STREAM_FAULTS + SNAPSHOT_FAULTS)
def test_each_fault_alone_while_in_sync_and_while_synchronising(kind):
    client = Client(7)
    client.exchange.inject(random_fault(client.random, kind))
    client.run(20)
    client.exchange.inject(random_fault(client.random, kind))
    client.exchange.inject(Fault("drop", after=3))
    client.run(20)
    assert client.exchange.board.fired.get(kind), f"{kind} never fired"
    recover(client)

    require_everything(client)


@pytest.mark.parametrize("variant", MALFORMED)
def test_each_malformed_frame(variant):
    client = Client(3)
    client.run(15)
    client.exchange.inject(Fault("malformed", variant=variant))
    client.run(5)
    assert client.exchange.board.fired == {"malformed": 1}
    recover(client)

    require_everything(client)


@pytest.mark.parametrize("variant", ["last_event", "before_first", "first", "inside", "newest"])
def test_each_boundary_of_a_snapshot(variant):
    client = Client(5)
    client.exchange.inject(Fault("boundary_snapshot", variant=variant, count=3))
    client.run(20)
    assert client.exchange.board.fired["boundary_snapshot"]
    recover(client)

    require_everything(client)


def test_a_dropped_diff_is_recorded_at_once_with_its_ids_and_times():
    client = Client(1)
    client.run(20)
    before = client.books["BTCUSDT"][-1]
    client.exchange.inject(Fault("drop"))
    client.run(20)

    [gap] = client.gaps["BTCUSDT"]
    after = next(book for book in client.books["BTCUSDT"] if book.update_id > gap.to_update_id)
    assert (gap.from_update_id, gap.from_time) == (before.update_id + 1, before.event_time)
    assert (gap.to_update_id, gap.to_time) == (after.first_update_id - 1, after.event_time)
    assert gap.reason == "missed_updates"


@pytest.mark.parametrize("kind", ["duplicate", "duplicate_older", "overlap"])
def test_repetition_changes_nothing(kind):
    calm, client = Client(2), Client(2)
    client.run(15)
    client.exchange.inject(Fault(kind, count=3))
    client.run(15)
    calm.run(30)

    assert client.exchange.board.fired[kind] == 3
    assert client.gaps["BTCUSDT"] == []
    assert client.books["BTCUSDT"] == calm.books["BTCUSDT"]


def test_a_fault_of_one_symbol_does_not_disturb_another():
    client = Client(4, ("BTCUSDT", "ETHUSDT"))
    client.run(15)
    client.exchange.inject(Fault("drop", "BTCUSDT"))
    client.exchange.inject(Fault("malformed", "BTCUSDT", variant="nan_quantity", after=4))
    client.run(30)

    assert client.gaps["BTCUSDT"]
    assert client.gaps["ETHUSDT"] == []
    assert client.feed.out_of_sync == ()


def test_the_price_leaves_the_reach_of_the_snapshot_but_the_book_stays_known():
    client = Client(6)
    for _ in range(60):
        client.run(20)
        client.check(client.books["BTCUSDT"][-1])
    book = client.books["BTCUSDT"][-1]

    assert client.gaps["BTCUSDT"] == []
    assert Decimal(book.floor) < Decimal(book.bids[-1][0])
    assert Decimal(book.ceiling) > Decimal(book.asks[-1][0])


def test_a_lasting_contradiction_with_the_ticker_leads_to_a_new_synchronisation():
    client = Client(8)
    client.run(20)
    client.exchange.inject(Fault("ticker_mismatch", count=100))
    client.run(10)
    client.exchange.board.clear()
    assert client.feed._syncs["BTCUSDT"].resyncs["audit"] >= 1
    recover(client)

    require_everything(client)
    assert {gap.reason for gap in client.gaps["BTCUSDT"]} == {"audit"}
