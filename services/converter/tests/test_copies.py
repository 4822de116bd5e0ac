"""Which books are copies of what was priced."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from converter.copies import CUT_TIME, RUNS, Copies
from fairprice.messages import Book, Model

BOOK = Book("binance", "BTCUSDT", 11, 15, 1000, None, 1001, "a", [["100", "3"]], [["101", "1"]], None, None)


MODEL = Model(0, 0.5, 1.0, 2.0, 3.0, 4.0, 1195, 1190, 1150, 1100)


def priced(*books, **options):
    copies = Copies(**options)
    for each in books:
        copies.add(each)
    return copies


def test_nothing_is_a_copy_at_first():
    assert not Copies().is_copy(BOOK)


@each_row(
    ("case", "changes", "is_copy"),
    [
        ("again", {}, True),
        ("another crawler's", {"crawler": "b", "floor": "99"}, True),
        ("with fewer ids", {"first_update_id": 13}, True),
        ("an id more in front", {"first_update_id": 10}, False),
        ("an id more at the end", {"update_id": 16}, False),
        ("of another time: cut otherwise, with the same end", {"event_time": 1000 + CUT_TIME}, True),
        ("of another row, whose ids began anew", {"event_time": 1001 + CUT_TIME}, False),
        ("of another time, with an id more in front", {"event_time": 999, "first_update_id": 10}, False),
        ("of another time and state", {"event_time": 999, "update_id": 14}, False),
        ("of another symbol", {"symbol": "ETHUSDT"}, False),
        ("of another venue", {"venue": "binance-usdm"}, False),
    ],
)
def test_a_copy_has_the_key_of_a_row_and_adds_no_id_to_it(case, changes, is_copy):
    assert priced(BOOK).is_copy(replace(BOOK, **changes)) is is_copy


def test_a_copy_that_brings_a_model_where_the_row_has_none_is_none():
    learnt = replace(BOOK, model=MODEL)
    assert not priced(BOOK).is_copy(learnt)
    copies = priced(BOOK, learnt)
    assert copies.is_copy(BOOK)
    assert copies.is_copy(learnt)
    assert not copies.is_copy(replace(learnt, update_id=16))
    assert priced(BOOK).is_copy(replace(learnt, update_id=14)), "a later state stays without one"


def test_a_row_that_another_one_has_replaced_is_none_any_more():
    copies = priced(BOOK, replace(BOOK, first_update_id=1, update_id=5))
    assert not copies.is_copy(BOOK)


def test_after_what_was_published_is_unknown_nothing_is_a_copy():
    copies = priced(BOOK)
    copies.forget()
    assert not copies.is_copy(BOOK)


def test_the_newest_rows_of_the_symbols_heard_last_are_remembered():
    books = [replace(BOOK, event_time=n, symbol=symbol) for n in range(5) for symbol in ("A", "B")]
    copies = priced(*books, rows=3, symbols=2)
    assert [copies.is_copy(each) for each in books] == [False] * 4 + [True] * 6
    copies.add(replace(BOOK, symbol="A", event_time=9))
    copies.add(replace(BOOK, symbol="C"))
    assert [symbol for symbol in "ABC" if any(copies.is_copy(replace(BOOK, symbol=symbol, event_time=n))
                                              for n in (4, 1000))] == ["A", "C"]  # fmt: skip


def test_a_row_that_is_priced_again_is_among_the_newest():
    first, second, third = (replace(BOOK, event_time=time) for time in (1, 2, 3))
    copies = priced(first, second, first, third, rows=2)
    assert [copies.is_copy(each) for each in (first, second, third)] == [True, False, True]


def book_of(time, first, last):
    return replace(BOOK, event_time=time, first_update_id=first, update_id=last)


@pytest.mark.parametrize("other", [book_of(999, 11, 13), book_of(1001, 12, 13)])
def test_an_earlier_state_of_another_time_is_priced_and_one_of_the_same_time_gives_way(other):
    assert not priced(BOOK).is_copy(other)
    assert priced(BOOK).is_copy(replace(other, event_time=BOOK.event_time))


def test_a_row_that_takes_the_place_of_one_that_ends_sooner_begins_where_that_one_does():
    copies = priced(BOOK)
    assert copies.add(book_of(1000, 13, 18)) == 11
    assert copies.is_copy(BOOK)
    assert copies.add(book_of(1000, 19, 20)) == 11, "they touch"
    assert copies.add(book_of(2000, 21, 25)) == 21
    assert copies.add(book_of(1000, 24, 26)) == 11, "the other row covers what is between"
    assert copies.is_copy(book_of(3000, 21, 26))


def test_a_row_claims_no_ids_that_nobody_has_brought():
    copies = priced(BOOK)
    assert copies.add(book_of(1000, 17, 18)) == 17
    assert not copies.is_copy(BOOK)
    assert not copies.is_copy(book_of(1000, 16, 18))


def test_a_row_that_stands_tells_its_state_whatever_became_of_those_before_it():
    copies = priced(book_of(1000, 17, 19), book_of(1001, 20, 20), book_of(1000, 15, 17))
    assert copies.is_copy(book_of(1002, 20, 20))
    assert not copies.is_copy(book_of(1002, 19, 20)), "19 went with the row that was replaced"


def test_ids_that_nobody_has_priced_are_priced_under_the_time_of_a_later_state_too():
    copies = priced(BOOK)
    assert not copies.is_copy(book_of(1000, 9, 12))
    assert copies.add(book_of(1000, 9, 12)) == 9
    assert not copies.is_copy(BOOK)
    copies.add(book_of(2000, 14, 18))
    assert not copies.is_copy(book_of(2001, 13, 18)), "13 went with the row that was replaced"


def test_what_lies_before_a_hole_of_one_crawler_is_known_when_the_other_one_brings_it():
    copies = priced(book_of(1000, 11, 15), book_of(2000, 31, 35))
    assert copies.is_copy(book_of(1001, 13, 15)), "its server cuts otherwise"
    assert not copies.is_copy(book_of(1500, 16, 30))
    copies.add(book_of(1500, 16, 30))
    assert copies.is_copy(book_of(2001, 14, 35)), "what has filled the hole makes them one"


def test_so_many_runs_of_ids_are_known_the_newest_of_them():
    copies = priced(*(book_of(10 * run + more, 10 * run + more, 10 * run + more)
                      for run in range(RUNS + 1) for more in range(2)))  # fmt: skip
    both = [book_of(CUT_TIME, 10 * run, 10 * run + 1) for run in range(RUNS + 1)]
    assert [copies.is_copy(each) for each in both] == [False] + [True] * RUNS


def test_a_state_is_forgotten_with_its_row():
    copies = priced(*(book_of(time, 10 + time, 10 + time) for time in range(1, 5)), rows=3)
    assert [copies.is_copy(book_of(9, 10 + time, 10 + time)) for time in range(1, 5)] == [False, True, True, True]
    copies.add(book_of(3, 15, 15))
    assert not copies.is_copy(book_of(9, 13, 13)), "another one has its place"


class Store:
    """Rows as a store keeps them: the last of a key takes the place of those before."""

    def __init__(self):
        self.copies, self.rows, self.given = Copies(), {}, set()

    def take(self, time, first, last):
        book, ids = book_of(time, first, last), set(range(first, last + 1))
        self.given |= ids
        if self.copies.is_copy(book):
            assert ids <= self.covered()
        else:
            self.rows[time] = self.copies.add(book), last
        assert self.covered() <= self.given

    def covered(self):
        return {update_id for first, last in self.rows.values() for update_id in range(first, last + 1)}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(0, 5)), max_size=40))
def test_every_id_that_is_passed_over_is_in_a_row_that_stands_and_no_row_claims_what_nobody_gave(drawn):
    store = Store()
    for time, first, more in drawn:
        store.take(time * (CUT_TIME - 1), first, first + more)


CUTS = st.lists(st.integers(1, 4), min_size=1, max_size=12)


@given(cuts=st.tuples(CUTS, CUTS), late=st.integers(0, 3), order=st.lists(st.integers(0, 1), max_size=24))
def test_two_crawlers_on_servers_that_cut_otherwise_leave_no_hole_and_no_state_twice(cuts, late, order):
    """Ids tell the time, but for how late the second server is: its times are those of other ids at the first."""
    ends = [[sum(widths[:count]) for count in range(1, len(widths) + 1)] for widths in cuts]
    books = [
        [(10 * (end + late * number), begin + 1, end) for begin, end in pairwise([0, *ends])]
        for number, ends in enumerate(ends)
    ]
    store = Store()
    for number in [*order, *[0] * 12, *[1] * 12]:
        if books[number]:
            store.take(*books[number].pop(0))
    assert store.covered() == store.given == set(range(1, max(ends[0][-1], ends[1][-1]) + 1))
    told = [last for _, last in store.rows.values()]
    assert len(set(told)) == len(told)
