"""The wire: every event survives the way, and every bad line is told apart from its good neighbours."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from fairprice.errors import InvalidError, InvalidLine, InvalidMessage, UnknownLine
from fairprice.messages import (
    CONFIGURED_VALUE,
    DEPTH_VALUE,
    PRICE_VALUES,
    Audit,
    Book,
    Depth,
    Gap,
    Live,
    Model,
    Price,
    Quote,
    Start,
    Status,
    are_levels,
    check_type,
    decode,
    decode_but_levels,
    decode_line,
    encode,
    join,
    lines,
)

MODEL = Model(1_723_099_990_000_000, 1.25, -0.5, 0.0, 10.5, None, 1195, 1190, 1150, 0)
BOOK = Book(
    "binance", "BTCUSDT", 11, 15, 1_723_100_000_000_000, 1_723_099_999_900_000, 1_723_100_000_050_000, "crawler-1",
    [["57210.01000000", "0.50000000"], ["57210.00", "1"]], [["57210.02", "0.1"]], "57000.00", None, MODEL,
)  # fmt: skip
GAP = Gap("binance", "BTCUSDT", 16, 19, 1_723_100_000_000_000, 1_723_100_001_000_000, "disconnect")
VALUES: dict[str, float | None] = {name: position + 0.5 for position, name in enumerate(PRICE_VALUES)}
PRICE = Price(
    "binance", "BTCUSDT", 11, 15, 1, 2, 3, "weighted_mid", "ok", 57210.015,
    VALUES | {"depth_bid_10bps": 1.25, "depth_ask_2_5bps": None, "impact_bid_10000": 57209.0},
)  # fmt: skip
STATUS = Status(
    "binance",
    "BTCUSDT",
    1_723_100_000_000_000,
    "crawler-1",
    "BREAK",
    is_halted=True,
    problem="the exchange has halted it",
    model_time=1_723_100_120_000_000,
)
START = Start("binance", "BTCUSDT", 20, 23, 1_723_100_002_000_000, "crawler-1")
AUDIT = Audit("binance", "BTCUSDT", 1_723_100_040_000_000, "crawler-1", 11, 19, 8, 1, 2000, 0)
DEPTH = Depth(
    "binance", "BTCUSDT", 19, 1_723_100_040_000_000, "crawler-1", {"bid_quantity_5bps": 12.5, "ask_value_0_5bps": None}
)
QUOTE = Quote(
    "binance", "BTCUSDT", 11, 15, 1_723_100_000_000_000, 17, 1_723_100_000_070_000, "crawler-1",
    [["57210.01000000", "0.70000000"]], [["57210.02", "0.1"]], "57000.00", None, MODEL,
)  # fmt: skip
LIVE = Live(
    "binance", "BTCUSDT", 11, 15, 1, 17, 2, 3, "weighted_mid", "ok", 57210.015, QUOTE.bids, QUOTE.asks, PRICE.values,
)  # fmt: skip
EVENTS = {
    "book": BOOK, "gap": GAP, "price": PRICE, "status": STATUS, "audit": AUDIT, "depth": DEPTH, "quote": QUOTE,
    "live": LIVE, "start": START,
}  # fmt: skip

ids = st.integers(0, 2**63 - 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64) | st.just("币安人生USDT")
digits = st.text("0123456789", min_size=1, max_size=40)
decimals = digits | st.builds("{}.{}".format, digits, digits)
levels = st.lists(st.lists(decimals, min_size=2, max_size=2), max_size=20)
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)
reals = st.floats(-1e100, 1e100)
sizes = st.none() | st.floats(0, 1e100)
models = st.builds(Model, ids, reals, reals, reals, sizes, sizes, ids, ids, ids, ids)
configured = st.from_regex(CONFIGURED_VALUE, fullmatch=True).filter(lambda name: name.isascii() and len(name) <= 64)
depth_values = st.from_regex(DEPTH_VALUE, fullmatch=True).filter(str.isascii)
price_values = st.builds(
    dict.__or__,
    st.fixed_dictionaries(dict.fromkeys(PRICE_VALUES, floats)),
    st.dictionaries(configured, floats, max_size=3),
)
trusted = st.sampled_from(["ok", "locked"])
finite = st.floats(allow_nan=False, allow_infinity=False)

events = st.one_of(
    st.builds(
        Book, names, names, ids, ids, ids, st.none() | ids, ids, names, levels, levels,
        st.none() | decimals, st.none() | decimals, st.none() | models,
    ),
    st.builds(Gap, names, names, ids, ids, ids, ids, names),
    st.builds(Start, names, names, ids, ids, ids, names),
    st.builds(Audit, names, names, ids, names, ids, ids, ids, ids, ids, ids),
    st.builds(Depth, names, names, ids, ids, names, st.dictionaries(depth_values, floats, max_size=3)),
    st.builds(Status, names, names, ids, names, names, st.booleans(), st.none() | st.text(max_size=200),
              st.none() | ids),
    st.builds(
        Price, names, names, ids, ids, ids, ids, st.none() | ids, names, trusted, finite, price_values,
    ),
    st.builds(
        Quote, names, names, ids, ids, ids, ids, ids, names, levels, levels, st.none() | decimals,
        st.none() | decimals, st.none() | models,
    ),
    st.builds(
        Live, names, names, ids, ids, ids, ids, ids, st.none() | ids, names, trusted, finite, levels, levels,
        price_values,
    ),
)  # fmt: skip


def fields(event: Book | Gap | Price) -> dict[str, object]:
    return orjson.loads(encode(event))


def line_with(event: Book | Gap | Price, **changes: object) -> bytes:
    return orjson.dumps(fields(event) | changes)


def line_with_raw(event: Book | Gap | Price, field: str, raw: bytes) -> bytes:
    """Write JSON that no encoder of ours would: `raw` in place of the field's value."""
    return line_with(event, **{field: "PLACE"}).replace(b'"PLACE"', raw)


