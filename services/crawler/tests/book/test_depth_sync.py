"""The rules of synchronisation, case by case, and against a small exchange of its own that does everything at once."""

from random import Random

import pytest
from tables import each_row

from crawler.book.depth_sync import LAG_TIME, STEADY_TIME
from crawler.book.feed import Feed
from crawler.book.id_reset import RESET_AFTER, RESET_TIME
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.publication import Confirmed
from crawler.book.refresh import REFRESH_PAUSE, URGENT_PAUSE
from crawler.book.steps import Fact, SnapshotRequest
from fairprice.messages import Book, Gap

WINDOW = 100_000
START = 1_789_000_000_000_000


def diff(first, last, bids=(), asks=(), *, time=None):
    """A diff whose event time is made from its last id unless given."""
    event_time = START + last * 1000 if time is None else time
    return Diff("BTCUSDT", first, last, event_time, [list(level) for level in bids], [list(level) for level in asks])


def snapshot(update_id, bids=(("100.0", "1"),), asks=(("101.0", "1"),), *, complete=True):
    sides = [[list(level) for level in side] for side in (bids, asks)]
    return Snapshot("BTCUSDT", update_id, *sides, complete, complete)


def new_feed(**options):
    return Feed("binance", "BTCUSDT", "one", levels=options.pop("levels", 20), is_alone=True, **options)


def events(outputs):
    """What came out, without the facts, requests last."""
    return sorted(
        (output for output in outputs if not isinstance(output, Fact)),
        key=lambda output: isinstance(output, SnapshotRequest),
    )


def facts(outputs):
    told = [output for output in outputs if isinstance(output, Fact)]
    assert {fact.symbol for fact in told} <= {"BTCUSDT"}
    return [(fact.kind, fact.detail) for fact in told]


def give_all(feed, *diffs):
    """Give diffs, received 7 us after they were made, and return all that came out."""
    return [output for each in diffs for output in feed.receive_diff(each, each.event_time + 7)]


def give(feed, *diffs):
    """Give diffs and return what came out, without the facts."""
    return events(give_all(feed, *diffs))


def answer(feed, snapshot):
    """Give a snapshot and return what came out, without the facts."""
    return events(feed.receive_snapshot(snapshot))


def lose(feed, reason):
    """Let the book be given up, as a crossed or a contradicted one is."""
    return events(feed._go_on(feed.sync.lose(reason)))


def feed_at(update_id, **options):
    """A feed that has published one book, up to this id."""
    feed = new_feed(**options)
    assert give(feed, diff(update_id - 4, update_id)) == [SnapshotRequest("BTCUSDT", 0)]
    [book] = answer(feed, snapshot(update_id - 5))
    assert (book.first_update_id, book.update_id) == (update_id - 4, update_id)
    return feed


def ranges(outputs):
    """What the outputs cover: first id, last id, and what it is."""
    return [
        (output.first_update_id, output.update_id, "book")
        if isinstance(output, Book)
        else (output.from_update_id, output.to_update_id, output.reason)
        for output in outputs
        if isinstance(output, Book | Gap)
    ]


# The way into sync


def test_nothing_is_known_nor_asked_before_the_first_diff():
    feed = new_feed()
    assert not feed.in_sync
    assert feed.sync.update_id == 0
    assert feed.tick(0.0) == []
    assert feed.end() == []


def test_a_snapshot_that_comes_by_itself_before_any_diff_is_the_book_and_nothing_is_asked():
    """Some venues send it in the stream."""
    feed = new_feed()
    assert feed.receive_snapshot(snapshot(100)) == []
    assert (feed.in_sync, feed.sync.update_id, feed.books) == (True, 100, 0)
    assert ranges(give_all(feed, diff(101, 105), diff(106, 110))) == [(101, 105, "book"), (106, 110, "book")]


def test_a_snapshot_that_comes_by_itself_may_be_followed_by_what_it_holds_already():
    feed = new_feed()
    feed.receive_snapshot(snapshot(100))
    [book] = give_all(feed, diff(90, 95), diff(96, 100), diff(99, 105))
    assert (book.first_update_id, book.update_id) == (99, 105)


def test_a_snapshot_is_asked_for_once_while_diffs_are_buffered():
    assert give(new_feed(), diff(1, 2), diff(3, 4), diff(5, 6)) == [SnapshotRequest("BTCUSDT", 0)]


def test_buffered_diffs_are_replayed_on_the_snapshot_with_the_times_they_were_received():
    feed = new_feed()
    give(feed, diff(101, 105, bids=[("100.0", "2")]), diff(106, 110, asks=[("101.0", "0"), ("102.0", "4")]))
    first, second = answer(feed, snapshot(100))
    assert (first.bids, first.asks) == ([["100.0", "2"]], [["101.0", "1"]])
    assert (second.bids, second.asks) == ([["100.0", "2"]], [["102.0", "4"]])
    assert [(book.event_time, book.received_time) for book in (first, second)] == [
        (START + 105_000, START + 105_007),
        (START + 110_000, START + 110_007),
    ]
    assert (first.previous_event_time, second.previous_event_time) == (None, first.event_time)
    assert (first.venue, first.symbol, first.crawler) == ("binance", "BTCUSDT", "one")
    assert (feed.in_sync, feed.sync.update_id, feed.books) == (True, 110, 2)


BUFFER = (diff(101, 105), diff(106, 110), diff(111, 115))


