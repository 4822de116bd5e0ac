"""Several symbols from frames to books: that they never disturb each other, and what is counted and said."""

import orjson
import pytest
import structlog

from crawler.book.depth_sync import SnapshotRequest
from crawler.book.market_data import Diff, Snapshot
from crawler.book_feed import BookFeed
from crawler.state import Confirmed
from crawler.venues.binance.wire import Reply, Shutdown, Unknown
from fairprice.messages import Book, Gap

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def diff_frame(symbol, first, last, bids=()):
    data = {"e": "depthUpdate", "E": 1789000000000 + last, "s": symbol, "U": first, "u": last, "b": bids, "a": []}
    return orjson.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def ticker_frame(symbol, update_id, bid="100.0", size="1.0"):
    data = {"u": update_id, "s": symbol, "b": bid, "B": size, "a": "101.0", "A": "1.0"}
    return orjson.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


def snapshot(update_id):
    return Snapshot(update_id, [["100.0", "1.0"]], [["101.0", "1.0"]], bids_complete=True, asks_complete=True)


@pytest.fixture(autouse=True)
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


def new_feed(confirmed=None):
    return BookFeed(SYMBOLS, confirmed or {}, crawler="one", levels=20)


@pytest.fixture
def feed():
    """A feed whose symbols are both in sync, at 105."""
    feed = new_feed()
    for symbol in SYMBOLS:
        assert feed.receive_frame(diff_frame(symbol, 101, 105), 1)[1] == [SnapshotRequest(symbol, 0)]
        [book] = feed.receive_snapshot(symbol, snapshot(100))
        assert (book.symbol, book.update_id, book.received_time) == (symbol, 105, 1)
    return feed


def samples(feed):
    return {(name, labels): value for name, labels, value in feed.samples()}


def test_each_symbol_comes_into_sync_by_itself():
    feed = new_feed()
    assert feed.out_of_sync == feed.without_books == SYMBOLS
    feed.receive_frame(diff_frame("ETHUSDT", 101, 105), 1)
    feed.receive_snapshot("ETHUSDT", snapshot(100))
    assert feed.out_of_sync == feed.without_books == ("BTCUSDT",)
    assert feed.books == 1


def test_a_frame_tells_what_it_says(feed):
    event, [book] = feed.receive_frame(diff_frame("BTCUSDT", 106, 110), 5)
    assert (type(event), type(book), book.received_time) == (Diff, Book, 5)
    assert feed.receive_frame(b'{"result":null,"id":1}', 5) == (Reply(1, None), [])
    assert feed.receive_frame(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}', 5) == (Shutdown(), [])
    assert feed.receive_frame(b'{"stream":"x@trade","data":{"e":"trade"}}', 5) == (Unknown("x@trade"), [])
    assert feed.receive_frame(ticker_frame("BTCUSDT", 110), 5) == (None, [])


def test_a_diff_of_a_symbol_nobody_asked_for_changes_nothing(feed):
    _, outputs = feed.receive_frame(diff_frame("SOLUSDT", 1, 2), 5)
    assert outputs == []
    assert samples(feed)["crawler_frames_total", ("other",)] == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.replace(b'"U"', b'"X"'),
        lambda frame: frame[:60],
        lambda frame: frame + b"}",
        lambda frame: frame.replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
    ],
)
def test_an_unreadable_frame_costs_its_symbol_a_gap_with_that_reason_and_no_other_symbol_anything(feed, logged, spoil):
    assert feed.receive_frame(spoil(diff_frame("BTCUSDT", 106, 110)), 5) == (None, [])
    assert [entry["event"] for entry in logged] == ["unreadable frame dropped"]
    assert [type(output) for output in feed.receive_frame(diff_frame("ETHUSDT", 106, 110), 5)[1]] == [Book]
    assert feed.receive_frame(diff_frame("BTCUSDT", 111, 115), 5)[1] == [SnapshotRequest("BTCUSDT", 0)]
    gap, book = feed.receive_snapshot("BTCUSDT", snapshot(110))
    assert (gap.from_update_id, gap.to_update_id, gap.reason) == (106, 110, "unreadable_frame")
    assert book.update_id == 115
    counted = samples(feed)
    assert counted["crawler_frames_total", ("invalid",)] == 1
    assert counted["crawler_gaps_total", ("BTCUSDT", "unreadable_frame")] == 1
    assert counted["crawler_missing_updates_total", ("BTCUSDT",)] == 5
    assert counted["crawler_resyncs_total", ("BTCUSDT", "unreadable_frame")] == 1


