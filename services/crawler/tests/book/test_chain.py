"""Event times that every crawler counts alike."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from crawler.book.chain import RECENT, TICK, Chain
from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot
from crawler.book.steps import Fact, SnapshotRequest
from fairprice.gaps import CLOCK_SLACK
from fairprice.messages import Book, Gap

START = 1_789_000_000_000_000
MS = 1000


def diff(first, last, milliseconds):
    return Diff("BTCUSDT", first, last, START + milliseconds * MS, [], [])


def diffs(*milliseconds):
    """Diffs of one id each, the first of them 1, with these times."""
    return [diff(n, n, time) for n, time in enumerate(milliseconds, 1)]


def followed(*chained):
    """The microseconds since `START` of each diff, None for an uncertain one."""
    chain = Chain()
    times = [chain.follow(each) for each in chained]
    return [each.event_time - START if each.is_certain else None for each in times]


def test_the_exchange_s_time_is_taken_where_it_moves_on():
    assert followed(*diffs(0, 100, 101, 350)) == [None, 100_000, 101_000, 350_000]


def test_pairs_and_triples_of_equal_times_are_counted_on_by_microseconds():
    assert followed(*diffs(0, 100, 100, 200, 200, 200, 201)) == [
        None, 100_000, 100_001, 200_000, 200_001, 200_002, 201_000,
    ]  # fmt: skip


def test_whoever_comes_among_equal_times_is_uncertain_until_they_move_on():
    assert followed(*diffs(100, 100, 100, 200, 200)) == [None, None, None, 200_000, 200_001]


def test_a_hole_makes_the_times_behind_it_uncertain_until_they_move_on():
    assert followed(*diffs(0, 100), diff(5, 5, 200), diff(6, 6, 200), diff(7, 7, 201)) == [
        None, 100_000, None, None, 201_000,
    ]  # fmt: skip


def test_the_time_before_a_diff_is_that_of_the_one_before_in_the_chain_also_over_a_hole():
    chain = Chain()
    times = [chain.follow(each) for each in (*diffs(0, 100, 100), diff(9, 9, 200))]
    assert times[0].previous_event_time is None
    assert [each.previous_event_time for each in times[1:]] == [START, START + 100_000, START + 100_001]


def test_an_overlap_continues_the_chain():
    assert followed(*diffs(0, 100), diff(1, 5, 200)) == [None, 100_000, 200_000]


def test_what_was_followed_already_is_uncertain_and_changes_nothing():
    assert followed(*diffs(0, 100, 100), diff(2, 3, 100), diff(4, 4, 100)) == [None, 100_000, 100_001, None, 100_002]


def test_a_clock_that_goes_back_a_little_is_waited_for():
    back = CLOCK_SLACK // MS
    assert followed(*diffs(0, 5000, 5000 - back, 4500, 5001)) == [None, 5_000_000, 5_000_001, 5_000_002, 5_001_000]


def test_a_clock_that_goes_back_by_more_than_a_second_is_followed_and_told_once():
    chain = Chain()
    times = [chain.follow(each) for each in diffs(0, 5000, 3999, 4099)]
    assert [each.event_time - START for each in times] == [0, 5_000_000, 3_999_000, 4_099_000]
    assert [each.set_back for each in times] == [0, 0, 1_001_000, 0]
    assert [each.is_certain for each in times] == [False, True, True, True]


def test_no_time_of_the_last_minute_comes_twice_when_the_clock_goes_back():
    """Time is the key in the store: it must not overwrite what was stored before."""
    there = list(range(0, RECENT * 100, 100))
    back = [time - 5000 for time in there[-50:]]
    chain = Chain()
    times = [chain.follow(each).event_time for each in diffs(*there, *back, *back)]
    assert len(set(times)) == len(times)


def test_ids_that_begin_anew_begin_a_chain_whose_times_are_new_too():
    chain = Chain()
    before = [chain.follow(each).event_time for each in diffs(0, 100, 200)]
    chain.restart()
    after = [chain.follow(each) for each in diffs(200, 200, 300)]
    assert [each.is_certain for each in after] == [False, False, True]
    assert after[0].previous_event_time is None
    assert not {each.event_time for each in after} & set(before)


def test_after_a_hole_a_clock_that_has_gone_back_is_certain_only_when_it_has_caught_up():
    """How many diffs were counted on by microseconds is not known, so long as they are."""
    assert followed(*diffs(0, 2000, 1600), diff(5, 5, 1700), diff(6, 6, 1800), diff(7, 7, 2001)) == [
        None, 2_000_000, 2_000_001, None, None, 2_001_000,
    ]  # fmt: skip


# Two crawlers


class Market(NamedTuple):
    """Diffs, and what another crawler has of them: all from `joins` on but those from `lost` to `found`."""

    diffs: list[Diff]
    joins: int
    lost: int
    found: int

    @property
    def received(self):
        return [each for n, each in enumerate(self.diffs) if n >= self.joins and not self.lost <= n < self.found]


@st.composite
def markets(draw, steps, *, latest_join):
    """Where the clock goes back it does so while both crawlers see it, and by less than a second."""
    count = draw(st.integers(4, 30))
    joins = draw(st.integers(0, min(latest_join, count - 1)))
    lost = draw(st.integers(joins + 1, count))
    found = draw(st.integers(lost, count))
    made, last, time, latest = [], 100, 0, 0
    for n in range(count):
        is_seen = not lost <= n <= found
        time = max(time + draw(steps), latest - is_seen * CLOCK_SLACK // MS // 2)
        latest = max(latest, time)
        first, last = last + 1, last + draw(st.integers(1, 3))
        made.append(diff(first, last, time))
    return Market(made, joins, lost, found)


class Crawler:
    """A feed and its answers to requests for snapshots, as old as anything allows."""

    def __init__(self, data):
        self.feed = Feed("binance", "BTCUSDT", "one", levels=5)
        self.books, self.gaps, self.facts = [], [], []
        self._data = data
        self._asked = False

    def receive(self, each):
        self._take(self.feed.receive_diff(each, 0))
        if self._asked and self._data.draw(st.booleans(), label="the snapshot comes"):
            self._asked = False
            oldest, newest = self.feed.sync.first_at_hand - 1, self.feed.sync.newest_id + 1
            update_id = self._data.draw(st.integers(oldest, newest), label="snapshot")
            self._take(self.feed.receive_snapshot(Snapshot("BTCUSDT", update_id, [["1.0", "1"]], [["2.0", "1"]],
                                                           bids_complete=True, asks_complete=True)))  # fmt: skip

    def _take(self, outputs):
        for output in outputs:
            self._asked |= isinstance(output, SnapshotRequest)
            for kind, kept in ((Book, self.books), (Gap, self.gaps), (Fact, self.facts)):
                if isinstance(output, kind):
                    kept.append(output)

    @property
    def keys(self):
        return {book.update_id: book.event_time for book in self.books}

    @property
    def samples(self):
        """The books that are the first of their interval."""
        interval = 100 * MS
        return {book.update_id for book in self.books
                if book.event_time // interval != book.previous_event_time // interval}  # fmt: skip


def crawl(market, data):
    one, two = Crawler(data), Crawler(data)
    for each in market.diffs:
        one.receive(each)
    for each in market.received:
        two.receive(each)
    return one, two


def assert_alike(one, two):
    both = one.keys.keys() & two.keys.keys()
    assert {each: one.keys[each] for each in both} == {each: two.keys[each] for each in both}
    assert one.samples & both == two.samples & both
    owners = {}
    for update_id, time in (*one.keys.items(), *two.keys.items()):
        assert owners.setdefault(time, update_id) == update_id, "a row in another one's place"
    for crawler in (one, two):
        assert all(before.event_time < after.event_time for before, after in pairwise(crawler.books))
        covered = sorted((each.first_update_id, each.update_id) for each in crawler.books)
        covered += [(each.from_update_id, each.to_update_id) for each in crawler.gaps]
        assert all(after[0] == before[1] + 1 for before, after in pairwise(sorted(covered)))
    return both


FORWARD = st.sampled_from((0, 0, 0, 1, 100, 100))


@given(markets(FORWARD, latest_join=30), st.data())
def test_two_crawlers_give_the_same_keys_wherever_one_joins_or_misses_something(market, data):
    one, two = crawl(market, data)
    assert_alike(one, two)


@given(markets(st.sampled_from((0, 0, 1, 100, 100, -300, -700, 1500)), latest_join=0), st.data())
def test_two_crawlers_give_the_same_keys_though_the_clock_goes_back_a_little_and_one_misses_something(market, data):
    one, two = crawl(market, data)
    assert_alike(one, two)


@each_row("equal", [1, 2, 3])
@each_row("joins", range(12))
def test_a_crawler_that_joins_late_publishes_what_follows_its_snapshot_and_the_next_time(equal, joins):
    """No more is left out than the diffs whose time nobody can know: those of the moment in which it came."""
    made = diffs(*(100 * (n // equal) for n in range(24)))
    feed = Feed("binance", "BTCUSDT", "two", levels=5)
    outputs = list(feed.receive_diff(made[joins], 0))
    outputs += feed.receive_snapshot(Snapshot("BTCUSDT", made[joins].update_id, [["1.0", "1"]], [["2.0", "1"]],
                                              bids_complete=True, asks_complete=True))  # fmt: skip
    for each in made[joins + 1 :]:
        outputs += feed.receive_diff(each, 0)
    books = [output for output in outputs if isinstance(output, Book)]
    later = [each for each in made[joins + 1 :] if each.event_time >= made[joins].event_time + TICK]
    assert [book.update_id for book in books] == [each.update_id for each in later]


def whole_snapshot(update_id):
    return Snapshot("BTCUSDT", update_id, [["1.0", "1"]], [["2.0", "1"]], bids_complete=True, asks_complete=True)


def test_diffs_that_a_snapshot_holds_already_count_for_what_follows_it():
    """A book of the moment that follows the snapshot is published, and under the time that everybody gives it."""
    feed = Feed("binance", "BTCUSDT", "two", levels=5)
    first, *behind, last = diffs(0, 100, 200, 200, 200)
    feed.receive_diff(first, 0)
    feed.receive_snapshot(whole_snapshot(4))
    assert [output for each in behind for output in feed.receive_diff(each, 0)] == []
    [book] = feed.receive_diff(last, 0)
    assert (book.event_time, book.previous_event_time) == (START + 200_002, START + 200_001)


def test_diffs_that_are_given_up_with_their_book_count_for_what_follows():
    feed = Feed("binance", "BTCUSDT", "two", levels=5)
    for each in diffs(0, 100, 200, 200):
        feed.receive_diff(each, 0)
    feed.sync.lose("audit")
    feed.receive_diff(diff(5, 5, 200), 0)
    [book] = feed.receive_snapshot(whole_snapshot(4))
    assert (book.event_time, book.previous_event_time) == (START + 200_002, START + 200_001)


def test_a_clock_that_goes_back_is_a_fact_and_counted():
    feed = Feed("binance", "BTCUSDT", "one", levels=5)
    outputs = [output for each in diffs(0, 5000, 3000, 3100) for output in feed.receive_diff(each, 0)]
    snapshot = Snapshot("BTCUSDT", 1, [["1.0", "1"]], [["2.0", "1"]], bids_complete=True, asks_complete=True)
    outputs += feed.receive_snapshot(snapshot)
    assert [each.kind for each in outputs if isinstance(each, Fact)] == ["clock_back"]
    assert feed.sync.clock_back == 1
    assert feed.receive_diff(diff(5, 5, 3200), 0)[0].event_time == START + 3_200_000


def test_less_than_a_tick_behind_a_hole_is_still_uncertain():
    within, at = (
        Diff("BTCUSDT", each, each, START + 200_000 + later, [], []) for each, later in ((6, TICK - 1), (7, TICK))
    )
    assert followed(*diffs(0, 100), diff(5, 5, 200), within, at) == [None, 100_000, None, None, 200_000 + TICK]


def test_a_time_that_a_clock_that_was_set_back_brings_again_is_counted_on_by_one():
    back = CLOCK_SLACK // MS + 1
    assert followed(*diffs(0, 100, 100 + back, 100, 100 + back)) == [
        None, 100_000, 100_000 + back * MS, 100_001, 100_001 + back * MS,
    ]  # fmt: skip