def reason(line: bytes) -> str:
    with pytest.raises(InvalidLine) as raised:
        decode_line(line)
    assert raised.value.line == line
    return raised.value.reason


# ---- good lines


@given(events)
def test_every_event_survives_the_way(event):
    line = encode(event)
    assert b"\n" not in line
    assert decode_line(line) == event


@settings(max_examples=30)
@given(st.lists(events, max_size=6))
def test_a_body_brings_its_events_in_order(sent):
    assert list(decode(join(map(encode, sent)))) == sent


def test_a_book_on_the_wire_has_the_fields_of_the_contract_and_prices_as_the_exchange_sent_them():
    assert fields(BOOK) == {
        "type": "book",
        "venue": "binance",
        "symbol": "BTCUSDT",
        "first_update_id": 11,
        "update_id": 15,
        "event_time": 1_723_100_000_000_000,
        "previous_event_time": 1_723_099_999_900_000,
        "received_time": 1_723_100_000_050_000,
        "crawler": "crawler-1",
        "bids": [["57210.01000000", "0.50000000"], ["57210.00", "1"]],
        "asks": [["57210.02", "0.1"]],
        "floor": "57000.00",
        "ceiling": None,
        "model": {
            "block": 1_723_099_990_000_000,
            "beta_500ms": 1.25,
            "beta_1s": -0.5,
            "beta_5s": 0.0,
            "half_width_1s": 10.5,
            "half_width_10s": None,
            "observations_500ms": 1195,
            "observations_1s": 1190,
            "observations_5s": 1150,
            "observations_10s": 0,
        },
    }


def test_a_book_of_an_older_crawler_has_no_model():
    older = fields(BOOK)
    del older["model"]
    assert decode_line(orjson.dumps(older)) == replace(BOOK, model=None)
    assert decode_line(line_with(BOOK, model=None)) == replace(BOOK, model=None)


def test_a_status_of_an_older_crawler_tells_nothing_of_a_model():
    older = fields(STATUS)
    del older["model_time"]
    assert decode_line(orjson.dumps(older)) == replace(STATUS, model_time=None)


def test_a_gap_on_the_wire_has_the_fields_of_the_contract():
    assert fields(GAP) == {"type": "gap"} | asdict(GAP)


def test_a_status_on_the_wire_has_the_fields_of_the_contract():
    assert fields(STATUS) == {"type": "status"} | asdict(STATUS)
    assert fields(AUDIT) == {"type": "audit"} | asdict(AUDIT)


def test_a_depth_on_the_wire_is_flat_and_others_fields_are_ignored():
    flat = {name: value for name, value in asdict(DEPTH).items() if name != "values"}
    assert fields(DEPTH) == {"type": "depth"} | flat | DEPTH.values
    assert decode_line(orjson.dumps(fields(DEPTH) | {"bid_quantity_far": 1, "new": "x"})) == DEPTH