@pytest.mark.parametrize("frame", [b"", b"{", b"\x00\xff", b"x" * 10_000, b'{"stream":"', b'{"stream":5}'])
def test_rubbish_is_dropped_and_shown_in_the_log_only_as_far_as_it_helps(feed, logged, frame):
    assert feed.receive_frame(frame, 5) == (None, [])
    assert feed.out_of_sync == ()
    [entry] = logged
    assert len(entry["frame"]) <= 500


def test_when_no_stream_is_left_every_symbol_s_next_gap_says_why(feed):
    feed.lost("silence")
    for symbol in SYMBOLS:
        feed.receive_frame(diff_frame(symbol, 111, 115), 5)
        gap, _ = feed.receive_snapshot(symbol, snapshot(110))
        assert isinstance(gap, Gap)
        assert gap.reason == "silence"


def test_a_restart_goes_on_from_what_was_confirmed():
    feed = new_feed({"BTCUSDT": Confirmed(90, 1788999999000000)})
    for symbol in SYMBOLS:
        feed.receive_frame(diff_frame(symbol, 101, 105), 1)
    gap, _ = feed.receive_snapshot("BTCUSDT", snapshot(100))
    assert (gap.from_update_id, gap.to_update_id, gap.from_time, gap.reason) == (91, 100, 1788999999000000, "restart")
    assert [type(output) for output in feed.receive_snapshot("ETHUSDT", snapshot(100))] == [Book]


def contradict(feed, start, count, size="9.9"):
    """Diffs each followed by a ticker that says otherwise."""
    for update_id in range(start, start + count):
        feed.receive_frame(ticker_frame("BTCUSDT", update_id, size=size), 5)
        feed.receive_frame(diff_frame("BTCUSDT", update_id, update_id), 5)


def test_a_lasting_contradiction_with_the_tickers_gives_up_the_book_of_that_symbol_only(feed, logged):
    contradict(feed, 106, 5)
    assert feed.out_of_sync == ("BTCUSDT",)
    assert [entry["log_level"] for entry in logged] == ["error"]
    counted = samples(feed)
    assert counted["crawler_resyncs_total", ("BTCUSDT", "audit")] == 1
    assert counted["crawler_audits_total", ("BTCUSDT", "mismatch")] == 3


def test_tickers_missed_while_no_stream_was_connected_raise_no_alarm(feed, logged):
    """No diff is missing, because the first one covers the whole window, but the tickers within it are."""
    feed.receive_frame(ticker_frame("BTCUSDT", 105), 5)
    feed.receive_frame(diff_frame("BTCUSDT", 106, 110), 5)
    feed.lost("disconnect")
    feed.receive_frame(diff_frame("BTCUSDT", 111, 120, [["100.0", "7.0"]]), 5)
    for update_id in range(121, 140):
        feed.receive_frame(diff_frame("BTCUSDT", update_id, update_id), 5)
    feed.receive_frame(ticker_frame("BTCUSDT", 140, size="8.0"), 5)
    feed.receive_frame(diff_frame("BTCUSDT", 140, 140, [["100.0", "8.0"]]), 5)
    feed.receive_frame(ticker_frame("BTCUSDT", 141), 5)
    feed.receive_frame(diff_frame("BTCUSDT", 141, 141, [["100.0", "1.0"]]), 5)
    assert feed.out_of_sync == ()
    assert logged == []
    assert samples(feed)["crawler_audits_total", ("BTCUSDT", "match")] == 1


@pytest.mark.parametrize("spoil", [(b'"u":', b'"x":'), (b'"100.0"', b'"NaN"')])
def test_an_unreadable_ticker_is_said_once_and_the_audit_goes_on_without_it(feed, logged, spoil):
    feed.receive_frame(ticker_frame("BTCUSDT", 105), 5)
    feed.receive_frame(ticker_frame("BTCUSDT", 106).replace(*spoil), 5)
    for update_id in range(106, 120):
        feed.receive_frame(ticker_frame("BTCUSDT", update_id + 1), 5)
        feed.receive_frame(diff_frame("BTCUSDT", update_id, update_id), 5)
    assert feed.out_of_sync == ()
    assert [entry["log_level"] for entry in logged] == ["warning"]
    assert samples(feed)["crawler_audits_total", ("BTCUSDT", "match")] > 8
