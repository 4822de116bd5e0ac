from collections import Counter
from decimal import Decimal
from itertools import pairwise

import orjson
import pytest
from tables import each_row

from simulator import KINDS, START_US, Disconnect, Exchange, Fault
from simulator.faults import MALFORMED, fault_from

SECOND = 1_000_000
STREAM = "btcusdt@depth@100ms"


class Client:
    """Takes what an exchange sends second by second."""

    def __init__(self, *symbols) -> None:
        self.exchange = Exchange(symbols or ("BTCUSDT",))
        self.now = START_US

    def sent(self, *faults, seconds=1.0):
        for fault in faults:
            self.exchange.inject(fault)
        self.now += int(seconds * SECOND)
        return self.exchange.advance(self.now)

    def ids(self, *faults, seconds=1.0):
        return [(frame.first_id, frame.last_id) for frame in self.depth(*faults, seconds=seconds)]

    def depth(self, *faults, seconds=1.0):
        return [
            one
            for one in self.sent(*faults, seconds=seconds)
            if not isinstance(one, Disconnect) and one.stream == STREAM
        ]

    def events(self, *faults, seconds=1.0):
        return [orjson.loads(frame.payload) for frame in self.depth(*faults, seconds=seconds)]

    def snapshot_id(self):
        return orjson.loads(self.exchange.snapshot("BTCUSDT").body)["lastUpdateId"]


@pytest.fixture
def client():
    client = Client()
    client.sent()
    return client


class Calm:
    """What the same client is sent in the same second without faults."""

    def __init__(self) -> None:
        client = Client()
        client.sent()
        self.frames = client.depth()
        self.book = client.exchange.book_at("BTCUSDT", client.exchange.update_ids()["BTCUSDT"])

    def ids(self):
        return [(frame.first_id, frame.last_id) for frame in self.frames]

    def events(self):
        return [orjson.loads(frame.payload) for frame in self.frames]


@pytest.fixture(scope="module")
def calm():
    return Calm()


def test_drop_leaves_one_event_out(client, calm):
    true = calm.ids()
    assert client.ids(Fault("drop", after=2)) == true[:2] + true[3:]


def test_duplicate_sends_an_event_twice(client, calm):
    true = calm.ids()
    assert client.ids(Fault("duplicate", after=1)) == [true[0], true[1], *true[1:]]


def test_duplicate_older_repeats_an_event_of_long_ago(client, calm):
    true = calm.ids()
    assert client.ids(Fault("duplicate_older", after=5, value=3)) == [*true[:6], true[2], *true[6:]]


def test_swap_changes_two_neighbours(client, calm):
    true = calm.ids()
    assert client.ids(Fault("swap", after=4)) == [*true[:4], true[5], true[4], *true[6:]]


def test_overlap_repeats_the_ids_before_and_still_leads_to_the_truth(client, naive_book):
    book = naive_book(client.exchange.book_at("BTCUSDT", client.exchange.update_ids()["BTCUSDT"]).snapshot(10**6))
    events = client.events(Fault("overlap", after=2))
    assert events[2]["U"] == events[1]["U"]
    assert events[2]["u"] > events[1]["u"]
    for event in events:
        book.apply(event)
    assert book.equals(client.exchange.book_at("BTCUSDT", book.update_id))


def test_an_overlap_behind_a_silence_repeats_the_event_that_was_not_sent(client, calm):
    firsts, lasts = zip(*calm.ids(), strict=True)
    assert client.ids(Fault("silence", seconds=0.4), seconds=0.4) == []
    event = client.events(Fault("overlap"), seconds=0.2)[0]
    assert event["U"] == firsts[lasts.index(event["u"]) - 1]


def test_crossed_puts_a_bid_above_the_best_ask_under_right_ids(client, naive_book):
    book = naive_book(client.exchange.book_at("BTCUSDT", client.exchange.update_ids()["BTCUSDT"]).snapshot(10**6))
    crossed = []
    for event in client.events(Fault("crossed", after=3)):
        book.apply(event)
        crossed.append(max(book.bids) > min(book.asks))
    assert crossed[:3] == [False] * 3
    assert crossed[3]