def test_a_price_on_the_wire_is_flat_and_its_values_are_numbers():
    flat = fields(PRICE)
    assert flat["type"] == "price"
    assert {name: flat[name] for name in PRICE.values} == PRICE.values
    assert "values" not in flat


def test_a_value_that_is_no_number_is_never_written_as_one():
    line = encode(replace(PRICE, values=VALUES | {"mid": math.nan, "bid": math.inf}))
    assert orjson.loads(line)["mid"] is None
    assert orjson.loads(line)["bid"] is None


@each_row("event", EVENTS.values())
def test_unknown_fields_are_ignored(event):
    assert decode_line(line_with(event, colour="red", depth=[{}], values={"x": 1}, depth_bid_xbps="?")) == event


def test_a_whole_number_is_a_number_too():
    assert decode_line(line_with(PRICE, price=57210, mid=0)).values["mid"] == 0.0


@pytest.mark.parametrize("field", ["previous_event_time", "floor", "ceiling"])
def test_what_a_book_may_not_know_is_null(field):
    assert getattr(decode_line(line_with(BOOK, **{field: None})), field) is None


def test_a_price_without_a_status_of_its_own_is_null():
    price = replace(PRICE, status="no_bids", price=None, values=dict.fromkeys(PRICE_VALUES))
    assert decode_line(encode(price)) == price


def test_a_side_may_be_empty():
    assert decode_line(line_with(BOOK, bids=[])).bids == []


# ---- bad lines and their neighbours


@pytest.mark.parametrize("body", [b"", b"\n", b"\n\n\n"])
def test_an_empty_body_holds_nothing(body):
    assert list(decode(body)) == []


def test_blank_lines_between_events_are_skipped():
    assert list(decode(b"\n" + encode(BOOK) + b"\n\n" + encode(GAP) + b"\n")) == [BOOK, GAP]


@given(st.binary(max_size=60).map(lambda junk: junk.replace(b"\n", b" ")))
def test_a_bad_line_never_harms_its_neighbours(junk):
    found = list(decode(join([encode(BOOK), b"!" + junk, encode(PRICE)])))
    assert found[0] == BOOK
    assert isinstance(found[1], InvalidLine)
    assert found[1].line == b"!" + junk
    assert found[2] == PRICE


@given(st.binary(max_size=300))
def test_no_body_whatever_raises(body):
    for found in decode(body):
        assert isinstance(found, InvalidLine)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(list(EVENTS.values())), st.data())
def test_no_value_of_any_field_does_anything_but_decode_or_make_the_line_invalid(event, data):
    field = data.draw(st.sampled_from(sorted(fields(event))))
    value = data.draw(json_values)
    try:
        line = orjson.dumps(fields(event) | {field: value})
    except TypeError:  # an integer beyond 64 bits
        return
    (found,) = decode(line)
    if isinstance(found, Book):
        for price, quantity in found.bids + found.asks:
            assert float(price) >= 0
            assert float(quantity) >= 0


@pytest.mark.parametrize(
    "line", [b"{", b"book", b'{"type":"book"', encode(BOOK)[:-1], encode(BOOK) + b"}", b"\xff\xfe"]
)
def test_what_is_no_json_is_invalid(line):
    assert reason(line).startswith("not JSON")


@each_row("line", [b"[]", b"1", b"null", b'"book"', b'["type"]', b"true", b'[{"type":"book"}]'])
def test_what_is_no_object_is_invalid(line):
    assert reason(line) == "not a JSON object"


