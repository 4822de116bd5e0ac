"""The rules of synchronisation, case by case, and against a small exchange of its own that does everything at once."""

from random import Random

import pytest

from crawler.book import depth_sync
from crawler.book.depth_sync import REFRESH_PAUSE, RESET_AFTER, RESET_TIME, DepthSync, SnapshotRequest
from crawler.book.market_data import Diff, Snapshot
from fairprice.messages import Book, Gap

WINDOW = 100_000
START = 1_789_000_000_000_000


def diff(first, last, bids=(), asks=(), *, time=None):
    """A diff whose event time is made from its last id unless given."""
    event_time = START + last * 1000 if time is None else time
    return Diff("BTCUSDT", first, last, event_time, [list(level) for level in bids], [list(level) for level in asks])


def snapshot(update_id, bids=(("100.0", "1"),), asks=(("101.0", "1"),), *, complete=True):
    return Snapshot(update_id, [list(level) for level in bids], [list(level) for level in asks], complete, complete)


def new_sync(**options):
    return DepthSync("binance", "BTCUSDT", "one", levels=options.pop("levels", 20), **options)


def feed(sync, *diffs):
    """Give diffs, received 7 us after they were made, and return all that came out."""
    return [output for each in diffs for output in sync.receive_diff(each, each.event_time + 7)]


def in_sync(update_id=100, **options):
    """A synchronisation that has published one book, up to this id."""
    sync = new_sync(**options)
    assert feed(sync, diff(update_id - 4, update_id)) == [SnapshotRequest("BTCUSDT", 0)]
    [book] = sync.receive_snapshot(snapshot(update_id - 5))
    assert (book.first_update_id, book.update_id) == (update_id - 4, update_id)
    return sync


def ranges(outputs):
    """What the outputs cover: first id, last id, and what it is."""
    return [
        (output.first_update_id, output.update_id, "book")
        if isinstance(output, Book)
        else (output.from_update_id, output.to_update_id, output.reason)
        for output in outputs
        if not isinstance(output, SnapshotRequest)
    ]


# The way into sync


def test_nothing_is_asked_before_the_first_diff():
    sync = new_sync()
    assert not sync.in_sync
    assert sync.update_id == 0
    assert sync.receive_snapshot(snapshot(5)) == []
    assert not sync.in_sync


def test_a_snapshot_is_asked_for_once_while_diffs_are_buffered():
    assert feed(new_sync(), diff(1, 2), diff(3, 4), diff(5, 6)) == [SnapshotRequest("BTCUSDT", 0)]


def test_buffered_diffs_are_replayed_on_the_snapshot_with_the_times_they_were_received():
    sync = new_sync()
    feed(sync, diff(101, 105, bids=[("100.0", "2")]), diff(106, 110, asks=[("101.0", "0"), ("102.0", "4")]))
    first, second = sync.receive_snapshot(snapshot(100))
    assert (first.bids, first.asks) == ([["100.0", "2"]], [["101.0", "1"]])
    assert (second.bids, second.asks) == ([["100.0", "2"]], [["102.0", "4"]])
    assert [(book.event_time, book.received_time) for book in (first, second)] == [
        (START + 105_000, START + 105_007),
        (START + 110_000, START + 110_007),
    ]
    assert (first.previous_event_time, second.previous_event_time) == (None, first.event_time)
    assert (first.venue, first.symbol, first.crawler) == ("binance", "BTCUSDT", "one")
    assert (sync.in_sync, sync.update_id, sync.books) == (True, 110, 2)


BUFFER = (diff(101, 105), diff(106, 110), diff(111, 115))


