"""Which ids of a gap are open, against the plain set of ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprice.gaps import claimed, uncovered

IDS = st.integers(0, 60)
RANGES = st.lists(st.tuples(IDS, IDS), max_size=12)


@given(st.tuples(IDS, IDS).map(sorted), RANGES)
def test_what_no_range_covers_is_what_a_set_of_ids_says(gap, ranges):
    first, last = gap
    covered = {each for begin, end in ranges for each in range(begin, end + 1)}
    assert uncovered(first, last, ranges) == len(set(range(first, last + 1)) - covered)


@given(st.tuples(IDS, IDS).map(sorted), RANGES, st.randoms())
def test_neither_the_order_of_rows_nor_their_repetition_matters(gap, ranges, random):
    shuffled = [*ranges, *ranges[:3]]
    random.shuffle(shuffled)
    assert uncovered(*gap, shuffled) == uncovered(*gap, ranges)


@given(st.tuples(IDS, IDS).map(sorted), RANGES, RANGES)
def test_more_rows_never_open_a_gap(gap, ranges, later):
    assert uncovered(*gap, ranges + later) <= uncovered(*gap, ranges) <= claimed(*gap)


@given(st.integers(1, 1 << 62), st.integers(1, 1000), RANGES)
def test_a_gap_that_runs_backwards_is_never_filled(first, by, ranges):
    assert uncovered(first, first - by, [*ranges, (0, 1 << 63)]) == claimed(first, first - by) == 1


@pytest.mark.parametrize(
    ("ranges", "open_ids"),
    [
        pytest.param([], 10, id="nobody"),
        pytest.param([(11, 20)], 0, id="exactly"),
        pytest.param([(1, 10), (21, 30)], 10, id="both neighbours"),
        pytest.param([(1, 11), (20, 30)], 8, id="over both edges"),
        pytest.param([(11, 14), (16, 20)], 1, id="all but one"),
        pytest.param([(16, 20), (1, 40)], 0, id="a range within another"),
    ],
)
def test_the_edges_belong_to_the_gap(ranges, open_ids):
    assert uncovered(11, 20, ranges) == open_ids


def test_a_gap_of_one_id_is_open_until_a_row_has_it():
    assert uncovered(11, 11, [(1, 10), (12, 20)]) == 1
    assert uncovered(11, 11, [(11, 11)]) == 0


def test_a_gap_claims_its_first_and_its_last_id():
    assert (claimed(11, 11), claimed(11, 20), claimed(11, 10), claimed(20, 11)) == (1, 10, 1, 1)
