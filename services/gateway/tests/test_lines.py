"""What the gateway reads of a line without decoding it, against decoding."""

import pytest

from fairprice.errors import InvalidLine
from fairprice.messages import MAX_NAME, encode, join
from gateway.key import Key
from gateway.lines import apart, are_books, newest_books, read_fields, read_name, read_position

BTC, ETH = Key("binance", "BTCUSDT"), Key("binance", "ETHUSDT")


def test_a_message_of_nothing_but_books_is_told_apart(make):
    assert are_books(encode(make.book(1)))
    assert are_books(join(map(encode, (make.book(1), make.book(2)))))
    assert not are_books(join(map(encode, (make.book(1), make.gap(2)))))
    assert not are_books(b"")


def test_books_are_told_apart_from_what_else_a_message_holds(make):
    books, others = [encode(make.book(step)) for step in (1, 2)], [encode(make.gap(2)), b'{"type": "book"}']
    mixed = join([books[0], b"", others[0], books[1], others[1]])
    assert apart(mixed) == (join(books), join(others))
    assert apart(b"") == (b"", b"")


def test_the_last_book_of_each_symbol_is_found_from_the_end(make):
    books = [encode(make.book(step, symbol)) for step, symbol in ((1, "BTCUSDT"), (2, "ETHUSDT"), (3, "BTCUSDT"))]
    assert list(newest_books(join(books), 2)) == [(BTC, books[2]), (ETH, books[1])]


def test_no_more_is_read_than_the_symbols_that_a_message_holds(make):
    books = [encode(make.book(step)) for step in range(3)]
    assert list(newest_books(join([b"no book at all", *books]), 1)) == [(BTC, books[2])]


def test_lines_that_are_blank_or_have_no_name_are_passed_over(make):
    book = encode(make.book(1))
    assert list(newest_books(b"\n\n".join([book, b'{"type":"book"}', b""]), 1)) == [(BTC, book)]
    assert list(newest_books(b'{"type":"book","venue":"binance"}', 1)) == []
    assert list(newest_books(b"", 1)) == []


def test_fewer_symbols_than_promised_end_with_the_message(make):
    book = encode(make.book(1))
    assert list(newest_books(book, 5)) == [(BTC, book)]


def test_the_same_name_at_two_venues_is_two_symbols(make):
    spot, futures = encode(make.book(1)), encode(make.book(1, venue="binance-usdm"))
    assert [key.venue for key, _ in newest_books(join([spot, futures]), 2)] == ["binance-usdm", "binance"]


def test_time_and_id_of_a_book_are_found_or_it_has_no_position(make):
    book = make.book(7)
    assert read_position(encode(book)) == (book.event_time, book.update_id)
    assert read_position(encode(book).replace(b'"update_id"', b'"upset_id"')) is None
    assert read_position(encode(book).replace(b'"event_time"', b'"event_place"')) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'"text"'])
def test_what_is_no_object_is_refused(line):
    with pytest.raises(InvalidLine):
        read_fields(line)


def test_a_name_is_two_texts_of_a_bounded_length():
    longest = "x" * MAX_NAME
    assert read_name({"venue": "binance", "symbol": "BTCUSDT"}, b"") == BTC
    assert read_name({"venue": longest, "symbol": longest}, b"") == Key(longest, longest)
    for wrong in (None, "", 7, longest + "x"):
        for field in ("venue", "symbol"):
            with pytest.raises(InvalidLine):
                read_name({"venue": "binance", "symbol": "BTCUSDT", field: wrong}, b"")
