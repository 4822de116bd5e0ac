"""One symbol's life: the audit that speaks before a book leaves, and the order in which all is told."""

import gzip
from itertools import pairwise

import orjson
import pytest

from crawler.book.feed import MAX_HELD, UNAUDITED_SECONDS, Feed
from crawler.book.id_reset import RESET_AFTER
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.publication import Confirmed
from crawler.book.steps import Fact, SnapshotRequest
from fairprice.errors import InvalidMarketData
from fairprice.messages import Book, Gap, Start

START = 1_789_000_000_000_000


def diff(first, last, size=None, *, bids=(), time=None):
    """A diff that gives the best bid this size; its event time is made from its last id unless given."""
    levels = [["100.0", f"{size}.0"]] if size else [list(level) for level in bids]
    return Diff("BTCUSDT", first, last, START + last * 1000 if time is None else time, levels, [])


def ticker(update_id, size):
    return Ticker("BTCUSDT", update_id, b"", lambda _: Top(["100.0", f"{size}.0"], ["101.0", "1.0"]))


def snapshot(update_id, size=1, *, complete=True):
    bids, asks = [["100.0", f"{size}.0"], ["99.0", "1.0"]], [["101.0", "1.0"]]
    return Snapshot("BTCUSDT", update_id, bids, asks, complete, complete)


def feed_at(update_id, size=1, **options):
    """A feed that has published one book, up to this id, whose ticker has come."""
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True, **options)
    feed.receive_diff(diff(update_id - 4, update_id, size), 0)
    feed.receive_ticker(ticker(update_id, size))
    [book] = feed.receive_snapshot(snapshot(update_id - 5))
    assert book.update_id == update_id
    assert feed.audit.matches == 1
    return feed


def shown(outputs):
    """Books by their last id, gaps by range and reason, facts by kind, requests by attempt."""
    assert {output.symbol for output in outputs} <= {"BTCUSDT"}
    forms = {
        Book: lambda book: book.update_id,
        Gap: lambda gap: (gap.from_update_id, gap.to_update_id, gap.reason),
        Fact: lambda fact: fact.kind,
        SnapshotRequest: lambda request: request,
    }
    return [forms[type(output)](output) for output in outputs]


# The audit speaks first


def test_a_book_that_its_ticker_confirms_leaves_at_once():
    feed = feed_at(100)
    assert shown(feed.receive_ticker(ticker(105, 5))) == []
    assert shown(feed.receive_diff(diff(101, 105, 5), 0)) == [105]


def test_a_book_whose_top_did_not_change_waits_for_no_ticker():
    feed = feed_at(100)
    assert shown(feed.receive_diff(diff(101, 105), 0)) == [105]


def test_a_book_whose_ticker_is_on_its_way_is_held_back_until_that_has_come():
    feed = feed_at(100)
    assert shown(feed.receive_diff(diff(101, 105, 5), 0)) == []
    assert shown(feed.receive_ticker(ticker(103, 3))) == []
    assert shown(feed.receive_ticker(ticker(105, 5))) == [105]
    assert feed.audit.matches == 2


def test_what_follows_a_book_that_is_held_back_waits_too_and_keeps_its_order():
    feed = feed_at(100)
    for last, size in ((105, 5), (110, 0), (115, 7)):
        assert shown(feed.receive_diff(diff(last - 4, last, size), 0)) == []
    assert shown(feed.receive_ticker(ticker(104, 5))) == [105, 110]
    assert shown(feed.receive_ticker(ticker(112, 7))) == [115]


def test_books_pass_without_their_ticker_after_a_second_of_the_exchange_s_time():
    feed = feed_at(100, hold_seconds=1.0)
    feed.receive_diff(diff(101, 105, 5, time=START), 0)
    assert shown(feed.receive_diff(diff(106, 110, 6, time=START + 999_999), 0)) == []
    assert shown(feed.receive_diff(diff(111, 115, 7, time=START + 1_000_000), 0)) == [105, 110, 115]
    assert shown(feed.receive_diff(diff(116, 120, 8), 0)) == [120], "nothing is held before a ticker comes again"
    feed.receive_ticker(ticker(121, 8))
    assert shown(feed.receive_diff(diff(121, 125, 9), 0)) == []