def test_id_reset_takes_the_ids_of_events_tickers_and_snapshots_back(client):
    events = client.events(Fault("id_reset", value=10**9, after=2))
    assert events[2]["u"] < events[1]["u"] - 9 * 10**8
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events[2:]))
    snapshot_id = client.snapshot_id()
    assert events[2]["u"] <= snapshot_id <= events[-1]["u"] + 10**4
    assert client.exchange.book_at("BTCUSDT", snapshot_id).bids
    ticker = next(one for one in client.sent() if one.kind == "bookTicker")
    assert orjson.loads(ticker.payload)["u"] < events[1]["U"]


def test_what_was_sent_before_ids_began_anew_once_and_twice_is_known_still(client):
    sent = [client.events()[-1]["u"], client.events(Fault("id_reset"))[-1]["u"]]
    books = [client.exchange.book_at("BTCUSDT", update_id).bids for update_id in sent]
    client.events(Fault("id_reset"))
    assert [client.exchange.book_at("BTCUSDT", update_id).bids for update_id in sent] == books


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_moves_the_event_time_of_one_event(client, calm, seconds):
    true = [event["E"] for event in calm.events()]
    assert [
        event["E"] - time for event, time in zip(client.events(Fault("clock", seconds=seconds)), true, strict=True)
    ] == [
        seconds * 1000,
        *[0] * 9,
    ]


def test_ticker_mismatch_shows_prices_that_are_not_the_books(client):
    tickers = [
        orjson.loads(one.payload) for one in client.sent(Fault("ticker_mismatch", count=2)) if one.kind == "bookTicker"
    ]
    bids = [Decimal(ticker["b"]) for ticker in tickers]
    assert min(bids[:2]) > max(bids[2:]) * Decimal("1.005")


def test_silence_stops_one_symbol_for_its_time_and_then_goes_on_with_the_present():
    client = Client("BTCUSDT", "ETHUSDT")
    client.sent()
    sent = client.sent(Fault("silence", symbol="BTCUSDT", seconds=2), seconds=2)
    assert {one.symbol for one in sent} == {"ETHUSDT"}
    after = client.sent(seconds=1)
    assert {one.symbol for one in after} == {"BTCUSDT", "ETHUSDT"}
    assert client.exchange.board.fired == {"silence": 1}


def test_silence_without_a_symbol_stops_everything():
    client = Client("BTCUSDT", "ETHUSDT")
    client.sent()
    assert client.sent(Fault("silence", seconds=1), seconds=0.9) == []


@pytest.mark.parametrize(
    ("fault", "code"), [(Fault("disconnect", code=1012), 1012), (Fault("disconnect", variant="abort"), None)]
)
def test_disconnect_ends_the_connection_with_a_code_or_a_reset(client, fault, code):
    endings = [one for one in client.sent(fault) if isinstance(one, Disconnect)]
    assert [one.code for one in endings] == [code]


