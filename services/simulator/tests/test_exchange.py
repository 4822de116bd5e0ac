from decimal import Decimal
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import START_US, Exchange, Knobs

STREAMS = frozenset(
    {"btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@bookTicker", "btcusdt@depth5@100ms", "btcusdt@trade"}
)
SECOND = 1_000_000


def of(frames, stream):
    return [frame for frame in frames if frame.stream == stream]


@pytest.mark.slow
@given(seed=st.integers(0, 10**9), symbol=st.sampled_from(["BTCUSDT", "SOLUSDT", "币安人生USDT"]))
@settings(max_examples=3)
def test_diffs_replayed_on_a_snapshot_give_the_true_book_at_each_id(seed, symbol, naive_book):
    exchange = Exchange((symbol,), seed, knobs=Knobs(snapshot_lags_ms=(250,)))
    frames = exchange.frames(START_US + SECOND)
    book = naive_book(exchange.snapshot(symbol, 10**6).body)
    frames += exchange.frames(START_US + SECOND + SECOND // 2)
    applied = 0
    for frame in of(frames, f"{symbol.lower()}@depth@100ms"):
        if book.apply(orjson.loads(frame.payload)):
            applied += 1
            assert book.equals(exchange.book_at(symbol, book.update_id))
            assert max(book.bids) < min(book.asks)
    assert applied >= 3


@pytest.mark.parametrize("late_ms", [50, 970])
def test_each_stream_server_cuts_one_market_at_ids_of_its_own_and_sends_every_id(late_ms, naive_book):
    servers = Exchange(knobs=Knobs(stream_servers_ms=(0, late_ms), snapshot_lags_ms=(0,)))
    alone = Exchange(knobs=Knobs(snapshot_lags_ms=(0,)))
    snapshot = servers.snapshot("BTCUSDT", 10**6).body
    frames = of(servers.frames(START_US + SECOND), "btcusdt@depth@100ms")
    windows = [[orjson.loads(frame.payload) for frame in frames if frame.server == server] for server in (0, 1)]
    assert windows[0] == [
        orjson.loads(frame.payload) for frame in of(alone.advance(START_US + SECOND), frames[0].stream)
    ]
    for events in windows:
        assert len(events) == 10
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events))
        book = naive_book(snapshot)
        assert all(map(book.apply, events))
        assert book.equals(servers.book_at("BTCUSDT", book.update_id))
    assert {windows[1][0]["E"] % 100} == {(windows[0][0]["E"] + late_ms) % 100}
    assert not {event["u"] for event in windows[0]} & {event["u"] for event in windows[1]}