def test_books_pass_without_their_ticker_after_a_second_of_this_machine_s():
    feed = feed_at(100, hold_seconds=1.0)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(feed.tick(50.0)) == []
    assert shown(feed.tick(50.9)) == []
    assert shown(feed.tick(51.0)) == [105]


def test_each_book_is_held_for_its_own_time():
    """One after another waits for a moment; none of them for a second."""
    feed = feed_at(100, hold_seconds=1.0)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert feed.tick(50.0) == []
    assert shown(feed.receive_ticker(ticker(105, 5))) == [105]
    feed.receive_diff(diff(106, 110, 6), 0)
    assert shown(feed.tick(51.0)) == []
    assert shown(feed.receive_ticker(ticker(110, 7))) == ["contradiction", "resync"]


def test_books_that_are_held_back_are_bounded_whatever_their_times():
    feed = feed_at(100)
    outputs = [each for n in range(101, 101 + MAX_HELD) for each in feed.receive_diff(diff(n, n, n, time=START), 0)]
    assert outputs == []
    last = 101 + MAX_HELD
    assert shown(feed.receive_diff(diff(last, last, last, time=START), 0)) == list(range(101, last + 1))


def test_what_is_held_back_leaves_at_the_end():
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(feed.end()) == [105]


# Contradictions


def test_a_book_that_a_ticker_contradicts_never_leaves_and_is_a_gap():
    feed = feed_at(100)
    feed.receive_ticker(ticker(105, 9))
    outputs = feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(outputs) == ["contradiction", "resync"]
    assert outputs[0].detail == "the book's top at 105 is not the ticker's"
    assert (feed.in_sync, feed.sync.resyncs) == (False, {"audit": 1})
    assert shown(feed.receive_diff(diff(106, 110, 9), 0)) == [SnapshotRequest("BTCUSDT", 1)]
    assert shown(feed.receive_snapshot(snapshot(105, 9))) == [(101, 105, "audit"), 110]


def test_all_that_was_built_on_a_contradicted_book_goes_with_it():
    feed = feed_at(100)
    for last, size in ((105, 5), (110, 0), (115, 7)):
        feed.receive_diff(diff(last - 4, last, size), 0)
    assert shown(feed.receive_ticker(ticker(105, 9))) == ["contradiction", "resync"]
    assert shown(feed.end()) == [(101, 115, "audit")]


def test_the_fault_behind_a_contradiction_is_found_on_real_depth():
    """A quantity is lost on the way: the next ticker of the top shows it, before the book has left."""
    feed = feed_at(100)
    feed.receive_ticker(ticker(103, 3))
    outputs = feed.receive_diff(diff(101, 105), 0)
    assert shown(outputs) == [], "the ticker of 105 may be on its way"
    assert shown(feed.receive_ticker(ticker(106, 3))) == ["contradiction", "resync"]


def test_a_book_of_a_later_synchronisation_outlives_the_contradiction_of_an_earlier_one():
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    feed.receive_diff(diff(111, 115), 0)
    feed.receive_snapshot(snapshot(110, 8))
    outputs = feed.receive_ticker(ticker(105, 9)) + feed.receive_ticker(ticker(109, 8))
    assert shown(outputs) == ["contradiction", "hole", (101, 110, "audit"), 115]
    assert feed.in_sync


def test_a_book_that_was_given_up_already_is_not_given_up_again():
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(feed.receive_diff(diff(106, 110, bids=[("102.0", "1")]), 0)) == []
    assert shown(feed.receive_diff(diff(111, 115), 0)) == [SnapshotRequest("BTCUSDT", 1)]
    assert shown(feed.receive_ticker(ticker(105, 9))) == ["contradiction", "resync"]
    assert feed.sync.resyncs == {"crossed": 1}
    assert shown(feed.receive_snapshot(snapshot(110, 9))) == [(101, 110, "audit"), 115]


# Facts and reasons keep their place among what is held back


@pytest.mark.parametrize("reason", ["disconnect", "silence"])
def test_a_loss_is_expected_of_what_comes_after_the_books_that_are_held_back(reason):
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(feed.expect_loss(reason)) == [105]
    feed.receive_diff(diff(111, 115), 0)
    assert shown(feed.receive_snapshot(snapshot(110))) == [(106, 110, reason), 115]


