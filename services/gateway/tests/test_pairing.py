"""Books and prices of one symbol find each other, whichever comes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.key import Key
from gateway.lines import read_position
from gateway.pairing import Pairing
from gateway.quote import Quote


def quote(step):
    return Quote(Key("binance", "BTCUSDT"), step * 100, step, step, "ok", 1.0, 1.0, 1.0, 0.0, 0.0, b"price %d" % step)


def take(pairing, kind, step):
    if kind == "price":
        pairing.take_quote(quote(step), 0.0)
    else:
        pairing.take_book((step * 100, step), b"book %d" % step, 0.0)


def newest(pairing):
    pair = pairing.newest
    return pair and (pair.quote.update_id, int(pair.book.split()[1]))


@pytest.mark.parametrize("order", [("book", "price"), ("price", "book")])
def test_a_book_and_its_price_are_a_pair_in_either_order(order):
    pairing = Pairing()
    for step in range(1, 4):
        take(pairing, order[0], step)
        take(pairing, order[1], step)
        assert newest(pairing) == (step, step)


@pytest.mark.parametrize("lag", [1, 5, 15, 16, 17, 100])
def test_prices_may_be_late_by_any_number_of_books(lag):
    pairing = Pairing()
    found = set()
    for step in range(1, 500):
        take(pairing, "book", step)
        if step > lag:
            take(pairing, "price", step - lag)
            found.add(newest(pairing))
    found.discard(None)
    assert len(found) >= (499 - lag) * min(1, 8 / lag)
    assert all(price == book for price, book in found)


@pytest.mark.parametrize("lag", [1, 5, 15])
def test_books_may_be_late_and_skip_some(lag):
    pairing = Pairing()
    for step in range(1, 200):
        take(pairing, "price", step)
        if step > lag and step % 3 == 0:
            take(pairing, "book", step - lag)
            assert newest(pairing) == (step - lag, step - lag)


def test_books_of_a_second_crawler_that_come_late_change_nothing():
    pairing = Pairing()
    for step in (1, 2, 3, 4):
        take(pairing, "book", step)
        take(pairing, "price", step)
    for step in (1, 2, 3, 4):
        take(pairing, "book", step)
        assert newest(pairing) == (4, 4)


@given(st.lists(st.tuples(st.sampled_from(["book", "price"]), st.integers(0, 40)), max_size=200))
def test_whatever_comes_a_pair_is_of_one_update_and_never_goes_back(events):
    pairing = Pairing()
    last, newest_price = (0, 0), -1
    for kind, step in events:
        if kind == "price":  # a price that is no news is not handed on
            if step <= newest_price:
                continue
            newest_price = step
        take(pairing, kind, step)
        if now := newest(pairing):
            assert now[0] == now[1]
            assert now >= last
            last = now
        assert len(pairing._books) <= 16
        assert len(pairing._quotes) <= 16


def test_the_position_of_a_book_is_read_without_decoding_it():
    line = b'{"first_update_id":5,"update_id": 9,"previous_event_time":1,"event_time":7,"bids":[]}'
    assert read_position(line) == (7, 9)
    assert read_position(b'{"first_update_id":5,"previous_event_time":1}') is None