@pytest.mark.parametrize(("stream", "count"), [("btcusdt@depth@100ms", 100), ("btcusdt@depth", 10)])
def test_windows_of_each_speed_follow_on_from_one_another(stream, count):
    frames = of(Exchange().frames(START_US + 10 * SECOND, STREAMS), stream)
    events = [orjson.loads(frame.payload) for frame in frames]
    assert len(events) == count
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events))
    assert {later["E"] - earlier["E"] for earlier, later in pairwise(events)} == {10_000 // count}
    assert all(list(event) == ["e", "E", "s", "U", "u", "b", "a"] for event in events)
    assert sum(event["u"] - event["U"] + 1 > len(event["a"]) + len(event["b"]) for event in events) > count * 0.7


def test_a_window_removes_levels_that_the_client_never_had(naive_book):
    exchange = Exchange()
    snapshot = naive_book(exchange.snapshot("BTCUSDT", 10**6).body)
    known = set(snapshot.bids) | set(snapshot.asks)
    strange = 0
    for frame in of(exchange.frames(START_US + 20 * SECOND), "btcusdt@depth@100ms"):
        event = orjson.loads(frame.payload)
        for price, quantity in event["b"] + event["a"]:
            strange += Decimal(quantity) == 0 and Decimal(price) not in known
            known.add(Decimal(price))
    assert strange > 0


@pytest.mark.slow
def test_both_speeds_lead_to_the_same_book(naive_book):
    exchange = Exchange(knobs=Knobs(snapshot_lags_ms=(0,)))
    snapshot = exchange.snapshot("BTCUSDT", 10**6).body
    frames = exchange.frames(START_US + 5 * SECOND, STREAMS)
    for stream in ("btcusdt@depth@100ms", "btcusdt@depth"):
        book = naive_book(snapshot)
        for frame in of(frames, stream):
            book.apply(orjson.loads(frame.payload))
        assert book.equals(exchange.book_at("BTCUSDT", book.update_id))


def test_after_each_diff_the_top_is_that_of_the_last_book_ticker_up_to_its_id():
    exchange = Exchange()
    frames = exchange.frames(START_US + 5 * SECOND)
    tickers = [orjson.loads(frame.payload) for frame in of(frames, "btcusdt@bookTicker")]
    assert all(list(ticker) == ["u", "s", "b", "B", "a", "A"] for ticker in tickers)
    compared = 0
    for frame in of(frames, "btcusdt@depth@100ms"):
        earlier = [ticker for ticker in tickers if ticker["u"] <= frame.last_id]
        if earlier:
            book = exchange.book_at("BTCUSDT", frame.last_id, 1)
            ticker = earlier[-1]
            assert (ticker["b"], ticker["B"], ticker["a"], ticker["A"]) == (*book.bids[0], *book.asks[0])
            compared += 1
    assert compared > 45


def test_partial_depth_is_the_whole_top_and_says_neither_symbol_nor_time():
    exchange = Exchange()
    partial = of(exchange.frames(START_US + 3 * SECOND, STREAMS), "btcusdt@depth5@100ms")[-1]
    event = orjson.loads(partial.payload)
    book = exchange.book_at("BTCUSDT", event["lastUpdateId"])
    assert list(event) == ["lastUpdateId", "bids", "asks"]
    assert event["bids"] == [list(level) for level in book.bids[:5]]
    assert event["asks"] == [list(level) for level in book.asks[:5]]


def test_trades_happen_at_prices_of_the_book():
    trades = [
        orjson.loads(frame.payload) for frame in of(Exchange().frames(START_US + SECOND, STREAMS), "btcusdt@trade")
    ]
    assert len(trades) > 3
    assert [trade["t"] for trade in trades] == list(range(trades[0]["t"], trades[0]["t"] + len(trades)))
    assert all(Decimal(trade["q"]) > 0 for trade in trades)


@pytest.mark.slow
def test_the_same_seed_and_calls_give_the_same_bytes():
    def run(seed):
        exchange = Exchange(("BTCUSDT", "ETHUSDT"), seed)
        frames = exchange.advance(START_US + 2 * SECOND, None)
        return [frame.on_wire(combined=True) for frame in frames], exchange.snapshot("ETHUSDT", 100).body

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_the_same_market_comes_out_however_often_it_is_asked():
    rare, often = Exchange(seed=9), Exchange(seed=9)
    at_once = [frame.payload for frame in rare.frames(START_US + SECOND)]
    step_by_step = [
        frame.payload for moment in range(7_000, SECOND + 7_000, 7_000) for frame in often.frames(START_US + moment)
    ]
    assert step_by_step == at_once


def test_frames_of_several_symbols_come_in_the_order_of_time():
    frames = Exchange(("BTCUSDT", "ETHUSDT")).frames(START_US + SECOND)
    times = [frame.time_us for frame in frames]
    assert times == sorted(times)
    assert {frame.symbol for frame in frames} == {"BTCUSDT", "ETHUSDT"}


def test_times_are_milliseconds_or_on_request_microseconds():
    exchange = Exchange(start_us=START_US + 123)
    frame = of(exchange.frames(START_US + SECOND), "btcusdt@depth@100ms")[0]
    assert orjson.loads(frame.payload)["E"] == frame.time_us // 1000
    assert orjson.loads(frame.payload_in(microseconds=True))["E"] == frame.time_us
    assert frame.time_us % 1000 == 123


def test_snapshots_come_from_replicas_that_lag_differently():
    exchange = Exchange(knobs=Knobs(snapshot_lags_ms=(0, 3000)))
    exchange.frames(START_US + 5 * SECOND)
    fresh, old = (orjson.loads(exchange.snapshot("BTCUSDT").body)["lastUpdateId"] for _ in range(2))
    assert fresh == exchange.update_ids()["BTCUSDT"]
    assert old < fresh
    assert exchange.book_at("BTCUSDT", old).snapshot(100) != exchange.book_at("BTCUSDT", fresh).snapshot(100)


@pytest.mark.slow
def test_a_window_without_a_change_of_level_is_sent_empty_or_on_request_not_at_all():
    def events(*, send):
        exchange = Exchange(("DUSTUSDT",), seed=3, knobs=Knobs(send_unchanged_windows=send))
        return [
            orjson.loads(frame.payload) for frame in exchange.frames(START_US + 1500 * SECOND) if frame.kind == "depth"
        ]

    sent, unsent = events(send=True), events(send=False)
    assert any(event["b"] == event["a"] == [] for event in sent)
    assert all(event["b"] or event["a"] for event in unsent)
    for run in (sent, unsent):
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(run))


def test_an_unknown_id_or_symbol_has_no_book():
    exchange = Exchange()
    with pytest.raises(LookupError, match="ids from"):
        exchange.book_at("BTCUSDT", 5)
    with pytest.raises(LookupError, match="these are: BTCUSDT"):
        exchange.book_at("NOPE", 5)