def test_a_hole_behind_a_book_that_is_held_back_keeps_its_own_reason():
    feed = feed_at(100)
    feed.expect_loss("disconnect")
    feed.receive_ticker(ticker(101, 1))
    feed.receive_diff(diff(106, 110, 6), 0)
    assert shown(feed.receive_snapshot(snapshot(105))) == []
    assert shown(feed.expect_loss("silence")) == [(101, 105, "disconnect"), 110]


def test_a_crossed_book_behind_one_that_is_held_back_is_told_after_it():
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    feed.receive_diff(diff(106, 110, bids=[("102.0", "1")]), 0)
    assert shown(feed.receive_ticker(ticker(105, 5))) == [105, "resync"]
    feed.receive_diff(diff(111, 115), 0)
    assert shown(feed.receive_snapshot(snapshot(110, 5))) == [(106, 110, "crossed"), 115]


def test_ids_that_restart_behind_a_book_that_is_held_back_stop_nothing():
    """A replay knows no ticks: the book of the old numbers leaves before the new ones begin."""
    feed = feed_at(1000)
    feed.receive_diff(diff(1001, 1005, 5, time=START), 0)
    feed.expect_loss("disconnect")
    feed.receive_ticker(ticker(1006, 5))
    feed.receive_diff(diff(1006, 1010, 6, time=START), 0)
    outputs = []
    for n in range(1, RESET_AFTER + 1):
        outputs += feed.receive_diff(diff(n, n, time=START + 1 + n * 100_000), 0)
    outputs += feed.receive_snapshot(snapshot(RESET_AFTER - 1))
    outputs += feed.tick(1.0) + feed.tick(2.0)
    outputs += feed.receive_diff(diff(RESET_AFTER + 1, RESET_AFTER + 5, time=START + 10**7), 0)
    assert shown(outputs) == [
        SnapshotRequest("BTCUSDT", 1), 1010, "resync", "id_reset", (1011, 19, "id_reset"), 20, 25,
    ]  # fmt: skip


# Books that were made of what waited


def test_every_book_that_waited_for_its_snapshot_is_audited_with_the_tickers_that_came_meanwhile():
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    feed.receive_ticker(ticker(100, 1))
    for n in range(101, 152):
        feed.receive_diff(diff(n, n, n), 0)
        feed.receive_ticker(ticker(n, n))
    outputs = feed.receive_snapshot(snapshot(100))
    assert shown(outputs) == list(range(101, 152))
    assert (feed.audit.matches, feed.audit.mismatches) == (51, 0)


def test_a_book_that_waited_and_is_wrong_never_leaves():
    """The seam of snapshot and diffs is where books go wrong."""
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    for n in range(101, 110):
        feed.receive_diff(diff(n, n, n if n < 105 else None), 0)
        feed.receive_ticker(ticker(n, n))
    assert shown(feed.receive_snapshot(snapshot(100))) == [101, 102, 103, 104, "contradiction", "resync"]


def test_a_snapshot_that_was_awaited_for_long_in_a_busy_market_raises_no_alarm():
    """More tickers came than are kept."""
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    for n in range(101, 5101):
        if n % 50 == 0:
            feed.receive_diff(diff(n - 49, n, n), 0)
        feed.receive_ticker(ticker(n, n))
    outputs = feed.receive_snapshot(snapshot(100))
    assert shown(outputs) == list(range(150, 5101, 50))
    assert feed.audit.mismatches == 0
    assert feed.audit.matches >= 20


def test_tickers_are_kept_for_as_long_as_the_diffs_that_wait():
    """An outage of REST for an hour: the diffs of a minute wait, and no more tickers than those need."""
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    for n in range(1, 3601):
        feed.receive_ticker(ticker(n, n))
        feed.receive_diff(diff(n, n, n, time=START + 1_000_000 * n), 0)
    assert 60 <= len(feed.audit) <= 62
    outputs = feed.receive_snapshot(snapshot(3541, 3541))
    assert len(shown(outputs)) == feed.audit.matches == 59


