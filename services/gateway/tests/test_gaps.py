"""Which gaps are open, from the prices that were seen."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fairprice.gaps import uncovered
from fairprice.messages import Gap
from gateway.gaps import MAX_RANGES, Gaps


def gap(first, last, to_time=100):
    return Gap("binance", "BTCUSDT", first, last, to_time - 50, to_time, "disconnect")


def gaps(*events, most=200):
    """Gaps that have taken these: a gap, or the ids of a price."""
    taken = Gaps(most)
    for event in events:
        if isinstance(event, Gap):
            taken.take_claim(event)
        else:
            taken.take_range(*event)
    return taken


def open_ids(taken):
    return [each["open_ids"] for each in taken]


@each_row(
    ("case", "events", "expected"),
    [
        ("nobody had it", [gap(11, 20)], [10]),
        ("another crawler's prices came before", [(1, 15), (16, 30), gap(11, 20)], [0]),
        ("or come behind", [gap(11, 20), (11, 15), (16, 20)], [0]),
        ("a hole that both had", [(1, 10), gap(11, 20), (21, 30)], [10]),
        ("a part of it", [(1, 12), gap(11, 20), (21, 30), (19, 20)], [6]),
        ("ids that began anew", [(1, 2000), gap(1001, 9), (1, 2000)], [1]),
        ("and what follows them", [(1, 2000), gap(2001, 9), (10, 20), gap(21, 30), (31, 40)], [1, 10]),
        ("two that overlap", [gap(11, 20), gap(14, 25), (11, 20)], [0, 5]),
    ],
)
def test_only_ids_that_no_price_covers_are_open(case, events, expected):
    assert open_ids(gaps(*events)) == expected


def test_news_is_what_is_open_and_not_known():
    taken = gaps((1, 15))
    assert taken.take_claim(gap(11, 20))
    assert not taken.take_claim(gap(11, 20))
    assert not taken.take_claim(gap(3, 5))
    assert taken.open == 1
    assert taken.newest_open == {**vars(gap(11, 20)), "open_ids": 5}
    taken.take_range(16, 20)
    assert (taken.open, taken.newest_open) == (0, None)


def test_gaps_that_are_not_remembered_any_more_are_counted_as_they_were():
    taken = gaps(gap(11, 20), gap(31, 40), (11, 20), gap(51, 60), gap(71, 80), most=2)
    assert open_ids(taken) == [10, 10]
    assert taken.open == 3


def test_a_new_run_forgets_what_lies_behind_it_and_which_ids_were_covered():
    taken = gaps(gap(11, 20, 100), gap(31, 40, 200))
    taken.take_range(41, 90)
    taken.start_over(150)
    assert open_ids(taken) == [10]
    assert taken.take_claim(gap(51, 60, 170))


def test_ranges_are_bounded_and_the_highest_stay():
    taken = gaps(*((10 * n, 10 * n + 1) for n in range(MAX_RANGES + 5)))
    taken.take_claim(gap(1, 1))
    taken.take_claim(gap(10 * MAX_RANGES, 10 * MAX_RANGES + 1))
    assert open_ids(taken) == [1, 0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 12)), max_size=30))
def test_the_order_of_prices_and_gaps_does_not_matter(events):
    ranges = [(first, first + more) for is_gap, first, more in events if not is_gap]
    claims = list(dict.fromkeys((first, first + more) for is_gap, first, more in events if is_gap))
    taken = gaps(*(gap(first, first + more) if is_gap else (first, first + more) for is_gap, first, more in events))
    assert open_ids(taken) == [uncovered(first, last, ranges) for first, last in claims]