@each_row(
    ("case", "snapshot_id", "published"),
    [
        ("S = F - 1", 100, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")]),
        ("S = F", 101, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")]),
        ("inside the first", 103, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")]),
        ("one before its end", 104, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")]),
        ("S = u, so the next has U = S + 1", 105, [(106, 110, "book"), (111, 115, "book")]),
        ("S = U of the second", 106, [(106, 110, "book"), (111, 115, "book")]),
        ("inside the last", 113, [(111, 115, "book")]),
        ("S = u of the last", 115, []),
        ("newer than the whole buffer", 120, []),
    ],
)
def test_a_usable_snapshot_brings_sync_at_every_boundary(case, snapshot_id, published):
    feed = new_feed()
    give(feed, *BUFFER)
    assert ranges(answer(feed, snapshot(snapshot_id))) == published
    assert feed.in_sync
    assert feed.sync.update_id == max(snapshot_id, published[-1][1] if published else 0)
    follow = diff(feed.sync.update_id + 1, feed.sync.update_id + 5)
    assert ranges(give(feed, follow)) == [(follow.first_update_id, follow.update_id, "book")]


def test_after_a_snapshot_newer_than_the_buffer_the_diffs_up_to_it_are_ignored_and_one_across_it_is_applied():
    feed = new_feed()
    give(feed, *BUFFER)
    answer(feed, snapshot(123))
    assert give(feed, diff(116, 120)) == []
    assert ranges(give(feed, diff(121, 125), diff(126, 130))) == [(121, 125, "book"), (126, 130, "book")]


@pytest.mark.parametrize("snapshot_id", [0, 50, 99])
def test_a_snapshot_older_than_the_buffer_is_asked_for_again_and_the_buffer_kept(snapshot_id):
    feed = new_feed()
    give(feed, *BUFFER)
    assert answer(feed, snapshot(snapshot_id)) == [SnapshotRequest("BTCUSDT", 1)]
    assert answer(feed, snapshot(snapshot_id)) == [SnapshotRequest("BTCUSDT", 2)]
    assert give(feed, diff(116, 120)) == []
    assert ranges(answer(feed, snapshot(100))) == [
        (101, 105, "book"), (106, 110, "book"), (111, 115, "book"), (116, 120, "book"),
    ]  # fmt: skip
    assert feed.sync.counts["snapshot_too_old"] == 2
    lose(feed, "audit")
    assert give(feed, diff(121, 125)) == [SnapshotRequest("BTCUSDT", 3)], "a book of a moment is no success"


def test_a_hole_while_buffering_throws_away_what_is_before_it():
    feed = new_feed()
    give(feed, diff(101, 105), diff(111, 115))
    assert answer(feed, snapshot(108)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(110))) == [(111, 115, "book")]


def test_what_was_buffered_before_may_come_again_without_harm():
    feed = new_feed()
    give(feed, diff(101, 105), diff(101, 105), diff(98, 100), diff(103, 108), diff(101, 105))
    assert (feed.sync.counts["stale"], feed.sync.counts["out_of_order"]) == (2, 1)
    assert ranges(answer(feed, snapshot(100))) == [(101, 105, "book"), (106, 108, "book")]
    assert feed.sync.counts["overlap"] == 1


def test_the_buffer_is_bounded_by_number_and_forgets_the_oldest():
    feed = new_feed(buffer_diffs=3)
    give(feed, *(diff(first, first) for first in range(101, 111)))
    assert feed.sync.counts["expired"] == 7
    assert answer(feed, snapshot(106)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(107))) == [(108, 108, "book"), (109, 109, "book"), (110, 110, "book")]


@pytest.mark.parametrize("seconds", [1, 60])
def test_the_buffer_is_bounded_by_the_exchange_s_time(seconds):
    """No snapshot is older than a minute: what is, is of no use."""
    feed = new_feed(buffer_seconds=float(seconds))
    last = START + seconds * 1_000_000
    give(feed, diff(101, 101, time=START - 1), diff(102, 102, time=START), diff(103, 103, time=last))
    assert feed.sync.counts["expired"] == 1
    assert ranges(answer(feed, snapshot(101))) == [(102, 102, "book"), (103, 103, "book")]


def test_an_outage_of_rest_under_load_keeps_a_minute_of_diffs_not_all_of_them():
    """Ten diffs a second, a snapshot awaited for ten minutes: to synchronise, then to refresh."""
    feed = new_feed(levels=3)
    give(feed, *(diff(n, n, time=START + n * WINDOW) for n in range(1, 6_000)))
    assert len(feed.sync._waiting) == 601
    answer(feed, deep(5_999))
    [_, request] = give(feed, diff(6_000, 6_000, bids=removals(range(100, 88, -1)), time=START + 6_000 * WINDOW))
    assert isinstance(request, SnapshotRequest)
    assert len(give(feed, *(diff(n, n, time=START + n * WINDOW) for n in range(6_001, 12_000)))) == 5_999
    assert len(feed.sync._refresh._since_request) == 601


def test_a_hole_within_the_buffered_diffs_never_makes_a_book():
    """The second buffered diff does not continue the first: what follows the hole waits."""
    feed = new_feed()
    give(feed, diff(101, 101), diff(103, 103))
    assert ranges(answer(feed, snapshot(100))) == [(101, 101, "book")]
    assert not feed.in_sync


# A stream that lags behind REST


def lagging(seconds, *, count=600):
    """Diffs a tenth of a second apart, and a snapshot that is ahead of the first by so many seconds."""
    diffs = [diff(101 + n, 101 + n, time=START + n * WINDOW) for n in range(count)]
    return diffs, snapshot(101 + round(seconds * 10))


@pytest.mark.parametrize("seconds", [1.3, 5.0, 45.0])
def test_a_stream_that_lags_is_waited_for_and_told_once_and_nothing_is_asked_again(seconds):
    diffs, ahead = lagging(seconds)
    feed = new_feed()
    assert give(feed, diffs[0]) == [SnapshotRequest("BTCUSDT", 0)]
    assert feed.receive_snapshot(ahead) == []
    outputs = give_all(feed, *diffs[1:])
    assert [kind for kind, _ in facts(outputs)] == ["behind"]
    assert facts(outputs) == [("behind", f"{round(seconds * 10) - 11} ids")], "said after a second"
    books = events(outputs)
    assert len(books) == len(diffs) - 1 - round(seconds * 10)
    assert books[0].first_update_id == ahead.update_id + 1
    assert (feed.sync.resyncs, feed.sync.counts["stale"]) == ({}, 0)


def test_a_snapshot_that_is_ahead_by_less_than_a_second_is_not_worth_a_word():
    diffs, ahead = lagging(LAG_TIME / 1_000_000 + 0.1)
    feed = new_feed()
    give(feed, diffs[0])
    feed.receive_snapshot(ahead)
    outputs = give_all(feed, *diffs[1:])
    assert facts(outputs) == [("behind", "0 ids")]
    diffs, ahead = lagging(LAG_TIME / 1_000_000)
    feed = new_feed()
    give(feed, diffs[0])
    feed.receive_snapshot(ahead)
    assert facts(give_all(feed, *diffs[1:])) == []


def test_a_thin_symbol_whose_next_diff_the_snapshot_holds_does_not_lag():
    feed = new_feed()
    give(feed, diff(101, 101, time=START))
    feed.receive_snapshot(snapshot(102))
    assert give(feed, diff(102, 102, time=START + 60_000_000)) == []


def test_each_synchronisation_on_a_stream_that_lags_is_told():
    diffs, ahead = lagging(5.0)
    feed = new_feed()
    give(feed, diffs[0])
    feed.receive_snapshot(ahead)
    assert len(facts(give_all(feed, *diffs[1:100]))) == 1
    lose(feed, "audit")
    give(feed, diffs[100])
    feed.receive_snapshot(snapshot(101 + 150))
    assert len(facts(give_all(feed, *diffs[101:]))) == 1


# Snapshots that lead to no sound book


@pytest.mark.parametrize(("bids", "asks", "why"), [((), (), "empty"), ((("1.0", "1"),), (), "one_sided"),
                                                   ((), (("1.0", "1"),), "one_sided")])  # fmt: skip
def test_a_snapshot_without_a_side_is_refused_and_asked_again(bids, asks, why):
    feed = new_feed()
    give(feed, diff(101, 105))
    outputs = feed.receive_snapshot(snapshot(100, bids, asks))
    assert facts(outputs) == [("snapshot_refused", why)]
    assert events(outputs) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(100))) == [(101, 105, "book")]
    assert events(feed.receive_snapshot(snapshot(105, bids, asks))) == []
    assert feed.in_sync


def attempts_of(feed, number, *, lived):
    """Cross the book again and again after it has lived for so many microseconds; return the attempts asked with."""
    attempts, last, time = [], 101, START
    for _ in range(number):
        [request] = give(feed, diff(last, last, time=time))
        attempts.append(request.attempt)
        answer(feed, snapshot(last - 1))
        time += lived
        give(feed, diff(last + 1, last + 1, time=time), diff(last + 2, last + 2, bids=[("200.0", "1")], time=time))
        last += 3
    return attempts


def test_a_symbol_that_contradicts_itself_is_asked_for_with_ever_higher_attempts():
    assert attempts_of(new_feed(), 5, lived=STEADY_TIME - 1) == [0, 1, 2, 3, 4]


def test_a_book_that_has_lived_for_long_enough_begins_the_count_anew():
    assert attempts_of(new_feed(), 3, lived=STEADY_TIME) == [0, 0, 0]


# In sync


def test_a_contiguous_diff_makes_a_book_and_is_no_hole():
    feed = feed_at(100)
    [book] = give_all(feed, diff(101, 107, bids=[("100.5", "3")]))
    assert (feed.sync.resyncs, feed.sync.counts["waited"]) == ({}, 1), "only the first one waited, for the snapshot"
    assert (book.first_update_id, book.update_id) == (101, 107)
    assert book.bids == [["100.5", "3"], ["100.0", "1"]]


def test_a_diff_without_levels_makes_a_book_all_the_same():
    feed = feed_at(100)
    assert ranges(give(feed, diff(101, 101))) == [(101, 101, "book")]


@pytest.mark.parametrize("first", [80, 99, 100])
def test_an_overlap_is_applied_and_only_its_new_ids_are_claimed(first):
    feed = feed_at(100)
    [book] = give(feed, diff(first, 110, bids=[("100.0", "9")]))
    assert (book.first_update_id, book.update_id, book.bids) == (101, 110, [["100.0", "9"]])
    assert feed.sync.counts["overlap"] == 1


@pytest.mark.parametrize(("first", "last"), [(96, 100), (100, 100), (90, 99), (1, 2)])
def test_a_duplicate_or_older_diff_is_ignored_and_counted(first, last):
    feed = feed_at(100)
    assert give(feed, diff(first, last, bids=[("100.0", "0")])) == []
    assert feed.sync.counts["stale"] == 1
    [book] = give(feed, diff(101, 102))
    assert book.bids == [["100.0", "1"]]