# What a proven top is good for


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_a_top_beyond_the_reach_is_known_where_the_ticker_confirms_it(is_confirmed):
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    feed.receive_diff(diff(101, 105), 0)
    feed.receive_snapshot(snapshot(100, complete=False))
    if is_confirmed:
        feed.receive_ticker(Ticker("BTCUSDT", 110, b"", lambda _: Top(["90.0", "2.0"], ["101.0", "1.0"])))
    fallen = diff(106, 110, bids=[("100.0", "0"), ("99.0", "0"), ("90.0", "2.0")])
    book = feed.receive_diff(fallen, 0)[-1]
    assert book.bids == [["90.0", "2.0"]]
    assert (book.floor, book.ceiling) == ("90.0" if is_confirmed else "99.0", "101.0")


def test_a_top_beyond_the_reach_that_the_ticker_betters_is_not_known_and_costs_no_book():
    """There was a bid at 98 beyond the snapshot, which no diff has told of: nothing is wrong, the top is not known."""
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    feed.receive_diff(diff(101, 105), 0)
    feed.receive_snapshot(snapshot(100, complete=False))
    feed.receive_ticker(Ticker("BTCUSDT", 110, b"", lambda _: Top(["98.0", "5.0"], ["101.0", "1.0"])))
    fallen = diff(106, 110, bids=[("100.0", "0"), ("99.0", "0"), ("90.0", "2.0")])
    request, book = feed.receive_diff(fallen, 0)
    assert (book.bids, book.floor, book.ceiling) == ([["90.0", "2.0"]], "99.0", "101.0")
    assert request == SnapshotRequest("BTCUSDT", 1, background=True)
    assert shown(feed.receive_diff(diff(111, 115), 0)) == [115], "nothing is waited for"
    assert (feed.in_sync, feed.sync.resyncs) == (True, {})
    [audit] = feed.take_audits(at_end=True)
    assert (audit.tops, audit.wrong) == (0, 0)


# Tickers that are missing or unreadable


def test_tickers_missed_while_no_stream_was_connected_raise_no_alarm():
    """No diff is missing, because the first one covers the whole window, but the tickers within it are."""
    feed = feed_at(100)
    feed.expect_loss("disconnect")
    assert shown(feed.receive_diff(diff(101, 120, 7), 0)) == [120]
    feed.receive_ticker(ticker(125, 8))
    assert shown(feed.receive_diff(diff(121, 124, 7), 0)) == [124]
    assert shown(feed.receive_diff(diff(125, 130, 8), 0)) == [130]
    assert (feed.audit.matches, feed.audit.mismatches) == (2, 0)


def test_an_unreadable_ticker_is_told_and_the_audit_begins_anew():
    def read(_frame):
        raise InvalidMarketData("no number: NaN")

    feed = feed_at(100)
    feed.receive_ticker(Ticker("BTCUSDT", 105, b"", read))
    outputs = feed.receive_diff(diff(101, 105, 5), 0)
    assert shown(outputs) == ["unreadable_ticker", 105]
    assert outputs[0].detail == "no number: NaN"
    assert shown(feed.receive_diff(diff(106, 110, 6), 0)) == [110]
    feed.receive_ticker(ticker(115, 7))
    assert shown(feed.receive_diff(diff(111, 115, 7), 0)) == [115]
    assert (feed.audit.matches, feed.audit.mismatches) == (2, 0)


def live(feed, seconds, *, since, first, with_books=True):
    """Let seconds pass with a book in each, and return the facts that were told."""
    told = []
    for n in range(seconds):
        if with_books:
            feed.receive_diff(diff(first + n, first + n), 0)
        told += [(since + n, fact.kind) for fact in feed.tick(since + n)]
    return told


def test_a_minute_of_books_with_nothing_to_compare_them_with_is_told_and_its_end_too():
    feed = Feed("binance", "BTCUSDT", "one", levels=20, is_alone=True)
    feed.receive_diff(diff(101, 101), 0)
    feed.receive_snapshot(snapshot(100))
    assert live(feed, 130, since=1000.0, first=102) == [(1000.0 + UNAUDITED_SECONDS, "unaudited")]
    assert feed.is_unaudited
    feed.receive_ticker(ticker(231, 1))
    assert live(feed, 3, since=1130.0, first=232) == [(1130.0, "audited")]
    assert not feed.is_unaudited
    feed.expect_loss("disconnect")
    assert live(feed, 70, since=1133.0, first=235) == [(1132.0 + UNAUDITED_SECONDS, "unaudited")]