@pytest.mark.parametrize("lead", [0, 0.5])
def test_server_shutdown_is_announced_and_then_carried_out(client, lead):
    sent = client.sent(Fault("server_shutdown", seconds=lead))
    notice = next(
        number for number, one in enumerate(sent) if not isinstance(one, Disconnect) and one.kind == "serverShutdown"
    )
    end = next(number for number, one in enumerate(sent) if isinstance(one, Disconnect))
    assert (
        sent[notice].on_wire(combined=True).startswith(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":')
    )
    between = sent[notice + 1 : end]
    assert bool(between) == bool(lead)


DAMAGED = {"bad_json", "truncated", "invalid_utf8"}


@pytest.mark.parametrize("variant", sorted(DAMAGED))
def test_a_damaged_frame_is_no_json_any_more(client, variant):
    frame = client.depth(Fault("malformed", variant=variant))[0]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(frame.on_wire(combined=True))
    assert variant != "invalid_utf8" or b"\xff" in frame.on_wire(combined=False)


MALFORMATIONS = {
    "number_for_string": lambda event, true: isinstance((event["b"] or event["a"])[0][0], float),
    "missing_first_id": lambda event, true: "U" not in event,
    "reversed_ids": lambda event, true: event["U"] > event["u"],
    "negative_quantity": lambda event, true: (event["b"] or event["a"])[0][1].startswith("-"),
    "nan_quantity": lambda event, true: (event["b"] or event["a"])[0][1] == "NaN",
    "exponent_quantity": lambda event, true: "e" in (event["b"] or event["a"])[0][1],
    "unknown_key": lambda event, true: event.items() > true.items(),
    "unknown_event": lambda event, true: event["e"] not in ("depthUpdate", "trade"),
    "huge": lambda event, true: len(str(event)) > 10 * 1024 * 1024,
    "wrong_symbol": lambda event, true: event["s"] != true["s"] == "BTCUSDT",
    "binary": lambda event, true: event == true,
    "fragmented": lambda event, true: event == true,
}


def test_every_malformation_is_tested():
    assert MALFORMATIONS.keys() | DAMAGED == set(MALFORMED)


@pytest.mark.parametrize("variant", MALFORMATIONS)
def test_a_malformed_event_is_wrong_as_its_name_says(client, calm, variant):
    true = calm.events()
    events = client.events(Fault("malformed", variant=variant))
    assert MALFORMATIONS[variant](events[0], true[0])
    assert events[1:] == (true if variant == "unknown_event" else true[1:])


def test_stale_snapshots_are_older_than_the_first_event_and_then_come_fresh_ones(client):
    first = client.exchange.board.first_sent["BTCUSDT"]
    client.exchange.inject(Fault("stale_snapshot", count=2))
    ids = [client.snapshot_id() for _ in range(3)]
    assert ids[0] < first - 1
    assert ids[1] < first - 1
    assert ids[2] >= first


def test_after_a_drop_a_stale_snapshot_is_older_than_the_hole(client):
    events = client.events(Fault("drop", after=4), Fault("stale_snapshot"))
    assert client.snapshot_id() < events[4]["U"] - 1


def test_boundary_snapshots_are_exactly_where_they_should_be(client):
    board = client.exchange.board
    first, (first_of_last, last) = board.first_sent["BTCUSDT"], board.last_sent["BTCUSDT"]

    def snapshot_id(variant):
        client.exchange.inject(Fault("boundary_snapshot", variant=variant))
        update_id = client.snapshot_id()
        client.exchange.book_at("BTCUSDT", update_id)
        return update_id

    assert snapshot_id("last_event") == last
    assert snapshot_id("before_first") == first - 1
    assert snapshot_id("first") == first
    assert first_of_last <= snapshot_id("inside") < last
    assert snapshot_id("newest") == client.exchange.update_ids()["BTCUSDT"] >= last


def test_a_slow_snapshot_takes_its_time(client):
    client.exchange.inject(Fault("slow_snapshot", seconds=7))
    replies = [client.exchange.snapshot("BTCUSDT") for _ in range(2)]
    assert [reply.delay_us for reply in replies] == [7 * SECOND, 0]
    assert orjson.loads(replies[0].body)["bids"]


FAILURES = {
    "status": (500, lambda reply: orjson.loads(reply.body)["code"] == -1000),
    "timeout": (504, lambda reply: orjson.loads(reply.body)["code"] == -1007 and reply.delay_us == 10 * SECOND),
    "reset": (200, lambda reply: reply.cut),
    "truncated": (200, lambda reply: reply.body.startswith(b'{"lastUpdateId":') and not reply.body.endswith(b"}")),
    "html": (200, lambda reply: reply.content_type == "text/html" and b"<html>" in reply.body),
    "451": (451, lambda reply: orjson.loads(reply.body)["code"] == 0),
    "403": (403, lambda reply: reply.content_type == "text/html"),
}


@pytest.mark.parametrize("variant", KINDS["fail_snapshot"].variants)
def test_a_failing_snapshot_fails_as_its_name_says(client, variant):
    status, holds = FAILURES[variant]
    client.exchange.inject(Fault("fail_snapshot", symbol="BTCUSDT", variant=variant))
    reply = client.exchange.snapshot("BTCUSDT")
    assert reply.status == status
    assert holds(reply)
    assert client.exchange.snapshot("BTCUSDT").status == 200


@pytest.mark.parametrize(
    ("variant", "status", "header"),
    [("429", 429, "5"), ("429_without_retry_after", 429, None), ("418", 418, "5"), ("418_text_only", 418, None)],
)
def test_a_rate_limit_is_told_in_header_or_text(client, variant, status, header):
    client.exchange.inject(Fault("rate_limit", variant=variant))
    reply = client.exchange.snapshot("BTCUSDT")
    assert (reply.status, reply.headers.get("Retry-After")) == (status, header)
    assert orjson.loads(reply.body)["code"] == -1003
    assert status == 429 or str(client.exchange.now_us // 1000 + 5000) in orjson.loads(reply.body)["msg"]


def test_the_truth_is_the_same_with_and_without_faults(client, calm):
    depth = [
        Fault("drop"),
        Fault("swap", after=1),
        Fault("crossed", after=3),
        Fault("malformed", after=4, variant="huge"),
    ]
    client.sent(*depth)
    assert client.exchange.book_at("BTCUSDT", client.exchange.update_ids()["BTCUSDT"]) == calm.book


def test_a_fault_fires_its_count_after_its_after_and_is_listed(client):
    client.exchange.inject(Fault("duplicate", count=3, after=2))
    ids = Counter(client.ids())
    assert [ids[one] for one in sorted(ids)] == [1, 1, 2, 2, 2, 1, 1, 1, 1, 1]
    (listed,) = client.exchange.board.listing()
    assert (listed["kind"], listed["fired"], listed["spent"]) == ("duplicate", 3, True)
    client.exchange.board.clear()
    assert client.exchange.board.listing() == []
    assert client.exchange.board.fired == {"duplicate": 3}


def test_a_fault_of_another_symbol_does_not_fire(client, calm):
    assert client.ids(Fault("drop", symbol="ETHUSDT")) == calm.ids()


@pytest.mark.parametrize(("scope", "hit"), [("all", 2), ("one", 1)])
def test_a_fault_hits_every_connection_that_carries_the_frame_or_only_one(scope, hit):
    exchange = Exchange()
    edges = [exchange.edge(), exchange.edge()]
    exchange.inject(Fault("drop", scope=scope))
    frames = [frame for frame in exchange.frames(START_US + SECOND) if frame.kind == "depth"]
    lost = sum(edge.pass_on(frame) == [] for frame in frames for edge in edges)
    assert lost == hit
    assert exchange.board.fired == {"drop": 1}


@each_row(
    ("document", "message"),
    [
        ({"kind": "explode"}, "kind: 'explode' is not known; known kinds: drop, duplicate"),
        ({"symbol": "BTCUSDT"}, "kind: is missing"),
        ([], "kind: is missing"),
        ({"kind": "drop", "often": 3}, "often: no such field; known fields: kind, symbol"),
        ({"kind": "drop", "count": 0}, "count: 0 is not an integer of at least 1"),
        ({"kind": "drop", "after": "1"}, "after: '1' is not an integer"),
        ({"kind": "drop", "symbol": 3}, "symbol: 3"),
        ({"kind": "malformed", "variant": "odd"}, "variant: 'odd' is not one of malformed: bad_json"),
        ({"kind": "silence", "seconds": "long"}, "seconds: 'long' is not a number"),
        ({"kind": "drop", "scope": "some"}, "scope: 'some'"),
    ],
)
def test_a_wrong_fault_is_refused_by_the_name_of_the_field(document, message):
    with pytest.raises(ValueError, match=message):
        fault_from(document)


def test_faults_can_be_told_in_json():
    assert fault_from({"kind": "silence", "symbol": None, "seconds": 2.5}).microseconds == 2_500_000