@pytest.mark.parametrize(
    ("snapshot_id", "published"),
    [
        pytest.param(100, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")], id="S = F - 1"),
        pytest.param(101, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")], id="S = F"),
        pytest.param(103, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")], id="inside the first"),
        pytest.param(104, [(101, 105, "book"), (106, 110, "book"), (111, 115, "book")], id="one before its end"),
        pytest.param(105, [(106, 110, "book"), (111, 115, "book")], id="S = u, so the next has U = S + 1"),
        pytest.param(106, [(106, 110, "book"), (111, 115, "book")], id="S = U of the second"),
        pytest.param(113, [(111, 115, "book")], id="inside the last"),
        pytest.param(115, [], id="S = u of the last"),
        pytest.param(120, [], id="newer than the whole buffer"),
    ],
)
def test_a_usable_snapshot_brings_sync_at_every_boundary(snapshot_id, published):
    sync = new_sync()
    feed(sync, *BUFFER)
    assert ranges(sync.receive_snapshot(snapshot(snapshot_id))) == published
    assert sync.in_sync
    assert sync.update_id == max(snapshot_id, published[-1][1] if published else 0)
    follow = diff(sync.update_id + 1, sync.update_id + 5)
    assert ranges(feed(sync, follow)) == [(follow.first_update_id, follow.update_id, "book")]


def test_after_a_snapshot_newer_than_the_buffer_the_diffs_up_to_it_are_ignored_and_one_across_it_is_applied():
    sync = new_sync()
    feed(sync, *BUFFER)
    sync.receive_snapshot(snapshot(123))
    assert feed(sync, diff(116, 120)) == []
    assert ranges(feed(sync, diff(121, 125), diff(126, 130))) == [(121, 125, "book"), (126, 130, "book")]


@pytest.mark.parametrize("snapshot_id", [0, 50, 99])
def test_a_snapshot_older_than_the_buffer_is_asked_for_again_and_the_buffer_kept(snapshot_id):
    sync = new_sync()
    feed(sync, *BUFFER)
    assert sync.receive_snapshot(snapshot(snapshot_id)) == [SnapshotRequest("BTCUSDT", 1)]
    assert sync.receive_snapshot(snapshot(snapshot_id)) == [SnapshotRequest("BTCUSDT", 2)]
    assert feed(sync, diff(116, 120)) == []
    assert ranges(sync.receive_snapshot(snapshot(100))) == [
        (101, 105, "book"), (106, 110, "book"), (111, 115, "book"), (116, 120, "book"),
    ]  # fmt: skip
    assert sync.counts["snapshot_too_old"] == 2
    sync.lose("audit")
    assert feed(sync, diff(121, 125)) == [SnapshotRequest("BTCUSDT", 0)], "the count starts anew after a success"


def test_a_hole_while_buffering_throws_away_what_is_before_it():
    sync = new_sync()
    feed(sync, diff(101, 105), diff(111, 115))
    assert sync.receive_snapshot(snapshot(108)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(sync.receive_snapshot(snapshot(110))) == [(111, 115, "book")]


def test_what_was_buffered_before_may_come_again_without_harm():
    sync = new_sync()
    feed(sync, diff(101, 105), diff(101, 105), diff(98, 100), diff(103, 108), diff(101, 105))
    assert sync.counts["stale"] == 3
    assert ranges(sync.receive_snapshot(snapshot(100))) == [(101, 105, "book"), (106, 108, "book")]
    assert sync.counts["overlap"] == 1


def test_the_buffer_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(depth_sync, "BUFFER", 3)
    sync = new_sync()
    feed(sync, *(diff(first, first) for first in range(101, 111)))
    assert sync.receive_snapshot(snapshot(106)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(sync.receive_snapshot(snapshot(107))) == [(108, 108, "book"), (109, 109, "book"), (110, 110, "book")]


def test_a_hole_within_the_buffered_diffs_never_makes_a_book():
    """The second buffered diff does not continue the first: only what follows the hole is used."""
    sync = new_sync()
    feed(sync, diff(101, 101), diff(103, 103))
    assert ranges(sync.receive_snapshot(snapshot(100))) == []
    assert not sync.in_sync


# In sync


def test_a_contiguous_diff_makes_a_book():
    sync = in_sync(100)
    [book] = feed(sync, diff(101, 107, bids=[("100.5", "3")]))
    assert (book.first_update_id, book.update_id) == (101, 107)
    assert book.bids == [["100.5", "3"], ["100.0", "1"]]


def test_a_diff_without_levels_makes_a_book_all_the_same():
    sync = in_sync(100)
    assert ranges(feed(sync, diff(101, 101))) == [(101, 101, "book")]


@pytest.mark.parametrize("first", [80, 99, 100])
def test_an_overlap_is_applied_and_only_its_new_ids_are_claimed(first):
    sync = in_sync(100)
    [book] = feed(sync, diff(first, 110, bids=[("100.0", "9")]))
    assert (book.first_update_id, book.update_id, book.bids) == (101, 110, [["100.0", "9"]])
    assert sync.counts["overlap"] == 1


@pytest.mark.parametrize(("first", "last"), [(96, 100), (100, 100), (90, 99), (1, 2)])
def test_a_duplicate_or_older_diff_is_ignored_and_counted(first, last):
    sync = in_sync(100)
    assert feed(sync, diff(first, last, bids=[("100.0", "0")])) == []
    assert sync.counts["stale"] == 1
    [book] = feed(sync, diff(101, 102))
    assert book.bids == [["100.0", "1"]]


@pytest.mark.parametrize("first", [102, 120])
def test_a_hole_gives_the_book_up_at_once_and_is_recorded_with_its_ids_and_times(first):
    sync = in_sync(100)
    assert feed(sync, diff(first, first + 4)) == [SnapshotRequest("BTCUSDT", 0)]
    assert not sync.in_sync
    gap, book = sync.receive_snapshot(snapshot(first - 1))
    assert gap == Gap(
        "binance", "BTCUSDT", 101, first - 1, START + 100_000, START + (first + 4) * 1000, "missed_updates"
    )
    assert (book.first_update_id, book.update_id, book.previous_event_time) == (first, first + 4, None)
    assert sync.resyncs == {"missed_updates": 1}


def test_the_gap_reaches_to_where_the_books_begin_again_not_to_where_diffs_did():
    sync = in_sync(100)
    feed(sync, diff(106, 110), diff(111, 115))
    assert ranges(sync.receive_snapshot(snapshot(112))) == [(101, 110, "missed_updates"), (111, 115, "book")]


def test_what_a_snapshot_newer_than_the_buffer_skips_is_part_of_the_gap():
    sync = in_sync(100)
    feed(sync, diff(106, 110))
    assert sync.receive_snapshot(snapshot(200)) == []
    assert ranges(feed(sync, diff(201, 205))) == [(101, 200, "missed_updates"), (201, 205, "book")]


def test_a_gap_right_after_the_seam_is_found_too():
    sync = new_sync()
    feed(sync, diff(101, 105))
    sync.receive_snapshot(snapshot(105))
    assert feed(sync, diff(107, 110)) == [SnapshotRequest("BTCUSDT", 0)]
    assert ranges(sync.receive_snapshot(snapshot(108))) == [(107, 110, "book")], "nothing was published before"


def test_a_first_diff_beyond_the_snapshot_is_not_applied():
    """First diff 103, snapshot 100: 101 and 102 are missing."""
    sync = new_sync()
    feed(sync, diff(103, 103))
    assert sync.receive_snapshot(snapshot(100)) == [SnapshotRequest("BTCUSDT", 1)]
    assert not sync.in_sync


@pytest.mark.parametrize(
    ("first", "last", "published"),
    [(100, 110, True), (102, 110, False), (101, 110, True), (120, 130, False), (90, 100, False)],
)
def test_the_examples_of_other_projects_for_a_book_at_100(first, last, published):
    sync = in_sync(100)
    assert any(isinstance(output, Book) for output in feed(sync, diff(first, last))) is published


def test_levels_are_removed_replaced_inserted_and_absent_ones_ignored():
    sync = in_sync(100)
    changes = [("100.0", "0.0"), ("99.0", "5"), ("42.0", "0")]
    [book] = feed(sync, diff(101, 104, bids=changes, asks=[("101.0", "7"), ("100.9", "1")]))
    assert (book.bids, book.asks) == ([["99.0", "5"]], [["100.9", "1"], ["101.0", "7"]])


def test_two_swapped_diffs_are_seen_as_a_hole_and_the_late_one_is_not_applied():
    sync = in_sync(100)
    late = diff(101, 105, bids=[("100.0", "77")])
    assert feed(sync, diff(106, 110), late) == [SnapshotRequest("BTCUSDT", 0)]
    gap, book = sync.receive_snapshot(snapshot(105, bids=[("99.0", "3")]))
    assert (gap.from_update_id, gap.to_update_id) == (101, 105)
    assert book.bids == [["99.0", "3"]]


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([("101.0", "1")], []), ([("101.5", "1")], []), ([], [("100.0", "1")]), ([], [("99.0", "1")])],
    ids=["locked by a bid", "crossed by a bid", "locked by an ask", "crossed by an ask"],
)
def test_a_crossed_or_locked_book_is_never_published(bids, asks):
    sync = in_sync(100)
    assert feed(sync, diff(101, 105, bids, asks)) == []
    assert not sync.in_sync
    assert feed(sync, diff(106, 110)) == [SnapshotRequest("BTCUSDT", 0)]
    assert ranges(sync.receive_snapshot(snapshot(107))) == [(101, 105, "crossed"), (106, 110, "book")]
    assert sync.resyncs == {"crossed": 1}


def test_prices_are_compared_as_numbers_not_as_texts_when_a_book_is_called_crossed():
    sync = in_sync(100)
    assert ranges(feed(sync, diff(101, 101, bids=[("100.0", "0"), ("99.5", "1")]))) == [(101, 101, "book")]


def test_a_diff_that_crosses_while_it_is_replayed_asks_for_another_snapshot():
    sync = in_sync(100)
    feed(sync, diff(106, 110), diff(111, 115, bids=[("102.0", "1")]), diff(116, 120))
    outputs = sync.receive_snapshot(snapshot(105))
    assert ranges(outputs) == [(101, 105, "missed_updates"), (106, 110, "book")]
    assert outputs[-1] == SnapshotRequest("BTCUSDT", 0)
    assert ranges(sync.receive_snapshot(snapshot(115))) == [(111, 115, "crossed"), (116, 120, "book")]


def test_one_side_or_none_is_a_book_too():
    sync = in_sync(100)
    one, none, both = feed(
        sync, diff(101, 101, bids=[("100.0", "0")]), diff(102, 102, asks=[("101.0", "0")]),
        diff(103, 103, [("5.0", "1")], [("6.0", "2")]),
    )  # fmt: skip
    assert (one.bids, one.asks) == ([], [["101.0", "1"]])
    assert (none.bids, none.asks) == ([], [])
    assert (both.bids, both.asks) == ([["5.0", "1"]], [["6.0", "2"]])


def test_a_book_has_so_many_levels_and_no_more():
    sync = new_sync(levels=2)
    feed(sync, diff(101, 105))
    rows = [(f"{price}.0", "1") for price in range(100, 90, -1)]
    [book] = sync.receive_snapshot(snapshot(100, bids=rows, asks=[("101.0", "1")]))
    assert (book.bids, book.asks) == ([["100.0", "1"], ["99.0", "1"]], [["101.0", "1"]])


# Losing the book


@pytest.mark.parametrize("reason", ["disconnect", "silence", "unreadable_frame"])
def test_a_hole_that_was_foreseen_carries_its_reason(reason):
    sync = in_sync(100)
    sync.expect_loss(reason)
    assert sync.in_sync
    feed(sync, diff(111, 115))
    assert ranges(sync.receive_snapshot(snapshot(110))) == [(101, 110, reason), (111, 115, "book")]
    assert sync.resyncs == {reason: 1}
    feed(sync, diff(121, 125))
    assert ranges(sync.receive_snapshot(snapshot(120))) == [(116, 120, "missed_updates"), (121, 125, "book")]


def test_a_loss_that_was_foreseen_and_did_not_come_is_forgotten():
    sync = in_sync(100)
    sync.expect_loss("disconnect")
    assert ranges(feed(sync, diff(101, 105))) == [(101, 105, "book")]
    feed(sync, diff(111, 115))
    assert ranges(sync.receive_snapshot(snapshot(110))) == [(106, 110, "missed_updates"), (111, 115, "book")]


def test_a_book_that_is_given_up_loses_only_what_its_recovery_skips():
    sync = in_sync(100)
    sync.lose("audit")
    feed(sync, diff(101, 105), diff(106, 110))
    assert ranges(sync.receive_snapshot(snapshot(100))) == [(101, 105, "book"), (106, 110, "book")]


def test_a_late_snapshot_after_a_loss_is_used_only_if_it_reaches_the_new_buffer():
    """The request was out when the book was lost; its answer belongs to no diff that is still there."""
    sync = new_sync()
    feed(sync, diff(101, 105))
    sync.lose("disconnect")
    assert feed(sync, diff(121, 125)) == [], "one request at a time"
    assert sync.receive_snapshot(snapshot(104)) == [SnapshotRequest("BTCUSDT", 1)]
    assert ranges(sync.receive_snapshot(snapshot(122))) == [(121, 125, "book")]


def test_a_late_snapshot_after_a_loss_and_before_any_diff_is_dropped():
    sync = new_sync()
    feed(sync, diff(101, 105))
    sync.lose("disconnect")
    assert sync.receive_snapshot(snapshot(104)) == []
    assert not sync.in_sync
    assert feed(sync, diff(121, 125)) == [SnapshotRequest("BTCUSDT", 0)]


def test_losing_the_book_while_a_background_snapshot_is_out():
    sync, _ = near_the_edge()
    sync.lose("audit")
    assert feed(sync, diff(111, 115)) == []
    assert sync.receive_snapshot(snapshot(105)) == [SnapshotRequest("BTCUSDT", 1)]
    outputs = sync.receive_snapshot(snapshot(112))
    assert ranges(outputs)[-1] == (111, 115, "book")


def test_the_reason_of_a_loss_is_the_first_one():
    sync = in_sync(100)
    sync.lose("crossed")
    sync.lose("audit")
    feed(sync, diff(111, 115))
    assert ranges(sync.receive_snapshot(snapshot(110))) == [(101, 110, "crossed"), (111, 115, "book")]


def test_what_was_published_before_a_loss_is_not_published_again():
    """A second connection that lags brings once more what the first one brought before the loss."""
    sync = in_sync(100)
    feed(sync, diff(101, 105), diff(106, 110))
    sync.lose("audit")
    feed(sync, diff(101, 105), diff(106, 110))
    outputs = sync.receive_snapshot(snapshot(102)) + feed(sync, diff(109, 115))
    assert ranges(outputs) == [(111, 115, "book")]


# Ids that begin anew


def stale(count, *, first_time=START + 200_000, step=WINDOW):
    """Diffs of consecutive ids from 10 on, none above 99."""
    return [diff(10 + n % 90, 10 + n % 90, time=first_time + n * step) for n in range(count)]


def test_ids_that_jump_backwards_for_good_lead_to_a_new_synchronisation():
    sync = in_sync(100)
    outputs = feed(sync, *stale(RESET_AFTER))
    assert outputs == [SnapshotRequest("BTCUSDT", 0)]
    assert sync.resyncs == {"id_reset": 1}
    last = 10 + RESET_AFTER
    gap, book = sync.receive_snapshot(snapshot(last - 2))
    assert gap.reason == "id_reset"
    assert (book.first_update_id, book.update_id) == (last - 1, last - 1)
    assert (gap.from_time, gap.to_time) == (START + 100_000, book.event_time)
    assert ranges(feed(sync, diff(last, last + 4, time=book.event_time + 5))) == [(last, last + 4, "book")]


def test_a_few_old_diffs_are_no_reset_however_far_apart():
    sync = in_sync(100)
    assert feed(sync, *stale(RESET_AFTER - 1, step=10 * RESET_TIME)) == []
    assert ranges(feed(sync, diff(101, 105))) == [(101, 105, "book")]


def test_many_old_diffs_in_a_short_time_are_no_reset():
    sync = in_sync(100)
    assert feed(sync, *stale(5 * RESET_AFTER, step=RESET_TIME // (5 * RESET_AFTER))) == []
    assert sync.in_sync


def test_whatever_a_connection_brings_that_lags_far_behind_is_no_reset():
    """It was held up, and brings in one go what another connection brought long ago."""
    sync = in_sync(100)
    times = [START + 101_000 + number * WINDOW for number in range(5 * RESET_AFTER)]
    seen = [diff(101 + number, 101 + number, time=time) for number, time in enumerate(times)]
    feed(sync, *seen)
    assert feed(sync, *seen) == []
    assert sync.counts["stale"] == len(seen)
    assert ranges(feed(sync, diff(201, 205))) == [(201, 205, "book")]


def test_ids_and_times_that_both_begin_anew_are_a_reset_once_the_stream_was_gone():
    """Another exchange at the same address, say: what it sends is no connection that lags, for there was none left."""
    sync = in_sync(100)
    assert feed(sync, *stale(2 * RESET_AFTER, first_time=5)) == []
    assert sync.in_sync
    sync.expect_loss("disconnect")
    assert feed(sync, *stale(RESET_AFTER, first_time=5)) == [SnapshotRequest("BTCUSDT", 0)]
    assert sync.resyncs == {"id_reset": 1}


def test_old_diffs_of_a_lagging_connection_between_new_ones_are_no_reset():
    sync = in_sync(100)
    for number, old in enumerate(stale(5 * RESET_AFTER)):
        feed(sync, old, *([] if number % 10 else [diff(101 + number // 10, 101 + number // 10)]))
    assert sync.in_sync


def test_ids_that_begin_anew_while_a_snapshot_is_awaited():
    sync = new_sync()
    feed(sync, diff(1001, 1005, time=START), *stale(RESET_AFTER))
    assert sync.receive_snapshot(snapshot(10 + RESET_AFTER - 2)) != []
    assert sync.in_sync


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
    sync = new_sync(published_id=100, published_time=START + 42)
    feed(sync, diff(146, 155))
    outputs = sync.receive_snapshot(snapshot(snapshot_id))
    assert ranges(outputs) == published
    assert (outputs[0].from_time, outputs[0].to_time) == (START + 42, START + 155_000)
    assert outputs[1].previous_event_time is None


def test_a_restart_without_a_loss_continues_where_the_last_book_ended():
    sync = new_sync(published_id=100, published_time=START + 42)
    feed(sync, diff(96, 110))
    assert ranges(sync.receive_snapshot(snapshot(97))) == [(101, 110, "book")]


def test_a_restart_against_an_exchange_whose_ids_began_anew_is_in_sync_at_once():
    sync = new_sync(published_id=10**9, published_time=START)
    feed(sync, diff(101, 105))
    gap, book = sync.receive_snapshot(snapshot(100))
    assert gap.reason == "restart"
    assert (book.first_update_id, book.update_id) == (101, 105)


def test_without_an_earlier_run_there_is_no_gap_at_the_start():
    sync = new_sync()
    feed(sync, diff(146, 155))
    assert ranges(sync.receive_snapshot(snapshot(150))) == [(146, 155, "book")]


# Time


def test_no_two_books_carry_the_same_event_time():
    """Time is the key in the store: a clock that stands still or steps back must not overwrite a book."""
    sync = in_sync(100)
    times = [START + 100_000, START + 100_000, START + 100_000, START + 50_000, START + 100_001, START + 100_000]
    books = feed(sync, *(diff(101 + n, 101 + n, time=time) for n, time in enumerate(times)))
    assert [book.event_time for book in books] == [
        START + 100_001, START + 100_002, START + 100_003, START + 50_000, START + 100_004, START + 100_005,
    ]  # fmt: skip
    assert [book.previous_event_time for book in books] == [START + 100_000, *(book.event_time for book in books[:-1])]


def test_nothing_is_ordered_by_event_time():
    sync = in_sync(100)
    books = feed(sync, diff(101, 101, time=START + 10**12), diff(102, 102, time=5), diff(103, 103))
    assert [book.update_id for book in books] == [101, 102, 103]


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
    sync = new_sync(levels=3)
    feed(sync, diff(101, 105))
    [book] = sync.receive_snapshot(deep(100))
    assert (book.floor, book.ceiling) == ("81.0", "120.0")
    outputs = feed(sync, diff(106, 110, bids=removals(range(100, 88, -1))))
    return sync, outputs


def test_a_complete_side_has_no_bound():
    sync = new_sync()
    feed(sync, diff(101, 105))
    [book] = sync.receive_snapshot(snapshot(100))
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
    sync = new_sync(levels=3)
    feed(sync, diff(101, 105))
    sync.receive_snapshot(deep(100))
    outputs = feed(sync, diff(106, 110, bids, asks))
    assert isinstance(outputs[0], Book)
    assert outputs[1:] == [SnapshotRequest("BTCUSDT", 0)] * asked
    assert sync.counts["refresh"] == asked


def test_books_go_on_while_a_refresh_is_awaited_and_it_is_asked_for_once():
    sync, outputs = near_the_edge()
    assert outputs[1:] == [SnapshotRequest("BTCUSDT", 0)]
    assert ranges(feed(sync, diff(111, 115), diff(116, 120))) == [(111, 115, "book"), (116, 120, "book")]


def test_a_refresh_older_than_the_book_takes_over_with_the_diffs_since():
    sync, _ = near_the_edge()
    feed(sync, diff(111, 115, bids=[("88.0", "5")]), diff(116, 120, bids=[("87.0", "6")]))
    assert sync.receive_snapshot(deep(112, best_bid=88, changed=[("88.0", "5")])) == []
    assert sync.update_id == 120
    [book] = feed(sync, diff(121, 125))
    assert book.bids == [["88.0", "5"], ["87.0", "6"], ["86.0", "1"]]
    assert (book.floor, book.ceiling) == ("69.0", "120.0")
    assert book.previous_event_time == START + 120_000
    assert sync.counts["refresh_mismatch"] == 0


def test_a_refresh_ahead_of_the_book_waits_until_the_book_is_there():
    sync, _ = near_the_edge()
    assert sync.receive_snapshot(deep(123, best_bid=88, changed=[("87.5", "2")])) == []
    first, second = feed(sync, diff(111, 120, bids=[("87.5", "2")]), diff(121, 125, bids=[("87.2", "3")]))
    assert (first.floor, second.floor) == ("81.0", "81.0")
    [third] = feed(sync, diff(126, 130))
    assert third.floor == "69.0"
    assert third.bids == [["88.0", "1"], ["87.5", "2"], ["87.2", "3"]]
    assert sync.counts["refresh_mismatch"] == 0


@pytest.mark.parametrize("update_id", [110, 115])
def test_a_refresh_exactly_at_the_book_takes_over_at_once(update_id):
    sync, _ = near_the_edge()
    if update_id == 115:
        feed(sync, diff(111, 115))
    sync.receive_snapshot(deep(update_id, best_bid=88))
    [book] = feed(sync, diff(update_id + 1, update_id + 5))
    assert book.floor == "69.0"


def test_a_refresh_that_is_too_old_is_asked_for_again_while_the_book_goes_on():
    sync, _ = near_the_edge()
    feed(sync, diff(111, 115))
    assert sync.receive_snapshot(deep(109, best_bid=88)) == [SnapshotRequest("BTCUSDT", 1)]
    assert sync.in_sync
    assert ranges(feed(sync, diff(116, 120))) == [(116, 120, "book")]
    sync.receive_snapshot(deep(110, best_bid=88))
    [book] = feed(sync, diff(121, 125))
    assert book.floor == "69.0"


def test_a_refresh_that_contradicts_the_book_is_counted_and_believed():
    sync, _ = near_the_edge()
    sync.receive_snapshot(deep(110, best_bid=88, changed=[("88.0", "777")]))
    assert sync.counts["refresh_mismatch"] == 1
    [book] = feed(sync, diff(111, 115))
    assert book.bids[0] == ["88.0", "777"]


def test_levels_beyond_the_refresh_are_kept():
    """The price came back up: what the old snapshot knew far below must not be forgotten."""
    sync, _ = near_the_edge()
    narrow = snapshot(110, [("88.0", "1"), ("87.0", "1")], [("101.0", "1"), ("102.0", "1")], complete=False)
    sync.receive_snapshot(narrow)
    [book] = feed(sync, diff(111, 115))
    assert (book.floor, book.ceiling) == ("81.0", "120.0")
    assert [price for price, _ in book.bids] == ["88.0", "87.0", "86.0"]


def test_a_refresh_does_not_follow_a_refresh_at_once():
    sync, _ = near_the_edge()
    sync.receive_snapshot(deep(110))
    time = START + 110_000
    soon = diff(111, 115, bids=removals(range(100, 81, -1)), time=time + REFRESH_PAUSE - 1)
    assert ranges(feed(sync, soon)) == [(111, 115, "book")]
    assert sync.counts["refresh"] == 1
    later = feed(sync, diff(116, 120, time=time + REFRESH_PAUSE))
    assert later[1:] == [SnapshotRequest("BTCUSDT", 0)]


def test_a_hole_while_a_refresh_waits_for_the_book_discards_it():
    sync, _ = near_the_edge()
    sync.receive_snapshot(deep(123, best_bid=88, changed=[("88.0", "777")]))
    assert feed(sync, diff(131, 135)) == [SnapshotRequest("BTCUSDT", 0)]
    outputs = sync.receive_snapshot(deep(130, best_bid=88))
    assert ranges(outputs) == [(111, 130, "missed_updates"), (131, 135, "book")]
    assert outputs[1].bids[0] == ["88.0", "1"]


def test_an_older_refresh_does_not_undo_what_came_after_it():
    """Snapshot 102, diffs 103 to 105, an older snapshot 104 late, then 106: the change of 105 survives."""
    sync = new_sync(levels=3)
    feed(sync, diff(103, 103))
    sync.receive_snapshot(deep(102))
    outputs = feed(sync, diff(104, 104, bids=removals(range(100, 88, -1))), diff(105, 105, bids=[("88.0", "5")]))
    assert SnapshotRequest("BTCUSDT", 0) in outputs
    sync.receive_snapshot(deep(104, best_bid=88))
    [book] = feed(sync, diff(106, 106))
    assert book.bids[0] == ["88.0", "5"]


# Everything at once


class SmallExchange:
    """A true book at every id, and a stream that drops, repeats, merges and delays what it sends.

    Snapshots reach six levels and are of any id that they could be of. Ids never begin anew here.
    """

    def __init__(self, seed):
        self.random = Random(seed)
        self.books = {10: ({100 - n: 1 for n in range(8)}, {101 + n: 1 for n in range(8)})}
        self.changes = {}
        self.last = 10
        self.sent = []
        self.now = START
        published = self.random.choice((None, 3, 9, 10))
        self.sync = new_sync(levels=4, published_id=published, published_time=START - 10**6)
        self.covered = published
        self.times = set()
        self.requests = 0

    def step(self):
        actions, weights = zip(*self.ACTIONS, strict=True)
        self.random.choices(actions, weights)[0](self)

    def recover(self):
        for _ in range(40):
            self.the_snapshot_comes(oldest=0)
            self.a_window_passes()
        assert self.sync.in_sync
        assert self.covered == self.sync.update_id == self.last

    # What happens

    def a_window_passes(self):
        self.sent.append((*self.next_window(), self.now))
        self.send(*self.sent[-1])

    def a_window_is_lost(self):
        self.next_window()

    def an_old_one_comes_again(self):
        if self.sent:
            self.send(*self.random.choice(self.sent[-4:]))

    def one_that_was_cut_in_another_way_comes(self):
        if self.sent and self.sync.in_sync:
            first, last, time = self.random.choice(self.sent[-3:])
            self.send(max(11, first - self.random.randrange(3)), min(last + self.random.randrange(4), self.last), time)

    def the_snapshot_comes(self, oldest=25):
        if not self.requests:
            return
        self.requests = 0
        update_id = max(10, self.last - int(oldest * self.random.random() ** 2))
        sides = [
            [[f"{price}.0", f"{side[price]}.0"] for price in sorted(side, reverse=sign > 0)[:6]]
            for sign, side in zip((1, -1), self.books[update_id], strict=True)
        ]
        complete = [len(side) < 6 for side in self.books[update_id]]
        self.take(self.sync.receive_snapshot(Snapshot(update_id, *sides, *complete)))

    def the_book_is_given_up(self):
        self.sync.lose(self.random.choice(("audit", "crossed")))

    def the_connection_is_gone(self):
        self.sync.expect_loss("disconnect")

    ACTIONS = (
        (a_window_passes, 20),
        (a_window_is_lost, 1),
        (an_old_one_comes_again, 2),
        (one_that_was_cut_in_another_way_comes, 2),
        (the_snapshot_comes, 6),
        (the_book_is_given_up, 0.5),
        (the_connection_is_gone, 0.3),
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
        quantity = 0 if crosses or (self.random.random() < 0.6 and len(side) > 5) else self.random.randrange(1, 9)
        side.pop(price, None)
        if quantity:
            side[price] = quantity
        self.last += 1
        self.books[self.last] = (bids, asks)
        self.changes[self.last] = (sign, price, quantity)

    def send(self, first, last, time):
        sides = {1: {}, -1: {}}
        for update_id in range(first, last + 1):
            sign, price, quantity = self.changes[update_id]
            sides[sign][price] = quantity
        bids, asks = ([(f"{price}.0", f"{quantity}.0") for price, quantity in sides[sign].items()] for sign in (1, -1))
        self.take(self.sync.receive_diff(diff(first, last, bids, asks, time=time), self.now))

    # What has to hold

    def take(self, outputs):
        for output in outputs:
            if isinstance(output, SnapshotRequest):
                self.requests += 1
                assert self.requests == 1, "a second request before the answer to the first"
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

    def compare(self, book):
        """Within its reach the book is the true one, and no two carry the same time."""
        assert book.event_time not in self.times
        self.times.add(book.event_time)
        for sign, side, rows in zip((1, -1), self.books[book.update_id], (book.bids, book.asks), strict=True):
            within = [price for price in side if float(book.floor or 0) <= price <= float(book.ceiling or 10**9)]
            best = sorted(within, reverse=sign > 0)[:4]
            assert rows[: len(best)] == [[f"{price}.0", f"{side[price]}.0"] for price in best]


@pytest.mark.parametrize("seed", range(40))
def test_every_id_is_covered_exactly_once_and_every_book_is_true(seed, monkeypatch):
    monkeypatch.setattr(depth_sync, "REFRESH_PAUSE", WINDOW)
    exchange = SmallExchange(seed)
    for _ in range(600):
        exchange.step()
    exchange.recover()
    assert exchange.sync.resyncs
    assert exchange.sync.counts["refresh"], "the reach was never left: this round shows less than it should"