def test_a_market_without_books_has_nothing_to_compare():
    feed = feed_at(100)
    assert live(feed, 300, since=0.0, first=101, with_books=False) == []
    feed.expect_loss("disconnect")
    assert live(feed, int(UNAUDITED_SECONDS) - 1, since=300.0, first=101) == []


def test_a_feed_knows_the_instance_and_the_run_before():
    feed = Feed("venue", "BTCUSDT", "two", levels=20, confirmed=Confirmed(90, START), is_alone=True)
    feed.receive_diff(diff(101, 105), 5)
    gap, book = feed.receive_snapshot(snapshot(100))
    assert (gap.venue, gap.symbol, gap.from_time, gap.reason) == ("venue", "BTCUSDT", START, "restart")
    assert (book.venue, book.symbol, book.crawler, book.received_time) == ("venue", "BTCUSDT", "two", 5)
    assert feed.books == 1


def test_a_feed_that_may_have_had_a_run_before_of_which_nothing_is_known_says_where_it_starts():
    feed = Feed("venue", "BTCUSDT", "two", levels=20, is_alone=True, tells_start=True)
    feed.receive_diff(diff(101, 105), 5)
    start, book = feed.receive_snapshot(snapshot(100))
    assert start == Start("venue", "BTCUSDT", 101, 105, book.event_time, "two")
    assert shown(feed.receive_diff(diff(106, 110), 0)) == [110], "once"
    feed = Feed("venue", "BTCUSDT", "two", levels=20, is_alone=True, tells_start=True, confirmed=Confirmed(90, START))
    feed.receive_diff(diff(101, 105), 5)
    assert shown(feed.receive_snapshot(snapshot(100))) == [(91, 100, "restart"), 105]


def test_what_a_venue_sends_as_proof_is_asked_for_after_each_diff():
    seen = []

    def verify(book, each):
        seen.append((each.proof, book.best()[0][0]))
        return each.proof != 13

    feed = Feed("venue", "BTCUSDT", "one", levels=1, verify=verify, is_alone=True)
    feed.receive_snapshot(snapshot(100))
    assert shown(feed.receive_diff(diff(101, 105, 5)._replace(proof=7), 0)) == [105]
    assert shown(feed.receive_diff(diff(106, 110, 6)._replace(proof=13), 0)) == ["resync"]
    assert seen == [(7, ["100.0", "5.0"]), (13, ["100.0", "6.0"])]
    assert shown(feed.end()) == [(106, 110, "proof")]


# Recordings


def recorded(path):
    """Read the events of a recording, with the numbers that it holds and nothing of the crawler's decoder."""
    with gzip.open(path) as lines:
        for line in lines:
            body = line.partition(b" ")[2]
            frame = orjson.loads(body)
            if "lastUpdateId" in frame:
                yield Snapshot("BTCUSDT", frame["lastUpdateId"], frame["bids"], frame["asks"], False, False)
                continue
            data, kind = frame["data"], frame["stream"].split("@")[1]
            if kind == "depth":
                first = data["pu"] + 1 if "pu" in data else data["U"]
                yield Diff("BTCUSDT", first, data["u"], data["E"] * 1000, data["b"], data["a"])
            elif kind == "bookTicker":
                yield Ticker("BTCUSDT", data["u"], body, read_top)


def read_top(body):
    data = orjson.loads(body)["data"]
    return Top([data["b"], data["B"]], [data["a"], data["A"]])


