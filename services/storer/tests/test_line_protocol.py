"""Points as line protocol, read back by a parser that was written from the specification."""

import re

import pytest
from exchange_data import START, book, gap, price
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from storer.line_protocol import EARLIEST, LATEST, encode
from storer.measurements import Point, fair_price_point, gap_point, order_book_point

BLANK = re.compile(r'(?<!\\) (?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)')
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def parse(line: bytes) -> tuple[str, dict[str, str], dict[str, object], int]:
    """Return measurement, tags, fields and time."""
    series, fields, time = BLANK.split(line.decode())
    measurement, *tags = re.split(r"(?<!\\),", series)
    pairs = [re.split(r"(?<!\\)=", tag) for tag in tags]
    values = {name: value(text) for name, text in FIELD.findall(fields)}
    return measurement, {name: re.sub(r"\\([,= ])", r"\1", text) for name, text in pairs}, values, int(time)


def value(text: str) -> object:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return int(text[:-1]) if text.endswith("i") else float(text)


def point(**fields: object) -> Point:
    return Point("fair_price", START, "binance", "BTCUSDT", fields)


def test_a_price_a_book_and_a_gap_are_lines_as_the_design_says():
    values = {"bid": 1.0, "ask": 2.5, "mid": None}
    assert encode(fair_price_point(price(3, values=values, priced_time=START + 5000))) == (
        b"fair_price,symbol=BTCUSDT,venue=binance price=3.25,bid=1.0,ask=2.5,first_update_id=3i,update_id=3i,"
        b'estimator="mid",status="ok",latency_ms=2.0 1723075200003000'
    )
    assert encode(order_book_point(book(7), 2)) == (
        b"order_book,symbol=BTCUSDT,venue=binance update_id=7i,bid_price_00=100.10000000,bid_size_00=7.000,"
        b"bid_price_01=99.10000000,bid_size_01=7.001,ask_price_00=101.2,ask_size_00=0.00000001,ask_size_01=0"
        b" 1723075200007000"
    )
    assert encode(gap_point(gap(9))) == (
        b'gap,symbol=BTCUSDT,venue=binance from_update_id=9i,to_update_id=14i,duration_ms=1.5,reason="sequence"'
        b",open_ids=6i 1723075200009005"
    )


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(NUMBERS, st.integers(-(2**63), 2**63 - 1), PRINTABLE, st.none())
DECIMALS = st.one_of(st.none(), st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True))
TAGS = st.from_regex(r"[^\s\x00-\x1f\x7f-\x9f\\]{1,20}", fullmatch=True).filter(str.isprintable)
POINTS = st.builds(
    Point, NAMES, st.integers(EARLIEST, LATEST), TAGS, TAGS, st.dictionaries(NAMES, VALUES, max_size=6),
    st.dictionaries(NAMES.map(str.upper), DECIMALS, max_size=6),
)  # fmt: skip


@pytest.mark.slow
@given(POINTS)
def test_what_is_read_back_is_what_was_written(given_point):
    fields = {name: value for name, value in given_point.fields.items() if value is not None}
    decimals = {name: float(text) for name, text in given_point.decimals.items() if text is not None}
    if not fields and not decimals:
        with pytest.raises(ValueError, match="no field"):
            encode(given_point)
        return
    measurement, tags, values, time = parse(encode(given_point))
    assert (measurement, time) == (given_point.measurement, given_point.time)
    assert tags == {"symbol": given_point.symbol, "venue": given_point.venue}
    assert values == fields | decimals
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in (fields | decimals).items()
    }


@given(NUMBERS)
def test_a_float_keeps_every_bit_and_needs_few_digits(number):
    text = encode(point(price=number)).split()[1].removeprefix(b"price=").decode()
    assert float(text).hex() == number.hex()
    assert len(text) <= 24


@each_row("text", ["a,b", "null", "a,null", 'say "no", or', "\\", "=", " ", "µ,π"])
def test_a_string_that_looks_like_something_else_stays_itself(text):
    assert parse(encode(point(status=text, price=1.0, update_id=2)))[2] == {
        "status": text,
        "price": 1.0,
        "update_id": 2,
    }


@each_row(
    ("fields", "reason"),
    [
        ({"price": float("nan")}, "nan is no number"),
        ({"price": float("inf")}, "inf is no number"),
        ({"price": float("-inf"), "status": "null"}, "inf is no number"),
        ({"update_id": 2**63}, "beyond the integers of 64 bits"),
        ({"update_id": 10**30}, "beyond the integers of 64 bits"),
        ({"update_id": -(2**63) - 1}, "beyond the integers of 64 bits"),
        ({"status": "two\nlines"}, "control character"),
        ({"status": "\x9b"}, "control character"),
        ({"status": "\ud800"}, "half a character"),
        ({"status": b"ok"}, "field 'status' is of the type bytes"),
        ({"locked": True}, "field 'locked' is of the type bool"),
        ({"a=1,b": 1.0}, "cannot be the name"),
        ({"": 1.0}, "cannot be the name"),
        ({}, "no field"),
        ({"price": None}, "no field"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        encode(point(**fields))


@each_row("tag", ["", "a\nb", "A\\", "A\\,B", "A\\=", "A\\ B", "\x00"])
def test_a_tag_that_cannot_be_kept_is_refused(tag):
    with pytest.raises(ValueError, match="cannot be a tag"):
        encode(Point("gap", START, "binance", tag, {"update_id": 1}))


@pytest.mark.parametrize("measurement", ["", "fair price", "#gap", "gap,a=b"])
def test_a_measurement_with_another_name_is_refused(measurement):
    with pytest.raises(ValueError, match="cannot be the name"):
        encode(Point(measurement, START, "binance", "BTCUSDT", {"update_id": 1}))


@each_row(
    "time",
    [0, -1, START // 1_000_000, START // 1000, START * 1000, EARLIEST - 1, LATEST + 1],
)
def test_a_time_that_cannot_be_meant_is_refused(time):
    with pytest.raises(ValueError, match="no time in microseconds"):
        encode(Point("gap", time, "binance", "BTCUSDT", {"update_id": 1}))


def test_the_first_and_the_last_time_are_taken():
    assert [parse(encode(Point("gap", time, "v", "S", {"a": 1})))[3] for time in (EARLIEST, LATEST)] == [
        EARLIEST,
        LATEST,
    ]