@pytest.mark.parametrize("first", [102, 120])
def test_a_hole_gives_the_book_up_at_once_and_is_recorded_with_its_ids_and_times(first):
    feed = feed_at(100)
    assert give(feed, diff(first, first + 4)) == [SnapshotRequest("BTCUSDT", 1)]
    assert not feed.in_sync
    gap, book = answer(feed, snapshot(first - 1))
    assert gap == Gap(
        "binance", "BTCUSDT", 101, first - 1, START + 100_000, START + (first + 4) * 1000, "missed_updates"
    )
    assert (book.first_update_id, book.update_id, book.previous_event_time) == (first, first + 4, START + 100_000)
    assert feed.sync.resyncs == {"missed_updates": 1}


def test_the_gap_reaches_to_where_the_books_begin_again_not_to_where_diffs_did():
    feed = feed_at(100)
    give(feed, diff(106, 110), diff(111, 115))
    assert ranges(answer(feed, snapshot(112))) == [(101, 110, "missed_updates"), (111, 115, "book")]


def test_what_a_snapshot_newer_than_the_buffer_skips_is_part_of_the_gap():
    feed = feed_at(100)
    give(feed, diff(106, 110))
    assert answer(feed, snapshot(200)) == []
    assert ranges(give(feed, diff(201, 205))) == [(101, 200, "missed_updates"), (201, 205, "book")]


def test_a_gap_right_after_the_seam_is_found_too():
    feed = new_feed()
    give(feed, diff(101, 105))
    answer(feed, snapshot(105))
    assert give(feed, diff(107, 110)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(108))) == [(107, 110, "book")], "nothing was published before"


def test_a_first_diff_beyond_the_snapshot_is_not_applied():
    """First diff 103, snapshot 100: 101 and 102 are missing."""
    feed = new_feed()
    give(feed, diff(103, 103))
    assert answer(feed, snapshot(100)) == [SnapshotRequest("BTCUSDT", 1)]
    assert not feed.in_sync


@pytest.mark.parametrize(
    ("first", "last", "published"),
    [(100, 110, True), (102, 110, False), (101, 110, True), (120, 130, False), (90, 100, False)],
)
def test_the_examples_of_other_projects_for_a_book_at_100(first, last, published):
    feed = feed_at(100)
    assert any(isinstance(output, Book) for output in give(feed, diff(first, last))) is published


def test_levels_are_removed_replaced_inserted_and_absent_ones_ignored():
    feed = feed_at(100)
    changes = [("100.0", "0.0"), ("99.0", "5"), ("42.0", "0")]
    [book] = give(feed, diff(101, 104, bids=changes, asks=[("101.0", "7"), ("100.9", "1")]))
    assert (book.bids, book.asks) == ([["99.0", "5"]], [["100.9", "1"], ["101.0", "7"]])


# What comes late


def test_two_swapped_diffs_are_put_right():
    feed = feed_at(100)
    late = diff(101, 105, bids=[("100.0", "77")])
    assert facts(give_all(feed, diff(106, 110, bids=[("99.5", "3")]))) == [("hole", "101 to 105")]
    assert not feed.in_sync
    first, second = give_all(feed, late)
    assert ranges([first, second]) == [(101, 105, "book"), (106, 110, "book")]
    assert (first.bids, second.bids) == ([["100.0", "77"]], [["100.0", "77"], ["99.5", "3"]])
    assert second.previous_event_time == first.event_time
    assert first.previous_event_time == START + 100_000, "no synchronisation was needed"
    assert (feed.in_sync, feed.sync.counts["out_of_order"]) == (True, 1)
    assert feed.end() == []


def test_the_snapshot_that_was_asked_for_at_a_hole_that_filled_is_a_refresh():
    feed = feed_at(100)
    assert give(feed, diff(106, 110)) == [SnapshotRequest("BTCUSDT", 1)]
    give(feed, diff(101, 105), diff(111, 115))
    assert answer(feed, snapshot(103)) == []
    assert feed.sync.refreshes == {"taken": 1}
    assert ranges(give(feed, diff(116, 120))) == [(116, 120, "book")]


def test_a_hole_may_be_filled_in_any_order():
    feed = feed_at(100)
    assert ranges(give(feed, diff(116, 120), diff(106, 110), diff(111, 115))) == []
    assert ranges(give(feed, diff(101, 105))) == [(n, n + 4, "book") for n in (101, 106, 111, 116)]


def test_a_hole_may_be_filled_by_what_was_cut_in_another_way():
    feed = feed_at(100)
    give(feed, diff(106, 110, bids=[("100.0", "6")]), diff(111, 115))
    late = diff(99, 108, bids=[("100.0", "5")])
    first, *others = give(feed, late)
    assert (first.first_update_id, first.update_id, first.bids) == (101, 108, [["100.0", "5"]])
    assert ranges(others) == [(109, 110, "book"), (111, 115, "book")]
    assert others[0].bids == [["100.0", "6"]]


def test_a_hole_may_be_filled_by_one_that_ends_where_another_does():
    feed = feed_at(100)
    give(feed, diff(106, 110))
    assert ranges(give(feed, diff(101, 110))) == [(101, 110, "book")]
    assert feed.in_sync


@pytest.mark.parametrize(("first", "last"), [(106, 110), (107, 109), (90, 100), (111, 112)])
def test_what_is_late_and_fills_nothing_is_ignored(first, last):
    feed = feed_at(100)
    give(feed, diff(106, 110), diff(111, 115))
    assert give(feed, diff(first, last, time=START + 100_000)) == []
    assert (feed.sync.counts["out_of_order"], feed.sync.counts["stale"]) == (0, 1)
    assert ranges(answer(feed, snapshot(105))) == [
        (101, 105, "missed_updates"), (106, 110, "book"), (111, 115, "book"),
    ]  # fmt: skip


def test_what_fills_one_hole_of_two_is_published_and_the_snapshot_still_needed():
    feed = feed_at(100)
    give(feed, diff(106, 110), diff(116, 120))
    assert ranges(give(feed, diff(101, 105))) == [(101, 105, "book"), (106, 110, "book")]
    assert not feed.in_sync
    assert ranges(answer(feed, snapshot(115))) == [(111, 115, "missed_updates"), (116, 120, "book")]


def test_a_late_diff_that_crosses_gives_up_the_book_that_was_kept():
    feed = feed_at(100)
    give(feed, diff(106, 110))
    assert give(feed, diff(101, 105, bids=[("102.0", "1")])) == []
    assert feed.sync.resyncs == {"missed_updates": 1, "crossed": 1}
    assert ranges(answer(feed, snapshot(105))) == [(101, 105, "missed_updates"), (106, 110, "book")]


# Books that cannot be


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([("101.0", "1")], []), ([("101.5", "1")], []), ([], [("100.0", "1")]), ([], [("99.0", "1")])],
    ids=["locked by a bid", "crossed by a bid", "locked by an ask", "crossed by an ask"],
)
def test_a_crossed_or_locked_book_is_never_published(bids, asks):
    feed = feed_at(100)
    assert give(feed, diff(101, 105, bids, asks)) == []
    assert not feed.in_sync
    assert give(feed, diff(106, 110)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(107))) == [(101, 105, "crossed"), (106, 110, "book")]
    assert feed.sync.resyncs == {"crossed": 1}


def test_prices_are_compared_as_numbers_not_as_texts_when_a_book_is_called_crossed():
    feed = feed_at(100)
    assert ranges(give(feed, diff(101, 101, bids=[("100.0", "0"), ("99.5", "1")]))) == [(101, 101, "book")]


def test_a_diff_that_crosses_while_it_is_replayed_asks_for_another_snapshot():
    feed = feed_at(100)
    give(feed, diff(106, 110), diff(111, 115, bids=[("102.0", "1")]), diff(116, 120))
    outputs = answer(feed, snapshot(105))
    assert ranges(outputs) == [(101, 105, "missed_updates"), (106, 110, "book")]
    assert outputs[-1] == SnapshotRequest("BTCUSDT", 2)
    assert ranges(answer(feed, snapshot(115))) == [(111, 115, "crossed"), (116, 120, "book")]