def test_a_recording_gives_all_its_books_each_proven_by_its_ticker(recording):
    feed = Feed("venue", "BTCUSDT", "one", levels=20, refreshes=False)
    outputs, tickers = [], {}
    for event in recorded(recording.path):
        if isinstance(event, Snapshot):
            reach = float(event.bids[-1][0]), float(event.asks[-1][0])
            outputs += feed.receive_snapshot(event)
        elif isinstance(event, Diff):
            outputs += feed.receive_diff(event, 0)
        else:
            tickers[event.update_id] = event.top()
            outputs += feed.receive_ticker(event)
    outputs += feed.end()
    published = [output for output in outputs if isinstance(output, Book)]
    assert [output for output in outputs if not isinstance(output, Book)] == [SnapshotRequest("BTCUSDT", 0)]
    assert len(published) == recording.books == feed.audit.matches
    assert all(later.first_update_id == book.update_id + 1 for book, later in pairwise(published))
    ids = sorted(tickers)
    position, within = 0, 0
    for book in published:
        while position + 1 < len(ids) and ids[position + 1] <= book.update_id:
            position += 1
        (bid, _), (ask, _) = book.bids[0], book.asks[0]
        assert Top(book.bids[0], book.asks[0]) == tickers[ids[position]]
        assert float(book.floor) <= float(bid)
        assert float(ask) <= float(book.ceiling)
        within += reach[0] <= float(bid) and float(ask) <= reach[1]
    assert within == recording.inside


# Quotes: the published book with the newest ticker in it


def quoted(feed, update_id, size=9):
    """The id of the book and the best bid's size in the quote of this ticker, None where there is none."""
    quote = feed.quote(ticker(update_id, size), 77)
    return quote and (quote.update_id, quote.ticker_id, quote.bids[0][1])


def test_a_ticker_beyond_the_published_book_makes_a_quote_of_it():
    assert quoted(feed_at(100), 103) == (100, 103, "9.0")


def test_a_ticker_that_the_book_knows_already_makes_none():
    feed = feed_at(100)
    assert quoted(feed, 99) is None
    assert quoted(feed, 100) is None


def test_a_ticker_makes_a_quote_once_by_whatever_connections_it_comes_and_in_whatever_order():
    feed = feed_at(100)
    assert quoted(feed, 103) == (100, 103, "9.0")
    assert quoted(feed, 103) is None
    assert quoted(feed, 102) is None
    assert quoted(feed, 104) == (100, 104, "9.0")


def test_while_a_book_is_held_back_there_is_no_quote_of_the_one_before():
    feed = feed_at(100)
    feed.receive_diff(diff(101, 105, 5), 0)
    assert quoted(feed, 107) is None
    feed.receive_ticker(ticker(105, 5))
    assert quoted(feed, 107) == (105, 107, "9.0")


def test_out_of_sync_there_is_no_quote():
    feed = feed_at(100)
    feed.receive_diff(diff(111, 115), 0)
    assert not feed.in_sync
    assert quoted(feed, 120) is None


def test_a_new_snapshot_makes_no_quote_before_a_book_of_it_is_published():
    feed = feed_at(100)
    feed.receive_diff(diff(111, 115), 0)
    feed.receive_snapshot(snapshot(115))
    assert feed.in_sync
    assert quoted(feed, 120) is None
    feed.receive_diff(diff(116, 121), 0)
    assert quoted(feed, 123) == (121, 123, "9.0")


def test_before_the_first_book_there_is_no_quote():
    assert quoted(Feed("binance", "BTCUSDT", "one", levels=20), 120) is None


def test_a_book_that_is_not_published_is_not_quoted_either():
    feed = Feed("binance", "BTCUSDT", "one", levels=20, confirmed=Confirmed(100, START + 100_000), is_alone=True)
    feed.receive_diff(diff(96, 100), 0)
    feed.receive_snapshot(snapshot(95))
    assert feed.in_sync
    assert not feed.books
    assert quoted(feed, 103) is None


def test_an_unreadable_ticker_makes_no_quote():
    def unreadable(_frame):
        raise InvalidMarketData("no bookTicker")

    assert feed_at(100).quote(Ticker("BTCUSDT", 103, b"", unreadable), 77) is None


def test_when_the_exchange_begins_its_ids_anew_so_do_quotes():
    feed = feed_at(1000)
    assert quoted(feed, 1003) == (1000, 1003, "9.0")
    feed.expect_loss("disconnect")
    for n in range(1, RESET_AFTER + 1):
        feed.receive_diff(diff(n, n, time=START + 10**7 + n * 100_000), 0)
    feed.receive_snapshot(snapshot(RESET_AFTER - 1))
    assert quoted(feed, RESET_AFTER + 3) == (RESET_AFTER, RESET_AFTER + 3, "9.0")
