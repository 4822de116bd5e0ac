"""The book against a fresh snapshot of the same id, level by level over its whole reach; what a minute adds up to."""

import pytest

from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.book.minutes import MINUTE, Minutes
from crawler.book.order_book import OrderBook
from crawler.book.reach import Comparison, Reach, compare
from crawler.book.steps import Fact, SnapshotRequest
from fairprice.messages import Audit, Book

START = 1_789_000_020_000_000
SECOND = 1_000_000
"""`START` is the begin of a minute."""

DEPTH = 50
PUBLISHED = 5


def side(*, best, step, changed):
    levels = {f"{best + step * position}.0": "1.0" for position in range(DEPTH)} | dict(changed)
    ordered = sorted(levels.items(), key=lambda level: step * float(level[0]))
    return [[price, quantity] for price, quantity in ordered if quantity != "0"]


def snapshot(update_id, *, bids=(), asks=()):
    """A snapshot of fifty levels a side from 1000 and 1001 on, but for what has changed."""
    both = side(best=1000, step=-1, changed=bids), side(best=1001, step=1, changed=asks)
    return Snapshot("BTCUSDT", update_id, *both, bids_complete=False, asks_complete=False)


def diff(number, seconds, bids=()):
    return Diff("BTCUSDT", number, number, START + round(seconds * SECOND), [list(level) for level in bids], [])


def following(**options):
    """A feed with the book of id 100, made at `START`."""
    feed = Feed("binance", "BTCUSDT", "one", levels=PUBLISHED, is_alone=True, **options)
    feed.receive_diff(diff(100, 0), 0)
    [book] = feed.receive_snapshot(snapshot(99))
    assert isinstance(book, Book)
    return feed


def asked_at(feed, seconds):
    """Give a diff for each of these times and return those at which a snapshot was asked for."""
    return [
        each
        for number, each in enumerate(seconds, feed.sync.update_id + 1)
        if any(isinstance(output, SnapshotRequest) for output in feed.receive_diff(diff(number, each), 0))
    ]


def test_now_and_then_a_snapshot_is_asked_for_only_to_compare():
    feed = following(compare_seconds=600.0)
    [first] = asked_at(feed, range(1, 601))
    feed.receive_snapshot(snapshot(feed.sync.update_id))
    assert asked_at(feed, range(601, 1801)) == [first + 600]
    assert feed.sync.levels == {"match": 2 * DEPTH, "mismatch": 0}


