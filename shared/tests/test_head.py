"""What is told of a line by its beginning, against decoding it."""

from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from fairprice.head import Head, head_of
from fairprice.messages import Audit, Book, Gap, Price, Status, encode

BOOK = Book("binance", "BTCUSDT", 11, 15, 30, 20, 40, "a", [["1.5", "2"]], [], None, None)
PRICE = Price("binance", "BTCUSDT", 11, 15, 30, 40, 50, "mid", "ok", 1.5, {"bid": 1.25})
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
ids = st.integers(0, 2**63 - 1)


def test_a_book_and_a_price_are_named_by_their_heads():
    assert head_of(encode(BOOK)) == Head("book", "binance", "BTCUSDT", 11, 15, 30, 20)
    assert head_of(encode(replace(BOOK, previous_event_time=None))) == Head(
        "book", "binance", "BTCUSDT", 11, 15, 30, None
    )
    assert head_of(encode(PRICE)) == Head("price", "binance", "BTCUSDT", 11, 15, 30, None)


@given(st.tuples(names, names), st.tuples(ids, ids, ids), st.none() | ids)
def test_a_head_says_what_decoding_says_or_there_is_none(key, integers, previous):
    (venue, symbol), (first, last, time) = key, integers
    head = head_of(encode(replace(
        BOOK, venue=venue, symbol=symbol, first_update_id=first, update_id=last, event_time=time,
        previous_event_time=previous,
    )))  # fmt: skip
    is_usual = max(first, last, time, previous or 0) < 10**18 and not {*venue, *symbol} & {'"', "\\"}
    assert head == (Head("book", venue, symbol, first, last, time, previous) if is_usual else None)


@each_row(
    "line",
    [
        encode(Gap("binance", "BTCUSDT", 1, 2, 3, 4, "cut")),
        encode(Status("binance", "BTCUSDT", 1, "a", "BREAK", is_halted=True, problem=None)),
        encode(Audit("binance", "BTCUSDT", 1, "a", 1, 2, 3, 0, 0, 0)),
        encode(replace(BOOK, symbol="币安人生USDT")),
        b" " + encode(BOOK),
        encode(BOOK).replace(b'"BTCUSDT"', b'"BTC USDT"'),
        encode(BOOK).replace(b'"update_id":15', b'"update_id":015'),
        encode(BOOK).replace(b'"event_time":30', b'"event_time":-30'),
        encode(BOOK).replace(b'"event_time":30', b'"event_time":30.5'),
        orjson.dumps(BOOK, option=orjson.OPT_INDENT_2),
        orjson.dumps({"symbol": "BTCUSDT", **orjson.loads(encode(BOOK))}),
        b'{"type":"book"}',
        b"",
    ],
)
def test_what_is_written_otherwise_has_to_be_decoded(line):
    assert head_of(line) is None