def test_one_side_or_none_is_a_book_too():
    feed = feed_at(100)
    one, none, both = give(
        feed, diff(101, 101, bids=[("100.0", "0")]), diff(102, 102, asks=[("101.0", "0")]),
        diff(103, 103, [("5.0", "1")], [("6.0", "2")]),
    )  # fmt: skip
    assert (one.bids, one.asks) == ([], [["101.0", "1"]])
    assert (none.bids, none.asks) == ([], [])
    assert (both.bids, both.asks) == ([["5.0", "1"]], [["6.0", "2"]])


def test_a_book_has_so_many_levels_and_no_more():
    feed = new_feed(levels=2)
    give(feed, diff(101, 105))
    rows = [(f"{price}.0", "1") for price in range(100, 90, -1)]
    [book] = answer(feed, snapshot(100, bids=rows, asks=[("101.0", "1")]))
    assert (book.bids, book.asks) == ([["100.0", "1"], ["99.0", "1"]], [["101.0", "1"]])


# Losing the book


@pytest.mark.parametrize("reason", ["disconnect", "silence", "unreadable_frame"])
def test_a_hole_that_was_foreseen_carries_its_reason(reason):
    feed = feed_at(100)
    feed.expect_loss(reason)
    assert feed.in_sync
    give(feed, diff(111, 115))
    assert ranges(answer(feed, snapshot(110))) == [(101, 110, reason), (111, 115, "book")]
    assert feed.sync.resyncs == {"missed_updates": 1}
    give(feed, diff(121, 125))
    assert ranges(answer(feed, snapshot(120))) == [(116, 120, "missed_updates"), (121, 125, "book")]


def test_of_two_reasons_that_were_foreseen_the_later_one_counts():
    feed = feed_at(100)
    feed.expect_loss("disconnect")
    feed.expect_loss("silence")
    give(feed, diff(111, 115))
    assert ranges(answer(feed, snapshot(110))) == [(101, 110, "silence"), (111, 115, "book")]


def test_a_hole_that_is_there_keeps_its_reason():
    feed = feed_at(100)
    give(feed, diff(111, 115))
    feed.expect_loss("disconnect")
    assert ranges(answer(feed, snapshot(110))) == [(101, 110, "missed_updates"), (111, 115, "book")]


def test_each_loss_is_told_and_counted_with_its_reason():
    feed = feed_at(100)
    for number in (1, 2):
        assert facts(feed.sync.lose("audit")) == [("resync", "audit")]
        assert facts(feed.sync.lose("audit")) == [], "there is no book that could be lost"
        assert feed.sync.resyncs == {"audit": number}
        give(feed, diff(100 + number, 100 + number))
        answer(feed, snapshot(100 + number))
    assert feed.in_sync


def test_a_loss_that_was_foreseen_and_did_not_come_is_forgotten():
    feed = feed_at(100)
    feed.expect_loss("disconnect")
    assert ranges(give(feed, diff(101, 105))) == [(101, 105, "book")]
    give(feed, diff(111, 115))
    assert ranges(answer(feed, snapshot(110))) == [(106, 110, "missed_updates"), (111, 115, "book")]


def test_a_book_that_is_given_up_loses_only_what_its_recovery_skips():
    feed = feed_at(100)
    lose(feed, "audit")
    give(feed, diff(101, 105), diff(106, 110))
    assert ranges(answer(feed, snapshot(100))) == [(101, 105, "book"), (106, 110, "book")]


def test_a_late_snapshot_after_a_loss_is_used_only_if_it_reaches_the_new_buffer():
    """The request was out when the book was lost; its answer belongs to no diff that is still there."""
    feed, _ = near_the_edge()
    lose(feed, "audit")
    assert give(feed, diff(121, 125)) == [SnapshotRequest("BTCUSDT", 1)]
    assert answer(feed, snapshot(104)) == [SnapshotRequest("BTCUSDT", 2)]
    assert ranges(answer(feed, snapshot(122))) == [(111, 120, "audit"), (121, 125, "book")]


def test_a_late_snapshot_after_a_loss_that_what_was_seen_has_overtaken_is_refused():
    """Nothing waits, but the diffs behind this snapshot are gone: it would be a book with a hole before it."""
    feed, _ = near_the_edge()
    lose(feed, "audit")
    assert answer(feed, snapshot(109)) == [SnapshotRequest("BTCUSDT", 2)]
    assert not feed.in_sync
    assert answer(feed, snapshot(110)) == []
    assert ranges(give(feed, diff(111, 115))) == [(111, 115, "book")]


def test_losing_the_book_while_a_background_snapshot_is_out():
    feed, _ = near_the_edge()
    lose(feed, "audit")
    assert give(feed, diff(111, 115)) == [SnapshotRequest("BTCUSDT", 1)], "not in the background any more"
    assert give(feed, diff(116, 120)) == [], "one request at a time"
    assert answer(feed, snapshot(105)) == [SnapshotRequest("BTCUSDT", 2)]
    outputs = answer(feed, snapshot(112))
    assert ranges(outputs)[-2:] == [(111, 115, "book"), (116, 120, "book")]


def test_a_shallow_book_that_is_lost_while_its_deep_snapshot_waits_is_asked_for_again_at_once():
    """Of hundreds of symbols the deep ones take minutes."""
    feed = new_feed(shallow_first=True)
    assert give(feed, diff(101, 105)) == [SnapshotRequest("BTCUSDT", 0, shallow=True)]
    assert answer(feed, snapshot(100))[1:] == [SnapshotRequest("BTCUSDT", 1, background=True)]
    lose(feed, "crossed")
    assert give(feed, diff(106, 110), diff(111, 115)) == [SnapshotRequest("BTCUSDT", 1, shallow=True)]
    assert ranges(answer(feed, snapshot(105))) == [(106, 110, "book"), (111, 115, "book")]
    assert feed.in_sync


def test_a_hole_behind_which_a_deep_snapshot_is_awaited_is_asked_for_again_at_once():
    feed = new_feed(shallow_first=True)
    give(feed, diff(101, 105))
    answer(feed, snapshot(100))
    assert give(feed, diff(111, 115)) == [SnapshotRequest("BTCUSDT", 1, shallow=True)]
    assert ranges(give(feed, diff(106, 110))) == [(106, 110, "book"), (111, 115, "book")], "and it may fill"
    assert answer(feed, snapshot(105)) == []
    assert feed.in_sync


def test_the_reason_of_a_loss_is_the_first_one():
    feed = feed_at(100)
    lose(feed, "crossed")
    lose(feed, "audit")
    give(feed, diff(111, 115))
    assert ranges(answer(feed, snapshot(110))) == [(101, 110, "crossed"), (111, 115, "book")]


def test_what_was_published_before_a_loss_is_not_published_again():
    """A second connection that lags brings once more what the first one brought before the loss."""
    feed = feed_at(100)
    give(feed, diff(101, 105), diff(106, 110))
    lose(feed, "audit")
    give(feed, diff(101, 105), diff(106, 110))
    give(feed, diff(109, 115))
    outputs = answer(feed, snapshot(108))
    assert ranges(outputs) == [(111, 115, "book")]


# Ids that begin anew


def stale(count, *, first_time=START + 200_000, step=WINDOW):
    """Diffs of consecutive ids from 10 on, none above 99."""
    return [diff(10 + n % 90, 10 + n % 90, time=first_time + n * step) for n in range(count)]


def test_ids_that_jump_backwards_for_good_lead_to_a_new_synchronisation():
    feed = feed_at(100)
    outputs = give(feed, *stale(RESET_AFTER))
    assert outputs == [SnapshotRequest("BTCUSDT", 1)]
    assert feed.sync.resyncs == {"id_reset": 1}
    last = 10 + RESET_AFTER
    gap, book = answer(feed, snapshot(last - 2))
    assert gap.reason == "id_reset"
    assert (book.first_update_id, book.update_id) == (last - 1, last - 1)
    assert (gap.from_time, gap.to_time) == (START + 100_000, book.event_time)
    assert ranges(give(feed, diff(last, last + 4, time=book.event_time + 5))) == [(last, last + 4, "book")]