@pytest.mark.slow
def test_symbols_take_turns():
    def first_of(symbol):
        feed = Feed("binance", symbol, "one", levels=PUBLISHED, is_alone=True, compare_seconds=600.0)
        feed.receive_diff(diff(100, 0), 0)
        feed.receive_snapshot(snapshot(99))
        return asked_at(feed, range(10, 601, 10))[0]

    assert len({(first_of(f"S{number}USDT") - 1) // 60 for number in range(100)}) == 10


def test_a_refusal_is_followed_by_another_try_but_not_at_once():
    feed = following(compare_seconds=600.0)
    [first] = asked_at(feed, range(1, 601))
    feed.receive_snapshot(snapshot(1))
    assert asked_at(feed, range(601, 605)) == [601]
    assert first < 600


def test_without_comparisons_none_is_asked_for():
    assert asked_at(following(compare_seconds=None), range(1, 10_000, 10)) == []
    assert asked_at(following(refreshes=False), range(1, 10_000, 10)) == []


@pytest.mark.parametrize(
    ("bids", "asks", "wrong"),
    [
        ([], [], 0),
        ([("951.0", "1.5")], [], 1),
        ([("960.0", "0")], [], 1),
        ([], [("1002.5", "3")], 1),
        ([("960.0", "1.00")], [], 0),
        ([("990.0", "7"), ("991.0", "0")], [("1050.0", "7")], 3),
    ],
)
def test_every_level_of_the_whole_reach_counts_however_deep(bids, asks, wrong):
    feed = following()
    outputs = feed.receive_snapshot(snapshot(100, bids=bids, asks=asks))
    assert [output.kind for output in outputs if isinstance(output, Fact)] == ["contradiction"] * bool(wrong)
    assert feed.sync.levels["mismatch"] == wrong
    assert 2 * DEPTH <= feed.sync.levels.total() <= 2 * DEPTH + 1
    [audit] = feed.take_audits(at_end=True)
    assert (audit.levels, audit.levels_wrong) == (feed.sync.levels.total(), wrong)


def test_what_only_one_of_the_two_reaches_is_not_compared():
    feed = following()
    further = snapshot(100, bids=[("940.0", "1")], asks=[("1060.0", "1")])
    assert feed.receive_snapshot(further) == []
    assert feed.sync.levels == {"match": 2 * DEPTH, "mismatch": 0}


def test_a_snapshot_that_is_older_than_the_book_is_compared_at_the_book_s_id():
    feed = following(compare_seconds=600.0)
    asked_at(feed, range(1, 601))
    last = feed.sync.update_id
    feed.receive_diff(diff(last + 1, 601, bids=[("990.0", "8.0")]), 0)
    assert feed.receive_snapshot(snapshot(last)) == []
    assert feed.sync.levels == {"match": 2 * DEPTH, "mismatch": 0}


def test_prices_and_quantities_are_compared_as_numbers_within_the_reach():
    book = OrderBook([["10.0", "1.0"], ["9.0", "2"]], [["11.0", "1"]], levels=1)
    other = OrderBook([["10", "1"], ["9.00", "2.5"]], [["11", "1.000"]], levels=1)
    assert compare(book, other, Reach(), Reach()) == Comparison(3, 1)
    assert compare(book, other, Reach(), Reach(floor="9.5")) == Comparison(2, 0)
    assert compare(book, other, Reach(floor="9.5"), Reach(ceiling="10.5")) == Comparison(1, 0)


# Minutes


def test_an_audit_is_told_once_its_minute_is_over():
    feed = following(compare_seconds=None)
    for number in range(101, 181):
        feed.receive_diff(diff(number, number - 100), 0)
        if number < 160:
            assert feed.take_audits() == []
    assert feed.take_audits() == [Audit("binance", "BTCUSDT", START, "one", 100, 159, 0, 0, 0, 0)]
    assert feed.take_audits() == []
    assert feed.take_audits(at_end=True) == [Audit("binance", "BTCUSDT", START + MINUTE, "one", 160, 180, 0, 0, 0, 0)]
    assert feed.take_audits(at_end=True) == []


def test_a_top_that_its_ticker_confirms_is_counted_and_one_that_it_contradicts_is_wrong():
    feed = following(compare_seconds=None)
    feed.receive_ticker(Ticker("BTCUSDT", 101, b"", lambda _: Top(["1000.0", "1.0"], ["1001.0", "1.0"])))
    feed.receive_diff(diff(101, 1), 0)
    feed.receive_ticker(Ticker("BTCUSDT", 102, b"", lambda _: Top(["1000.0", "9.0"], ["1001.0", "1.0"])))
    feed.receive_ticker(Ticker("BTCUSDT", 103, b"", lambda _: Top(["1000.0", "9.0"], ["1001.0", "1.0"])))
    feed.receive_diff(diff(102, 2), 0)
    [audit] = feed.take_audits(at_end=True)
    assert (audit.from_update_id, audit.to_update_id, audit.tops, audit.wrong) == (100, 101, 2, 1)


def test_what_comes_late_counts_for_the_later_minute():
    minutes = Minutes("binance", "BTCUSDT", "one")
    for time, number in ((START, 1), (START + MINUTE, 2), (START - 1, 3)):
        minutes.add_top(time, number, number, is_proven=True)
    first, second = minutes.take(at_end=True)
    assert (first.tops, second.tops, second.to_update_id) == (1, 2, 3)


def test_all_that_is_compared_in_a_minute_adds_up_from_the_first_id_on():
    minutes = Minutes("binance", "BTCUSDT", "one")
    for number in (1, 2):
        minutes.add_wrong_top(START, 10 * number)
        minutes.add_levels(START, 10 * number + 1, levels=5, wrong=2)
    minutes.add_levels(START + MINUTE, 30, levels=7, wrong=0)
    assert minutes.take() == [Audit("binance", "BTCUSDT", START, "one", 10, 10, 2, 2, 10, 4)]
    assert minutes.take(at_end=True) == [Audit("binance", "BTCUSDT", START + MINUTE, "one", 30, 30, 0, 0, 7, 0)]
    assert minutes.take(at_end=True) == []


@pytest.mark.parametrize("order", [(1, 2, 1), (2, 1, 2)])
def test_all_kinds_of_counts_begin_a_minute(order):
    minutes = Minutes("binance", "BTCUSDT", "one")
    for number, kind in enumerate(order):
        time = START + number * MINUTE
        if kind == 1:
            minutes.add_wrong_top(time, number)
        else:
            minutes.add_levels(time, number, 10, 3)
    audits = minutes.take(at_end=True)
    assert [audit.event_time for audit in audits] == [START, START + MINUTE, START + 2 * MINUTE]
    assert [audit.wrong or audit.levels_wrong for audit in audits] == [1 if kind == 1 else 3 for kind in order]


def test_a_price_below_one_is_compared_like_any_other():
    one, other = (OrderBook([["0.5", size]], [["0.7", "1"]], levels=5) for size in ("1", "2"))
    assert compare(one, other, Reach(), Reach()) == Comparison(levels=2, wrong=1)
