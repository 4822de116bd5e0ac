"""Which books are copies of what was priced."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.copies import Copies
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


@pytest.mark.parametrize(
    ("changes", "is_copy"),
    [
        pytest.param({}, True, id="again"),
        pytest.param({"crawler": "b", "floor": "99"}, True, id="another crawler's"),
        pytest.param({"first_update_id": 13}, True, id="with fewer ids"),
        pytest.param({"first_update_id": 10}, False, id="an id more in front"),
        pytest.param({"update_id": 16}, False, id="an id more at the end"),
        pytest.param({"event_time": 1001}, False, id="of another row, also where its ids are old: they began anew"),
        pytest.param({"symbol": "ETHUSDT"}, False, id="of another symbol"),
        pytest.param({"venue": "binance-usdm"}, False, id="of another venue"),
    ],
)
def test_a_copy_has_the_key_of_a_row_and_adds_no_id_to_it(changes, is_copy):
    assert priced(BOOK).is_copy(replace(BOOK, **changes)) is is_copy


def test_a_copy_that_brings_a_model_where_the_row_has_none_is_none():
    learnt = replace(BOOK, model=MODEL)
    assert not priced(BOOK).is_copy(learnt)
    copies = priced(BOOK, learnt)
    assert copies.is_copy(BOOK)
    assert copies.is_copy(learnt)
    assert not copies.is_copy(replace(learnt, update_id=16))


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


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(0, 5)), max_size=40))
def test_every_id_that_is_passed_over_is_in_a_row_that_stands(drawn):
    """Rows as a store keeps them: the last of a key takes the place of those before."""
    copies, rows = Copies(), {}
    for time, first, more in drawn:
        book = replace(BOOK, event_time=time, first_update_id=first, update_id=first + more)
        ids = range(first, first + more + 1)
        if copies.is_copy(book):
            assert set(ids) <= set(rows[time])
        else:
            copies.add(book)
            rows[time] = ids