def test_a_few_old_diffs_are_no_reset_however_far_apart():
    feed = feed_at(100)
    assert give(feed, *stale(RESET_AFTER - 1, step=10 * RESET_TIME)) == []
    assert ranges(give(feed, diff(101, 105))) == [(101, 105, "book")]


def test_many_old_diffs_in_a_short_time_are_no_reset():
    feed = feed_at(100)
    assert give(feed, *stale(5 * RESET_AFTER, step=RESET_TIME // (5 * RESET_AFTER))) == []
    assert feed.in_sync


def test_whatever_a_connection_brings_that_lags_far_behind_is_no_reset():
    """It was held up, and brings in one go what another connection brought long ago."""
    feed = feed_at(100)
    times = [START + 101_000 + number * WINDOW for number in range(5 * RESET_AFTER)]
    seen = [diff(101 + number, 101 + number, time=time) for number, time in enumerate(times)]
    give(feed, *seen)
    assert give(feed, *seen) == []
    assert feed.sync.counts["stale"] == len(seen)
    assert ranges(give(feed, diff(201, 205))) == [(201, 205, "book")]


def test_ids_and_times_that_both_restart_are_a_reset_once_the_stream_was_gone():
    """Another exchange at the same address, say: what it sends is no connection that lags, for there was none left."""
    feed = feed_at(100)
    assert give(feed, *stale(2 * RESET_AFTER, first_time=5)) == []
    assert feed.in_sync
    feed.expect_loss("disconnect")
    assert give(feed, *stale(RESET_AFTER, first_time=5)) == [SnapshotRequest("BTCUSDT", 1)]
    assert feed.sync.resyncs == {"id_reset": 1}


def test_old_diffs_of_a_lagging_connection_between_new_ones_are_no_reset():
    feed = feed_at(100)
    for number, old in enumerate(stale(5 * RESET_AFTER)):
        give(feed, old, *([] if number % 10 else [diff(101 + number // 10, 101 + number // 10)]))
    assert feed.in_sync


def test_ids_that_restart_while_a_snapshot_is_awaited():
    feed = new_feed()
    give(feed, diff(1001, 1005, time=START), *stale(RESET_AFTER))
    assert answer(feed, snapshot(10 + RESET_AFTER - 2)) != []
    assert feed.in_sync


def test_a_snapshot_of_the_old_ids_that_comes_after_they_began_anew_is_refused_and_another_one_asked_for():
    """It was asked for before; as a book it would be ahead of every diff to come, and waited for for ever."""
    feed = new_feed()
    give(feed, diff(1001, 1005, time=START), *stale(RESET_AFTER))
    last = 9 + RESET_AFTER
    outputs = feed.receive_snapshot(snapshot(1003))
    assert facts(outputs) == [("snapshot_refused", "of_old_ids")]
    assert events(outputs) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(answer(feed, snapshot(last - 1))) == [(last, last, "book")]


def feed_that_begins_anew():
    """A feed at 1000 whose ids have begun anew and come to 29; it waits for a snapshot."""
    feed = feed_at(1000)
    assert give(feed, *stale(RESET_AFTER, first_time=START + 1_100_000)) == [SnapshotRequest("BTCUSDT", 1)]
    return feed


@pytest.mark.parametrize("late", [999, 1050])
def test_no_snapshot_of_the_old_ids_refreshes_a_book_of_the_new_ones(late):
    feed = feed_that_begins_anew()
    [gap, book] = answer(feed, snapshot(28))
    assert facts(feed.receive_snapshot(snapshot(late))) == [("snapshot_refused", "of_old_ids")]
    assert ranges([gap, book]) == [(1001, 28, "id_reset"), (29, 29, "book")]
    assert ranges(give(feed, diff(30, 35, time=book.event_time + WINDOW))) == [(30, 35, "book")]


def test_a_snapshot_that_is_ahead_of_a_late_stream_is_of_the_new_ids_while_it_is_nearer_to_them():
    feed = feed_that_begins_anew()
    assert answer(feed, snapshot(400)) == []
    assert ranges(give(feed, diff(401, 405, time=START + 9_000_000))) == [(1001, 400, "id_reset"), (401, 405, "book")]


def test_new_ids_that_have_come_to_the_old_ones_are_like_any_others():
    feed = feed_that_begins_anew()
    answer(feed, snapshot(28))
    give(feed, diff(30, 1000, time=START + 9_000_000))
    lose(feed, "proof")
    assert answer(feed, snapshot(1002)) == []
    assert ranges(give(feed, diff(1003, 1005, time=START + 9_100_000))) == [(1001, 1002, "proof"), (1003, 1005, "book")]


# After a restart


@pytest.mark.parametrize(
    ("snapshot_id", "published"),
    [
        (150, [(101, 145, "restart"), (146, 155, "book")]),
        (146, [(101, 145, "restart"), (146, 155, "book")]),
        (145, [(101, 145, "restart"), (146, 155, "book")]),
    ],
)
def test_a_restart_records_what_was_missed_since_the_last_published_book(snapshot_id, published):
    feed = new_feed(confirmed=Confirmed(100, START + 42))
    give(feed, diff(146, 155))
    outputs = answer(feed, snapshot(snapshot_id))
    assert ranges(outputs) == published
    assert (outputs[0].from_time, outputs[0].to_time) == (START + 42, START + 155_000)
    assert outputs[1].previous_event_time is None


def test_a_restart_without_a_loss_continues_where_the_last_book_ended():
    feed = new_feed(confirmed=Confirmed(100, START + 42))
    give(feed, diff(96, 110))
    assert ranges(answer(feed, snapshot(97))) == [(101, 110, "book")]


def test_ids_that_began_anew_while_nobody_was_there_are_told_and_make_a_gap_that_runs_backwards():
    """An id above all of the exchange's whose time is older: in one numbering a smaller id is never a later one."""
    feed = new_feed(confirmed=Confirmed(10**9, START - 10**6))
    give(feed, diff(101, 105))
    outputs = feed.receive_snapshot(snapshot(100))
    assert facts(outputs) == [("began_anew", "")]
    assert ranges(outputs) == [(10**9 + 1, 100, "restart"), (101, 105, "book")]
    feed.expect_loss("disconnect")
    give(feed, diff(111, 115))
    assert ranges(answer(feed, snapshot(110))) == [(106, 110, "disconnect"), (111, 115, "book")]


def test_new_ids_are_seen_even_where_the_clock_is_no_later_than_the_saved_time():
    """Restarted within the second on another market, say: the first books prove nothing, the later ones do."""
    feed = new_feed(confirmed=Confirmed(10**9, START + 105_000))
    give(feed, diff(101, 105))
    assert feed.receive_snapshot(snapshot(100)) == []
    outputs = give_all(feed, *(diff(n, n, time=START + n * WINDOW) for n in range(106, 130)))
    assert facts(outputs) == [("began_anew", "")]
    gap, *books = ranges(outputs)
    assert gap == (10**9 + 1, books[0][0] - 1, "restart")
    assert len(books) > 10
    assert ranges(give(feed, diff(130, 131))) == [(130, 131, "book")]


def test_books_up_to_the_saved_id_are_those_of_the_earlier_run_and_not_published_again():
    feed = new_feed(confirmed=Confirmed(110, START + 110_000))
    give(feed, diff(101, 105), diff(106, 110), diff(111, 115))
    assert ranges(feed.receive_snapshot(snapshot(100))) == [(111, 115, "book")]
    assert feed.books == 1


# The end


def test_who_ends_in_sync_has_nothing_left_to_tell():
    assert feed_at(100).end() == []


def test_who_ends_out_of_sync_records_the_gap_up_to_the_last_id_seen():
    feed = feed_at(100)
    feed.expect_loss("disconnect")
    give(feed, diff(106, 110), diff(116, 120))
    assert feed.end() == [
        Gap("binance", "BTCUSDT", 101, 120, START + 100_000, START + 120_000, "disconnect"),
    ]


def test_who_ends_before_the_first_book_records_the_gap_since_the_run_before():
    feed = new_feed(confirmed=Confirmed(100, START))
    give(feed, diff(101, 105), diff(106, 110))
    assert ranges(feed.end()) == [(101, 110, "restart")]


@pytest.mark.parametrize("confirmed", [None, Confirmed(100, START), Confirmed(10**9, START)])
def test_who_ends_without_a_diff_has_nothing_to_tell(confirmed):
    assert new_feed(confirmed=confirmed).end() == []


def test_without_an_earlier_run_there_is_no_gap_at_the_end_either():
    feed = new_feed()
    give(feed, diff(101, 105))
    assert feed.end() == []


def test_who_ends_while_the_ids_restart_tells_it():
    """The next run cannot: its first ids are below the saved one and newer, which is a state of another market."""
    feed = feed_at(100)
    give(feed, *stale(RESET_AFTER))
    assert [(gap.reason, gap.from_update_id, gap.to_update_id) for gap in feed.end()] == [("id_reset", 101, 29)]


def test_a_book_ahead_of_its_stream_records_at_the_end_what_was_seen_and_not_published():
    feed = feed_at(100)
    give(feed, diff(106, 110))
    answer(feed, snapshot(200))
    give(feed, diff(111, 115))
    assert ranges(feed.end()) == [(101, 115, "missed_updates")]


def test_without_further_snapshots_none_is_asked_for():
    feed = feed_at(100)
    assert facts(feed.end_snapshots()) == [("no_snapshot_left", "")]
    assert facts(give_all(feed, diff(106, 110))) == [("hole", "101 to 105")]
    assert give(feed, diff(111, 115)) == []
    assert ranges(answer(feed, snapshot(110))) == [(101, 110, "missed_updates"), (111, 115, "book")]
    lose(feed, "audit")
    assert give(feed, diff(116, 120)) == []
    assert ranges(feed.end()) == [(116, 120, "audit")]


def test_nothing_is_kept_for_a_snapshot_that_will_not_come():
    feed, _ = near_the_edge()
    feed.end_snapshots()
    assert ranges(give(feed, diff(111, 115), diff(116, 120))) == [(111, 115, "book"), (116, 120, "book")]
    assert not feed.sync._refresh._since_request


def test_the_end_of_snapshots_answers_the_one_that_was_asked_for():
    feed = new_feed()
    give(feed, diff(101, 105))
    feed.end_snapshots()
    assert give(feed, diff(106, 110)) == []
    assert answer(feed, snapshot(50)) == []
    assert not feed.in_sync


# After a restart, again


def test_without_an_earlier_run_there_is_no_gap_at_the_start():
    feed = new_feed()
    give(feed, diff(146, 155))
    assert ranges(answer(feed, snapshot(150))) == [(146, 155, "book")]


# Time


def test_no_two_books_carry_the_same_event_time():
    """Time is the key in the store: a clock that stands still or steps back must not overwrite a book."""
    feed = feed_at(100)
    times = [START + 100_000, START + 100_000, START + 100_000, START + 50_000, START + 100_001, START + 100_000]
    books = give(feed, *(diff(101 + n, 101 + n, time=time) for n, time in enumerate(times)))
    assert [book.event_time for book in books] == [
        START + 100_001, START + 100_002, START + 100_003, START + 100_004, START + 100_005, START + 100_006,
    ]  # fmt: skip
    assert [book.previous_event_time for book in books] == [START + 100_000, *(book.event_time for book in books[:-1])]


def test_nothing_is_ordered_by_event_time():
    feed = feed_at(100)
    books = give(feed, diff(101, 101, time=START + 10**12), diff(102, 102, time=5), diff(103, 103))
    assert [book.update_id for book in books if isinstance(book, Book)] == [101, 102, 103]


# The reach of a snapshot and its refresh


def deep(update_id, best_bid=100, changed=()):
    """A snapshot that reaches twenty levels on each side."""
    bids = {f"{price}.0": "1" for price in range(best_bid, best_bid - 20, -1)} | dict(changed)
    rows = sorted(bids.items(), key=lambda row: -float(row[0]))
    return snapshot(update_id, rows, [(f"{price}.0", "1") for price in range(101, 121)], complete=False)


def removals(prices):
    return [(f"{price}.0", "0") for price in prices]


def near_the_edge():
    """A book at 110 whose best bid has used up half of the way to the floor, so that a refresh was asked for."""
    feed = new_feed(levels=40)
    give(feed, diff(101, 105))
    [book] = answer(feed, deep(100))
    assert (book.floor, book.ceiling) == ("81.0", "120.0")
    outputs = give(feed, diff(106, 110, bids=removals(range(100, 88, -1))))
    return feed, outputs


def test_a_complete_side_has_no_bound():
    feed = new_feed()
    give(feed, diff(101, 105))
    [book] = answer(feed, snapshot(100))
    assert (book.floor, book.ceiling) == (None, None)


@pytest.mark.parametrize(
    ("bids", "asks", "asked"),
    [
        (removals(range(100, 91, -1)), [], False),
        (removals(range(100, 90, -1)), [], True),
        ([], removals(range(101, 110)), False),
        ([], removals(range(101, 111)), True),
        (removals(range(100, 80, -1)), [], True),
    ],
)
def test_a_refresh_is_asked_for_when_half_of_the_reach_is_used_up(bids, asks, asked):
    feed = new_feed(levels=40)
    give(feed, diff(101, 105))
    answer(feed, deep(100))
    outputs = give(feed, diff(106, 110, bids, asks))
    assert isinstance(outputs[0], Book)
    assert outputs[1:] == [SnapshotRequest("BTCUSDT", 1, background=True)] * asked
    assert feed.sync.counts["refresh"] == asked


def test_books_go_on_while_a_refresh_is_awaited_and_it_is_asked_for_once():
    feed, outputs = near_the_edge()
    assert outputs[1:] == [SnapshotRequest("BTCUSDT", 1, background=True)]
    assert ranges(give(feed, diff(111, 115), diff(116, 120))) == [(111, 115, "book"), (116, 120, "book")]


def test_a_refresh_older_than_the_book_takes_over_with_the_diffs_since():
    feed, _ = near_the_edge()
    give(feed, diff(111, 115, bids=[("88.0", "5")]), diff(116, 120, bids=[("87.0", "6")]))
    assert answer(feed, deep(112, best_bid=88, changed=[("88.0", "5")])) == []
    assert feed.sync.update_id == 120
    [book] = give(feed, diff(121, 125))
    assert book.bids[:3] == [["88.0", "5"], ["87.0", "6"], ["86.0", "1"]]
    assert (book.floor, book.ceiling) == ("69.0", "120.0")
    assert book.previous_event_time == START + 120_000
    assert feed.sync.refreshes == {"taken": 1}


def test_a_refresh_ahead_of_the_book_waits_until_the_book_is_there():
    feed, _ = near_the_edge()
    assert answer(feed, deep(123, best_bid=88, changed=[("87.5", "2")])) == []
    first, second = give(feed, diff(111, 120, bids=[("87.5", "2")]), diff(121, 125, bids=[("87.2", "3")]))
    assert (first.floor, second.floor) == ("81.0", "81.0")
    [third] = give(feed, diff(126, 130))
    assert third.floor == "69.0"
    assert third.bids[:3] == [["88.0", "1"], ["87.5", "2"], ["87.2", "3"]]
    assert feed.sync.refreshes == {"taken": 1}


@pytest.mark.parametrize("update_id", [110, 115])
def test_a_refresh_exactly_at_the_book_takes_over_at_once(update_id):
    feed, _ = near_the_edge()
    if update_id == 115:
        give(feed, diff(111, 115))
    answer(feed, deep(update_id, best_bid=88))
    [book] = give(feed, diff(update_id + 1, update_id + 5))
    assert book.floor == "69.0"


def test_a_refresh_that_is_too_old_is_refused_while_the_book_goes_on():
    feed, _ = near_the_edge()
    give(feed, diff(111, 115))
    assert facts(feed.receive_snapshot(deep(109, best_bid=88))) == [("snapshot_refused", "too_old")]
    assert feed.in_sync
    book, request = give(feed, diff(116, 120, time=START + 110_000 + REFRESH_PAUSE))
    assert (book.update_id, type(request)) == (120, SnapshotRequest)
    answer(feed, deep(120, best_bid=88))
    [book] = give(feed, diff(121, 125))
    assert book.floor == "69.0"


@pytest.mark.parametrize("useless", [109, 115])
def test_what_was_kept_for_a_refused_refresh_is_not_taken_for_what_follows_the_next_request(useless):
    """Between the two requests diffs come that nobody keeps: a snapshot of that time must not be continued."""
    feed, _ = near_the_edge()
    give(feed, diff(111, 115))
    feed.receive_snapshot(deep(useless, best_bid=88) if useless == 109 else snapshot(useless, asks=()))
    give(feed, diff(116, 120, bids=[("88.0", "5")]))
    [_, request] = give(feed, diff(121, 125, time=START + 110_000 + REFRESH_PAUSE))
    assert isinstance(request, SnapshotRequest)
    give(feed, diff(126, 130))
    refused = feed.receive_snapshot(deep(112, best_bid=88))
    assert facts(refused) == [("snapshot_refused", "too_old")]
    [book] = give(feed, diff(131, 135))
    assert book.bids[0] == ["88.0", "5"]


def test_a_refresh_that_contradicts_the_book_is_told_and_believed():
    feed, _ = near_the_edge()
    outputs = feed.receive_snapshot(deep(110, best_bid=88, changed=[("88.0", "777")]))
    assert [kind for kind, _ in facts(outputs)] == ["contradiction"]
    assert feed.sync.refreshes == {"contradiction": 1}
    [book] = give(feed, diff(111, 115))
    assert book.bids[0] == ["88.0", "777"]


@pytest.mark.parametrize(
    ("price", "outcome"), [("81.0", "contradiction"), ("80.0", "taken"), ("120.0", "contradiction"), ("121.0", "taken")]
)
def test_a_refresh_is_compared_as_far_as_the_book_was_known(price, outcome):
    feed, _ = near_the_edge()
    fresh = deep(110, best_bid=88)
    for level in (*fresh.bids, *fresh.asks):
        if level[0] == price:
            level[1] = "5"
    if price == "121.0":
        fresh.asks.append([price, "5"])
    feed.receive_snapshot(fresh)
    assert feed.sync.refreshes == {outcome: 1}


def test_a_refresh_that_reaches_less_far_than_the_book_is_no_contradiction():
    feed, _ = near_the_edge()
    narrow = snapshot(110, [("88.0", "1"), ("87.0", "1")], [("101.0", "1"), ("102.0", "1")], complete=False)
    assert feed.receive_snapshot(narrow) == []
    assert feed.sync.refreshes == {"taken": 1}


def test_levels_beyond_the_refresh_are_kept():
    """The price came back up: what the old snapshot knew far below must not be forgotten."""
    feed, _ = near_the_edge()
    narrow = snapshot(110, [("88.0", "1"), ("87.0", "1")], [("101.0", "1"), ("102.0", "1")], complete=False)
    answer(feed, narrow)
    [book] = give(feed, diff(111, 115))
    assert (book.floor, book.ceiling) == ("81.0", "120.0")
    assert [price for price, _ in book.bids[:3]] == ["88.0", "87.0", "86.0"]


def test_a_refresh_does_not_follow_a_refresh_at_once():
    feed, _ = near_the_edge()
    answer(feed, deep(110))
    time = START + 110_000
    soon = diff(111, 115, bids=removals(range(100, 81, -1)), time=time + REFRESH_PAUSE - 1)
    assert ranges(give(feed, soon)) == [(111, 115, "book")]
    assert feed.sync.counts["refresh"] == 1
    later = give(feed, diff(116, 120, time=time + REFRESH_PAUSE))
    assert [type(output) for output in later] == [Book, SnapshotRequest]
    answer(feed, deep(120, best_bid=80))
    assert (feed.sync.counts["refresh"], feed.sync.refreshes["contradiction"]) == (2, 2), "it has what was removed"


def test_a_price_that_has_left_the_reach_is_not_kept_waiting_by_the_pause():
    feed, _ = near_the_edge()
    answer(feed, deep(110, best_bid=88))
    time = START + 110_000
    leaves = diff(111, 115, bids=[*removals(range(88, 68, -1)), ("60.0", "1")], time=time + URGENT_PAUSE - 1)
    assert ranges(give(feed, leaves)) == [(111, 115, "book")]
    outputs = give(feed, diff(116, 120, time=time + URGENT_PAUSE))
    assert [type(output) for output in outputs] == [Book, SnapshotRequest]


def test_a_snapshot_only_to_compare_does_not_use_up_the_pause_of_the_reach():
    feed = new_feed(levels=40, compare_seconds=100.0)
    give(feed, diff(101, 105))
    answer(feed, deep(100))
    asked = [n for n in range(106, 1200) if give(feed, diff(n, n, time=START + n * WINDOW))[1:]]
    assert len(asked) == 1
    answer(feed, deep(1199))
    outputs = give(feed, diff(1200, 1200, bids=removals(range(100, 88, -1)), time=START + asked[0] * WINDOW))
    assert [type(output) for output in outputs] == [Book, SnapshotRequest]


def test_a_hole_while_a_refresh_waits_for_the_book_discards_it():
    feed, _ = near_the_edge()
    answer(feed, deep(123, best_bid=88, changed=[("88.0", "777")]))
    assert give(feed, diff(131, 135)) == [SnapshotRequest("BTCUSDT", 2)]
    outputs = answer(feed, deep(130, best_bid=88))
    assert ranges(outputs) == [(111, 130, "missed_updates"), (131, 135, "book")]
    assert outputs[1].bids[0] == ["88.0", "1"]


def test_an_older_refresh_does_not_undo_what_came_after_it():
    """Snapshot 102, diffs 103 to 105, an older snapshot 104 late, then 106: the change of 105 survives."""
    feed = new_feed(levels=40)
    give(feed, diff(103, 103))
    answer(feed, deep(102))
    outputs = give(feed, diff(104, 104, bids=removals(range(100, 88, -1))), diff(105, 105, bids=[("88.0", "5")]))
    assert SnapshotRequest("BTCUSDT", 1, background=True) in outputs
    answer(feed, deep(104, best_bid=88))
    [book] = give(feed, diff(106, 106))
    assert book.bids[0] == ["88.0", "5"]


# Everything at once


class SmallExchange:
    """A true book at every id, and a stream that drops, repeats, swaps, merges and delays what it sends.

    Snapshots reach so many levels and are of any id that they could be of, ahead of the stream too. Tickers come before
    their diffs or after them, and are missing only where the connection is gone. Ids never begin anew here.
    """

    def __init__(self, seed, reach):
        self.random = Random(seed)
        self.reach = reach
        self.thinnest = self.random.choice((1, 5))
        self.books = {10: ({1000 - n: 1 for n in range(8)}, {1001 + n: 1 for n in range(8)})}
        self.changes = {}
        self.tickers = []
        self.last = 10
        self.seen = 0
        self.sent = []
        self.pipe = []
        self.lag = 0
        self.now = START
        published = self.random.choice((None, 3, 9, 10))
        self.feed = new_feed(levels=4, confirmed=published and Confirmed(published, START - 10**6))
        self.covered = self.before = published
        self.counted = 0
        self.times = set()
        self.request = None
        self.seconds = 0.0
        self.facts = []

    def step(self):
        actions, weights = zip(*self.ACTIONS, strict=True)
        self.random.choices(actions, weights)[0](self)

    def recover(self):
        self.lag = 0
        for _ in range(40):
            self.the_snapshot_comes(oldest=0)
            self.a_window_passes()
        for _ in range(3):
            self.a_second_passes()
        assert self.feed.in_sync
        assert self.covered == self.feed.sync.update_id == self.last
        assert self.feed.end() == []

    def end(self):
        """What was published and the gaps sum up to all that was seen, whenever it ends."""
        self.take(self.feed.end())
        if self.covered is not None:
            assert self.covered == max(self.seen, self.before or 0)
            assert self.before is None or self.counted == self.covered - self.before

    # What happens

    def a_window_passes(self):
        self.pipe.append((*self.next_window(), self.now))
        self.deliver()

    def two_windows_come_swapped(self):
        first, second = ((*self.next_window(), self.now) for _ in range(2))
        self.pipe += [second, first]
        self.deliver()

    def a_window_is_lost(self):
        self.next_window()

    def the_stream_lags(self):
        self.lag = self.random.choice((0, 0, 1, 3, 10))

    def an_old_one_comes_again(self):
        if self.sent:
            self.send(*self.random.choice(self.sent[-4:]))

    def one_that_was_cut_in_another_way_comes(self):
        if self.sent:
            first, last, time = self.random.choice(self.sent[-3:])
            self.send(max(11, first - self.random.randrange(3)), min(last + self.random.randrange(4), self.last), time)

    def the_snapshot_comes(self, oldest=25):
        if not self.request:
            return
        self.request = None
        update_id = max(10, self.last - int(oldest * self.random.random() ** 2))
        sides = [
            [[f"{price}.0", f"{side[price]}.0"] for price in sorted(side, reverse=sign > 0)[: self.reach]]
            for sign, side in zip((1, -1), self.books[update_id], strict=True)
        ]
        complete = [len(side) < self.reach for side in self.books[update_id]]
        self.take(self.feed.receive_snapshot(Snapshot("BTCUSDT", update_id, *sides, *complete)))

    def the_book_is_given_up(self):
        self.take(self.feed._go_on(self.feed.sync.lose(self.random.choice(("proof", "crossed")))))

    def the_connection_is_gone(self):
        """What was on its way is lost with it."""
        self.pipe.clear()
        self.tickers.clear()
        self.take(self.feed.expect_loss("disconnect"))

    def a_second_passes(self):
        self.seconds += 1.0
        self.take(self.feed.tick(self.seconds))

    ACTIONS = (
        (a_window_passes, 20),
        (a_window_is_lost, 1),
        (two_windows_come_swapped, 2),
        (the_stream_lags, 1),
        (an_old_one_comes_again, 2),
        (one_that_was_cut_in_another_way_comes, 2),
        (the_snapshot_comes, 6),
        (the_book_is_given_up, 0.5),
        (the_connection_is_gone, 0.3),
        (a_second_passes, 2),
    )

    # How it comes about

    def next_window(self):
        first = self.last + 1
        for _ in range(self.random.randrange(1, 5)):
            self.change_one_level()
        self.now += self.random.choice((WINDOW, WINDOW, WINDOW, 1, 0, -3 * WINDOW, 30 * WINDOW))
        return first, self.last

    def change_one_level(self):
        """Change a level near the top, or move the price by taking a level away or improving on the best."""
        bids, asks = map(dict, self.books[self.last])
        side, sign = (bids, 1) if self.random.random() < 0.5 else (asks, -1)
        best, limit = (max(side), min(asks)) if sign > 0 else (min(side), max(bids))
        price = best - sign * self.random.choice((-2, -1, 0, 0, 0, 1, 2, 3, 4, 5, 7, 9))
        crosses = sign * (price - limit) >= 0
        is_removed = crosses or (self.random.random() < 0.6 and len(side) > self.thinnest)
        quantity = 0 if is_removed else self.random.randrange(1, 9)
        side.pop(price, None)
        if quantity:
            side[price] = quantity
        self.last += 1
        before = top_of(*self.books[self.last - 1])
        self.books[self.last] = (bids, asks)
        self.changes[self.last] = (sign, price, quantity)
        if top_of(bids, asks) != before:
            self.tickers.append(Ticker("BTCUSDT", self.last, b"", lambda _: top_of(bids, asks)))

    def deliver(self):
        """Send what the stream does not hold back, with the tickers of its ids before or after it."""
        while len(self.pipe) > self.lag:
            self.sent.append(self.pipe.pop(0))
            last = self.sent[-1][1]
            if self.random.random() < 0.6:
                self.send_tickers(last + self.random.choice((-2, 0, 0, 3)))
            self.send(*self.sent[-1])
            if self.random.random() < 0.8:
                self.send_tickers(last - self.random.choice((0, 0, 0, 2)))

    def send_tickers(self, last):
        while self.tickers and self.tickers[0].update_id <= last:
            self.take(self.feed.receive_ticker(self.tickers.pop(0)))

    def send(self, first, last, time):
        sides = {1: {}, -1: {}}
        for update_id in range(first, last + 1):
            sign, price, quantity = self.changes[update_id]
            sides[sign][price] = quantity
        bids, asks = ([(f"{price}.0", f"{quantity}.0") for price, quantity in sides[sign].items()] for sign in (1, -1))
        self.seen = max(self.seen, last)
        self.take(self.feed.receive_diff(diff(first, last, bids, asks, time=time), self.now))

    # What has to hold

    def take(self, outputs):
        for output in outputs:
            if isinstance(output, SnapshotRequest):
                replaces = self.request is None or (self.request.background and not output.background)
                assert replaces, "a second request before the answer to the first"
                self.request = output
            elif isinstance(output, Fact):
                self.facts.append(output)
            elif isinstance(output, Gap):
                self.cover(output.from_update_id, output.to_update_id)
            else:
                self.cover(output.first_update_id, output.update_id)
                self.compare(output)

    def cover(self, first, last):
        """Every id once and in order, from the first published one on."""
        assert first <= last
        assert self.covered is None or first == self.covered + 1
        self.covered = last
        self.counted += last - first + 1

    def compare(self, book):
        """Between floor and ceiling the event tells the whole true book and nothing else; no two have the same time."""
        assert book.event_time not in self.times
        self.times.add(book.event_time)
        for sign, side, rows in zip((1, -1), self.books[book.update_id], (book.bids, book.asks), strict=True):
            true = [[f"{price}.0", f"{side[price]}.0"] for price in sorted(side, reverse=sign > 0)]
            assert known(book, rows) == known(book, true)


def top_of(bids, asks):
    return Top(*([f"{price}.0", f"{side[price]}.0"] for price, side in ((max(bids), bids), (min(asks), asks))))


def seeds(count):
    """A quarter always, the others in rounds: each is a life of its own under the same faults."""
    return [pytest.param(seed, marks=[pytest.mark.rounds] if seed % 4 else []) for seed in range(count)]


def known(book, rows):
    """The levels between floor and ceiling."""
    return [row for row in rows if float(book.floor or 0) <= float(row[0]) <= float(book.ceiling or 10**9)]


@pytest.mark.parametrize("seed", seeds(40))
def test_every_id_is_covered_exactly_once_and_every_book_is_true(seed):
    exchange = SmallExchange(seed, reach=6)
    for _ in range(600):
        exchange.step()
    exchange.recover()
    exchange.end()
    sync = exchange.feed.sync
    assert sync.resyncs
    assert sync.refreshes["taken"], "the reach was never left: this round shows less than it should"
    assert sync.refreshes["contradiction"] == 0
    assert exchange.feed.audit.matches > 50
    assert exchange.feed.audit.mismatches == 0


@pytest.mark.parametrize("seed", seeds(40))
def test_whenever_it_ends_what_was_seen_is_a_book_or_a_gap(seed):
    exchange = SmallExchange(1000 + seed, reach=6)
    for _ in range(10 + 7 * seed):
        exchange.step()
    exchange.end()


@pytest.mark.parametrize("seed", seeds(20))
def test_no_ticker_contradicts_a_book_that_is_whole(seed):
    """However late it comes, before or after its diff, and whatever the diffs went through."""
    exchange = SmallExchange(2000 + seed, reach=1000)
    for _ in range(600):
        exchange.step()
    exchange.recover()
    assert exchange.feed.audit.mismatches == 0
    assert exchange.feed.audit.matches > 100
    assert {fact.kind for fact in exchange.facts} <= {"hole", "resync", "behind", "snapshot_refused", "clock_back"}


@pytest.mark.parametrize("seed", seeds(20))
def test_no_ticker_contradicts_a_book_whose_price_has_left_its_reach(seed):
    """A snapshot of one level: the price is beyond it soon, and most of what the ticker shows is known by nobody."""
    exchange = SmallExchange(3000 + seed, reach=1)
    for _ in range(600):
        exchange.step()
    exchange.recover()
    audit = exchange.feed.audit
    assert audit.mismatches == exchange.feed.sync.resyncs["audit"] == 0
    assert audit.beyond_reach > 10
    assert audit.matches > 100