@pytest.mark.parametrize("depth", [100, 100_000])
def test_nesting_without_end_is_invalid(depth):
    assert reason(b'{"type":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize("kind", ["trade", "Book", "venue", "type"])
def test_an_unknown_type_is_named_and_told_apart_from_what_is_wrong(kind):
    with pytest.raises(UnknownLine, match=f"unknown type '{kind}'"):
        decode_line(line_with(BOOK, type=kind))


@each_row("kind", ["", "book ", None, 1, True, ["book"], "x" * 65])
def test_a_type_that_is_no_name_at_all_is_invalid(kind):
    line = line_with(BOOK, type=kind)
    assert reason(line).startswith("field 'type' is no name")
    (found,) = decode(line)
    assert type(found) is InvalidLine


def test_a_line_without_a_type_is_invalid():
    assert reason(b'{"venue":"binance"}') == "field 'type' is missing"


def may_be_absent(field):
    is_named_by_settings = CONFIGURED_VALUE.fullmatch(field) or DEPTH_VALUE.fullmatch(field)
    return field in PRICE_VALUES or field in {"model", "model_time"} or is_named_by_settings


@each_row(
    ("event", "field"),
    [(event, field) for event in EVENTS.values() for field in fields(event) if not may_be_absent(field)],
)
def test_a_missing_field_is_named(event, field):
    incomplete = fields(event)
    del incomplete[field]
    assert reason(orjson.dumps(incomplete)) == f"field {field!r} is missing"


@each_row("field", asdict(MODEL))
def test_a_field_that_a_model_lacks_is_named(field):
    model = {name: value for name, value in asdict(MODEL).items() if name != field}
    assert reason(line_with(BOOK, model=model)) == f"field {field!r} is missing"


@each_row(
    ("field", "value", "said"),
    [
        ("block", -1, "field 'block' is no integer"),
        ("observations_1s", 1.5, "field 'observations_1s' is no integer"),
        ("beta_1s", None, "field 'beta_1s' is no number from -1e100 to 1e100: None"),
        ("beta_1s", "1", "field 'beta_1s' is neither a number"),
        ("beta_1s", -1.1e100, "field 'beta_1s' is no number from -1e100"),
        ("half_width_10s", 1.1e100, "field 'half_width_10s' is no number from -1e100"),
        ("half_width_1s", -0.1, "field 'half_width_1s' is negative: -0.1"),
    ],
)
def test_what_is_wrong_in_a_model_is_told(field, value, said):
    assert reason(line_with(BOOK, model=asdict(MODEL) | {field: value})).startswith(said)


def test_a_model_is_an_object_and_may_hold_what_later_versions_add():
    assert decode_line(line_with(BOOK, model=asdict(MODEL) | {"beta_1m": 3})) == BOOK
    assert reason(line_with(BOOK, model=[1])) == "field 'model' is no object: [1]"


NO_INTEGER = ["1", True, 1.0, -1, 2**63, 2**64 - 1, [1], {}, "\u0661"]


def test_the_longest_name_the_longest_text_and_the_outermost_integers_are_taken():
    book = decode_line(line_with(BOOK, venue="x" * 64, first_update_id=0, update_id=2**63 - 1))
    assert (book.venue, book.first_update_id, book.update_id) == ("x" * 64, 0, 2**63 - 1)
    assert decode_line(line_with(STATUS, problem="x" * 1000)).problem == "x" * 1000


NO_NAME = ["", "two words", "tab\t", "nul\x00", "bell\x07", "delete\x7f", "next\x85", "c1\x9b", "nbsp\xa0", "x" * 65]
NO_NAME += [5, ["binance"], True, "line\nend"]
NO_DECIMAL = [
    "",
    "-1",
    "+1",
    "1e5",
    "1.",
    ".5",
    "1.2.3",
    "NaN",
    "inf",
    "\u0661\u0662",
    "1,5",
    " 1",
    "1 ",
    "0x1",
    "1_000",
    "1\n",
]
NO_DECIMAL += [1, 1.5, True, ["1"], "1" * 41, "0." + "1" * 41, "1|2"]
NO_NUMBER = ["1.5", True, False, [], {}, "NaN", ""]
NO_LEVELS = [
    "12", {}, 1, None, True, {"1": "2"},
    ["12", "34"], [{"1": 0, "2": 0}], [None], [1],
    [[]], [["1"]], [["1", "2", "3"]], [["1"], ["1", "2", "3"]],
    [[1, 2]], [["1", None]], [["1", 2.0]], [["1", ["2"]]], [[["1", "2"]]],
    [["1|2", "3"]], [["1|2", "3|4"]], [["1|2"]],
    *([["1", text]] for text in NO_DECIMAL), *([[text, "1"]] for text in NO_DECIMAL),
]  # fmt: skip


def cases(event, names, values):
    return [(event, name, values) for name in names]


@each_row(
    ("event", "field", "values"),
    [
        *cases(BOOK, ("first_update_id", "update_id", "event_time", "received_time"), [*NO_INTEGER, None]),
        *cases(BOOK, ("previous_event_time",), NO_INTEGER),
        *cases(GAP, ("from_update_id", "to_update_id", "from_time", "to_time"), [*NO_INTEGER, None]),
        *cases(START, ("first_update_id", "update_id", "event_time"), [*NO_INTEGER, None]),
        *cases(AUDIT, ("event_time", "tops", "wrong", "levels", "levels_wrong"), [*NO_INTEGER, None]),
        *cases(PRICE, ("update_id", "received_time"), [*NO_INTEGER, None]),
        *cases(PRICE, ("priced_time",), NO_INTEGER),
        *cases(BOOK, ("venue", "symbol", "crawler"), [*NO_NAME, None]),
        *cases(GAP, ("reason",), [*NO_NAME, None]),
        *cases(STATUS, ("venue", "symbol", "crawler", "exchange_status"), [*NO_NAME, None]),
        *cases(STATUS, ("event_time",), [*NO_INTEGER, None]),
        *cases(STATUS, ("is_halted",), [0, 1, "true", None, [], "x" * 100_000]),
        *cases(STATUS, ("problem",), [0, True, [], {}, "x" * 1001]),
        *cases(PRICE, ("estimator", "status"), [*NO_NAME, None]),
        *cases(BOOK, ("floor", "ceiling"), NO_DECIMAL),
        *cases(PRICE, ("price", "mid", "spread_bps", "depth_bid_10bps", "impact_ask_1_5"), NO_NUMBER),
        *cases(BOOK, ("bids",), NO_LEVELS),
        *cases(BOOK, ("asks",), NO_LEVELS[:10]),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(event, field, values):
    for value in values:
        assert repr(field) in reason(line_with(event, **{field: value})), value


@pytest.mark.parametrize("raw", [b"18446744073709551616", b"1e3", b"1.5", b"-0.0"])
def test_a_number_that_is_no_64_bit_integer_is_no_id(raw):
    assert "'update_id'" in reason(line_with_raw(BOOK, "update_id", raw))


@each_row("raw", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"+1", b".5", b"'1'", b"undefined"])
def test_a_number_that_json_does_not_know_is_invalid(raw):
    assert reason(line_with_raw(PRICE, "price", raw)).startswith("not JSON")


def test_a_price_that_is_null_although_all_is_well_is_invalid():
    text = reason(line_with(PRICE, price=None))
    assert "'price'" in text
    assert "'status'" in text


@pytest.mark.parametrize(
    "line",
    [
        line_with(BOOK, type="x" * 100_000),
        line_with(BOOK, venue="x" * 100_000),
        line_with(BOOK, bids=[["x" * 100_000, "1"]]),
        line_with(BOOK, update_id="9" * 100_000),
        b"[" * 100_000,
    ],
)
def test_a_reason_is_short_enough_for_a_header(line):
    assert len(reason(line)) < 300


# ---- upgrades


def test_an_older_price_that_lacks_an_estimate_has_none():
    older = fields(PRICE)
    del older["impact_mid"], older["imbalance"]
    assert decode_line(orjson.dumps(older)) == replace(
        PRICE, values=PRICE.values | {"impact_mid": None, "imbalance": None}
    )


def test_a_newer_price_with_an_unknown_estimate_is_read_without_it():
    assert decode_line(line_with(PRICE, micro_price=57210.013, regime="calm")) == PRICE


@each_row("missing", ["venue", "symbol", "first_update_id", "update_id", "event_time", "status", "price"])
def test_a_price_without_its_identity_is_invalid_however_old(missing):
    older = fields(PRICE)
    del older[missing]
    assert reason(orjson.dumps(older)) == f"field {missing!r} is missing"


def test_a_line_of_a_later_version_never_harms_its_neighbours():
    book, unknown, gap = decode(join([encode(BOOK), b'{"type":"trade","venue":"binance"}', encode(GAP)]))
    assert (book, gap) == (BOOK, GAP)
    assert isinstance(unknown, UnknownLine)


@pytest.mark.parametrize("known", ["books.v1", ""])
def test_a_message_of_the_queues_type_or_without_one_is_read(known):
    check_type(known, "books.v1")


@pytest.mark.parametrize("unknown", ["books.v2", "prices.v1", "Books.v1", "x" * 10_000])
def test_a_message_of_another_type_is_refused_by_name(unknown):
    with pytest.raises(InvalidMessage, match="are not read here, only books") as raised:
        check_type(unknown, "books.v1")
    assert unknown[:50] in str(raised.value)
    assert len(str(raised.value)) < 200
    assert isinstance(raised.value, InvalidError)


SAMPLES = Path(__file__).parent / "samples"
"""Messages as earlier versions wrote them, a file for each generation; they stay as they are and are read for ever."""


@each_row("sample", sorted(SAMPLES.iterdir()), ids=lambda path: path.stem)
def test_what_older_versions_wrote_is_read_for_ever(sample):
    found = list(decode(sample.read_bytes()))
    assert [event for event in found if isinstance(event, InvalidLine)] == []
    assert {type(event) for event in found} <= (
        {Price} if sample.stem.startswith("prices") else {Book, Gap, Start, Status, Audit, Depth}
    )
    assert len(found) == len(list(lines(sample.read_bytes()))) > 0


@pytest.mark.parametrize(("sample", "curve_mid"), [("prices.v1", None), ("prices.v1.curve", 57210.0182)])
def test_a_generation_of_prices_has_the_estimates_that_it_knew(sample, curve_mid):
    price = next(decode((SAMPLES / f"{sample}.ndjson").read_bytes()))
    assert (price.values["curve_mid"], price.values["impact_mid"]) == (curve_mid, 57210.02)


def test_a_sample_says_what_it_always_said():
    cut, whole, first = decode((SAMPLES / "books.v1.book.ndjson").read_bytes())
    assert (cut.floor, cut.ceiling, cut.bids[0], cut.previous_event_time) == (
        "57000.00000000", "57420.50000000", ["57210.01000000", "0.50000000"], 1_723_099_999_900_000,
    )  # fmt: skip
    assert (whole.floor, whole.ceiling, whole.asks) == (None, None, [])
    assert first.previous_event_time is None
    (gap,) = decode((SAMPLES / "books.v1.gap.ndjson").read_bytes())
    assert (gap.from_update_id, gap.to_update_id, gap.reason) == (160, 201, "disconnected")
    halted, trading = decode((SAMPLES / "books.v1.status.ndjson").read_bytes())
    assert (halted.exchange_status, halted.is_halted, trading.problem) == ("BREAK", True, None)
    (start,) = decode((SAMPLES / "books.v1.start.ndjson").read_bytes())
    assert (start.first_update_id, start.update_id, start.event_time) == (202, 207, 1_723_100_002_000_000)
    (audit,) = decode((SAMPLES / "books.v1.audit.ndjson").read_bytes())
    assert (audit.from_update_id, audit.to_update_id) == (160, 759)
    assert (audit.tops, audit.wrong, audit.levels, audit.levels_wrong) == (598, 0, 1982, 1)
    priced, refused, replayed = decode((SAMPLES / "prices.v1.ndjson").read_bytes())
    assert (priced.price, priced.values["depth_bid_10bps"], priced.values["imbalance"]) == (57210.015, 1.25, 0.6)
    assert (refused.status, refused.price, refused.values["impact_ask_10000"]) == ("no_bids", None, 57210.02)
    assert replayed.priced_time is None


@each_row(
    "line",
    [
        encode(BOOK),
        encode(replace(BOOK, bids=[])),
        encode(replace(BOOK, asks=[])),
        encode(BOOK).replace(b",", b", "),
        encode(BOOK).replace(b',"asks"', b',"new":[["1","2"]],"asks"'),
        encode(BOOK).replace(b'"book",', b'"book","new":{"id":1,"bids":[["3","4"]],"asks":[["3","4"]]},'),
        orjson.dumps(fields(BOOK), option=orjson.OPT_SORT_KEYS),
    ],
)
def test_levels_that_are_left_as_json_are_those_of_the_line(line):
    event, whole = decode_but_levels(line), decode_line(line)
    assert [each if type(each) is list else orjson.loads(each) for each in (event.bids, event.asks)] == [
        whole.bids,
        whole.asks,
    ]
    assert replace(event, bids=whole.bids, asks=whole.asks) == whole
    assert type(event.bids) is (bytes if line == encode(BOOK) else list)


@pytest.mark.parametrize("line", [encode(BOOK)[:-1], encode(BOOK).replace(b'"venue":', b'"venue"')])
def test_a_line_whose_levels_alone_are_json_is_invalid(line):
    with pytest.raises(InvalidLine, match="not JSON"):
        decode_but_levels(line)


def test_levels_of_an_object_inside_a_line_are_not_the_lines():
    inside = {"id": 1, "bids": [["3", "4"]], "asks": [["3", "4"]]}
    line = orjson.dumps({"new": inside} | {name: each for name, each in fields(BOOK).items() if name not in inside})
    with pytest.raises(InvalidLine, match="field 'bids' is missing"):
        decode_but_levels(line)


@given(levels)
def test_pairs_of_decimal_strings_are_levels(rows):
    assert are_levels(rows)


def test_nothing_else_is():
    assert [rows for rows in (*NO_LEVELS, (("1", "2"),), [("1", "2")]) if are_levels(rows)] == []
