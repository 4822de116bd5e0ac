"""What is read off the wire, and that nothing else gets through. Frames are written after the documents' examples."""

import re
from itertools import islice
from operator import itemgetter
from random import Random

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tables import each_row

from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.venues.binance.decoder import decode_snapshot, read_ticker
from crawler.venues.binance.venue import Binance
from crawler.venues.binance_usdm.venue import BinanceUsdm
from crawler.venues.port import DiffHead, Reply, Shutdown
from fairprice.errors import InvalidMarketData

DIFF = {
    "e": "depthUpdate",
    "E": 1789000000100,
    "s": "ETHUSDT",
    "U": 70001,
    "u": 70009,
    "b": [["2510.11000000", "3.40000000"], ["2509.90000000", "0.00000000"]],
    "a": [["2510.35000000", "0.75000000"]],
}
TICKER = (
    b'{"stream":"ethusdt@bookTicker","data":{"u":70009,"s":"ETHUSDT","b":"2510.11","B":"3.4","a":"2510.35","A":"1"}}'
)
SNAPSHOT = {"lastUpdateId": 70005, "bids": [["2510.10", "1.0"], ["2510.00", "4"]], "asks": [["2510.36", "2.0"]]}
PLAIN = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")


def wrapped(data, stream="ethusdt@depth@100ms"):
    return orjson.dumps({"stream": stream, "data": data})


def diff_frame(**changes):
    return wrapped({key: value for key, value in (DIFF | changes).items() if value is not ...})


def new_decoder(*symbols):
    return Binance().decoder(symbols or ("ETHUSDT", "BTCUSDT"))


def seen_decoder():
    """Return a decoder that has seen a frame of this stream."""
    decoder = new_decoder()
    decoder.decode(diff_frame())
    return decoder


@pytest.fixture
def decoder():
    return seen_decoder()


@pytest.mark.parametrize("decoder", [new_decoder()])
@pytest.mark.parametrize("repeat", range(2))
def test_a_diff_is_read_as_documented(decoder, repeat):
    assert decoder.decode(diff_frame()) == Diff(
        symbol="ETHUSDT",
        first_update_id=70001,
        update_id=70009,
        event_time=1789000000100000,
        bids=[["2510.11000000", "3.40000000"], ["2509.90000000", "0.00000000"]],
        asks=[["2510.35000000", "0.75000000"]],
    )


@pytest.mark.parametrize(
    ("sent", "microseconds"),
    [
        (1789000000100, 1789000000100000),
        (1789000000100123, 1789000000100123),
        (1, 1000),
        (99_999_999_999_999, 99_999_999_999_999_000),
        (100_000_000_000_000, 100_000_000_000_000),
    ],
)
def test_event_times_come_in_milliseconds_or_microseconds(sent, microseconds):
    assert new_decoder().decode(diff_frame(E=sent)).event_time == microseconds


@each_row(
    "changes",
    [
        {"b": []},
        {"a": []},
        {"a": [], "b": []},
        {"b": [["2510", "3"]]},
        {"b": [["92233720368.54775807", "0"]]},
        {"u": 70001},
        {"zz": {"new": [1, None, "x"]}},
        {"zz": [["1.0", "2.0"]]},
        {"U": 0},
        {"U": 2**53 + 1, "u": 2**62},
        {"a": [[f"{price}.00000000", "1.00000000"] for price in range(2511, 4511)]},
    ],
)
def test_what_is_unusual_but_right_is_taken_once_and_again(changes):
    decoder = seen_decoder()
    expected = DIFF | changes
    for _ in range(3):
        event = decoder.decode(diff_frame(**changes))
        assert (event.bids, event.asks) == (expected["b"], expected["a"])
        assert (event.first_update_id, event.update_id) == (expected["U"], expected["u"])


def test_a_symbol_of_any_script_is_taken():
    decoder = new_decoder("币安人生USDT")
    frame = wrapped(DIFF | {"s": "币安人生USDT"}, "币安人生usdt@depth@100ms")
    assert decoder.decode(frame).symbol == "币安人生USDT"
    assert decoder.peek(frame) == DiffHead("币安人生USDT", 70009)


MALFORMED = {
    "no JSON": (b'{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpd', "not JSON"),
    "empty": (b"", "not JSON"),
    "binary": (b"\x00\x01\x02", "not JSON"),
    "invalid UTF-8": (diff_frame().replace(b'"ETHUSDT"', b'"\xff\xfe"'), "not JSON"),
    "a number": (b"5", "not as documented"),
    "a list": (b"[1]", "not as documented"),
    "null": (b"null", "not as documented"),
    "a string that names a stream": (b'"stream"', "not as documented"),
    "data is null": (wrapped(None), "not as documented"),
    "data is a list": (wrapped([1]), "not as documented"),
    "no data": (b'{"stream":"ethusdt@depth@100ms"}', "field 'data' is missing"),
    **{f"no {key}": (diff_frame(**{key: ...}), f"field '{key}' is missing") for key in ("s", "U", "u", "E", "b", "a")},
    "reversed ids": (diff_frame(U=70010), "U=70010 u=70009"),
    "negative id": (diff_frame(U=-1), "U=-1"),
    "an id in a string": (diff_frame(U="70001"), "U='70001'"),
    "a fractional id": (diff_frame(u=70009.0), "u=70009.0"),
    "an id that is true": (diff_frame(U=True), "U=True"),
    "an id that no store can hold": (diff_frame(u=2**63), "u=9223372036854775808"),
    "no time at all": (diff_frame(E=0), "E=0"),
    "a time that no store can hold": (diff_frame(E=2**63), "E=9223372036854775808"),
    "a time in a string": (diff_frame(E="1789000000100"), "E='1789000000100'"),
    "another symbol than the stream's": (diff_frame(s="WRONGUSDT"), "carries symbol 'WRONGUSDT'"),
    "a symbol that is a number": (diff_frame(s=5), "carries symbol 5"),
    "a stream that is a list": (wrapped(DIFF, ["ethusdt"]), "not as documented"),
    "levels are null": (diff_frame(b=None), "levels"),
    "a ticker of another symbol": (TICKER.replace(b"ETHUSDT", b"BTCUSDT"), "no bookTicker of ETHUSDT"),
    "a ticker without an id": (TICKER.replace(b'"u":', b'"v":'), "no bookTicker of ETHUSDT"),
    "a ticker with an id that no store can hold": (TICKER.replace(b"70009", b"9" * 19), "no bookTicker of ETHUSDT"),
    "a diff of USD-M futures": (wrapped(DIFF | {"pu": 70000}, "ethusdt@depth@500ms"), "FAIRPRICE_VENUE=binance-usdm"),
    "a diff of COIN-M futures": (wrapped(DIFF | {"ps": "ETHUSD"}, "ethusdt@depth@500ms"), "counts contracts"),
    "levels are an object": (diff_frame(b={}), "levels"),
    "levels are a string": (diff_frame(b=""), "levels"),
    "a level is null": (diff_frame(a=[None]), "levels"),
    "a level is a string of two": (diff_frame(a=["12"]), "levels"),
    "a level of one": (diff_frame(b=[["2510.0"]]), "levels"),
    "a level of three": (diff_frame(b=[["2510.0", "1.0", "2.0"]]), "levels"),
    "an empty level": (diff_frame(b=[[]]), "levels"),
    "numbers": (diff_frame(b=[[2510.0, 1.0]]), "levels"),
    **{
        f"the quantity {text!r}": (diff_frame(a=[["2510.35000000", text]]), "levels")
        for text in ("-1.0", "+1.0", "NaN", "Infinity", "1e3", "1E-3", "", ".", ".5", "5.", "1,5", "1_0", " 1.0",
                     "1.0\n", "1..0", "1.0.0", "0x1", "[1.0", '"1.0', "\u0661.\u0660", "1.0|2.0", "²", "1" * 41,
                     "1." + "0" * 41)
    },
}  # fmt: skip


@each_row("case", MALFORMED.items(), ids=itemgetter(0))
def test_a_malformed_frame_is_refused_at_first_and_later_and_what_is_wrong_is_named(case):
    _, (frame, named) = case
    new, seen = new_decoder(), seen_decoder()
    for each in (new, new, seen, seen):
        with pytest.raises(InvalidMarketData) as refused:
            each.decode(frame)
        assert named in str(refused.value)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("kind", ["trade", "bookTicker", None, 5])
def test_another_event_on_a_stream_of_diffs_is_told_with_its_symbol(decoder, kind):
    with pytest.raises(InvalidMarketData, match="carries event") as refused:
        decoder.decode(diff_frame(e=kind))
    assert refused.value.symbol == "ETHUSDT"


def test_frames_are_taken_after_a_malformed_one(decoder):
    with pytest.raises(InvalidMarketData):
        decoder.decode(diff_frame(b=[["NaN", "1.0"]]))
    assert decoder.decode(diff_frame()).update_id == 70009


texts = st.one_of(
    st.text("0123456789.,", max_size=12),
    st.text('0123456789.,"[]-+eE na|\u0661\\', max_size=12),
)


def levels_of(random, count):
    return [[f"{random.randrange(10**6)}.{random.randrange(10**8):08d}" for _ in range(2)] for _ in range(count)]


@given(seed=st.integers(0, 2**32), text=texts)
def test_no_invalid_string_slips_through(seed, text):
    assume(not PLAIN.fullmatch(text))
    random, decoder = Random(seed), new_decoder()
    sides = [levels_of(random, random.randrange(1, 6)) for _ in range(2)]
    decoder.decode(diff_frame(b=sides[0], a=sides[1]))
    random.choice(random.choice(sides))[random.randrange(2)] = text
    with pytest.raises(InvalidMarketData, match="levels"):
        decoder.decode(diff_frame(b=sides[0], a=sides[1]))


@given(seed=st.integers(0, 2**32))
def test_no_two_faults_that_make_up_for_each_other_slip_through(seed):
    """What one string has too little another has too much: a point, a digit, or a level a whole string."""
    random, decoder = Random(seed), new_decoder()
    before = levels_of(random, random.randrange(1, 4))
    decoder.decode(diff_frame(b=before, a=[]))
    strings = [text for level in before for text in level]
    for _ in range(random.randrange(3)):
        giver, taker = random.sample(range(len(strings)), 2)
        character = random.choice([*strings[giver], "."])
        strings[giver] = strings[giver].replace(character, "", 1)
        place = random.randrange(len(strings[taker]) + 1)
        strings[taker] = strings[taker][:place] + character + strings[taker][place:]
    lengths = random.choice(([2] * len(before), [1, *[2] * (len(before) - 1), 1], [3, *[2] * (len(before) - 2), 1]))
    rest = iter(strings)
    levels = [list(islice(rest, length)) for length in lengths]
    if all(len(level) == 2 and all(map(PLAIN.fullmatch, level)) for level in levels):
        assert decoder.decode(diff_frame(b=levels, a=[])).bids == levels
    else:
        with pytest.raises(InvalidMarketData, match="levels"):
            decoder.decode(diff_frame(b=levels, a=[]))


@pytest.mark.parametrize(
    "frame",
    [
        # plain levels in a place that does not count, with bad ones where it does
        diff_frame(b=[["NaN", "1.0"]], zz={"b": [], "a": [["1.0", "2.0"]]}),
        diff_frame(b=[["NaN", "1.0"]])[:-1] + b',"zz":{"b":[],"a":[["1.0","2.0"]]}}',
        b'{"stream":"ethusdt@depth@100ms","zz":{"x":1,"b":[],"a":[]},' + diff_frame(b=[["NaN", "1.0"]])[32:],
        diff_frame(b=[["1.0", "1,0"]], zz=[["1.0", "2.0"]]),
        # one side that is plain
        diff_frame(a=[["1.0", "."]]),
        diff_frame(b=[["1.0", "."]]),
    ],
)
def test_plain_levels_elsewhere_do_not_vouch_for_bad_ones(decoder, frame):
    with pytest.raises(InvalidMarketData, match="levels"):
        decoder.decode(frame)


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        ({"result": None, "id": 7}, Reply(7, None)),
        ({"stream": "", "data": {"result": None, "id": 7}}, Reply(7, None)),
        ({"result": None, "id": "u-1"}, Reply("u-1", None)),
        ({"result": ["ethusdt@depth@100ms"], "id": 8}, Reply(8, None)),
        ({"result": None, "id": None}, Reply(None, None)),
    ],
)
def test_the_answer_to_a_control_message(decoder, sent, reply):
    assert decoder.decode(orjson.dumps(sent)) == reply


@pytest.mark.parametrize(
    ("sent", "identifier"),
    [
        ({"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 3}, 3),
        ({"error": {"code": 2, "msg": "Invalid request: invalid stream"}}, None),
        ({"code": 2, "msg": "Invalid request: invalid stream"}, None),
        ({"code": 0, "msg": "Invalid request: invalid stream", "id": 3}, 3),
    ],
)
def test_a_refusal_is_read_in_the_documented_and_in_the_observed_shape(decoder, sent, identifier):
    reply = decoder.decode(orjson.dumps(sent))
    assert reply.id == identifier
    assert "invalid stream" in reply.error


def test_the_announcement_of_a_shutdown_is_no_market_data(decoder):
    event = {"e": "serverShutdown", "E": 1789000000123}
    assert decoder.decode(wrapped(event, "!serverShutdown")) == Shutdown()


@each_row(
    "frame",
    [
        wrapped({"e": "trade", "s": "ETHUSDT", "p": "1.0"}, "ethusdt@trade"),
        wrapped({"lastUpdateId": 5, "bids": [], "asks": []}, "ethusdt@depth20"),
        wrapped(DIFF, "ethusdt@depth20"),
        wrapped(DIFF | {"s": "XRPUSDT"}, "xrpusdt@depth@100ms"),
        TICKER.replace(b"eth", b"xrp").replace(b"ETH", b"XRP"),
        b"{}",
        b'{"e":"serverShutdown"}',
    ],
)
def test_a_well_formed_frame_of_another_kind_or_symbol_is_of_no_use(frame):
    decoder = seen_decoder()
    assert decoder.decode(frame) is None
    assert decoder.peek(frame) is None


@each_row(
    ("frame", "symbol"),
    [
        (diff_frame()[:60], "ETHUSDT"),
        (diff_frame(u=5), "ETHUSDT"),
        (diff_frame(s="BTCUSDT"), "ETHUSDT"),
        (diff_frame(b=[["NaN", "1"]]), "ETHUSDT"),
        (TICKER.replace(b'"u"', b'"v"'), "ETHUSDT"),
        (wrapped(None), "ETHUSDT"),
        (b'{"stream":"xrpusdt@depth@100ms","data', None),
        (b"\xff" * 40, None),
    ],
)
def test_an_unreadable_frame_names_whose_it_is_where_its_stream_tells(frame, symbol):
    decoder = seen_decoder()
    with pytest.raises(InvalidMarketData) as refused:
        decoder.decode(frame)
    assert refused.value.symbol == symbol


def test_a_slip_of_our_own_is_not_told_as_the_senders_fault(decoder):
    decoder._diff_streams = None
    with pytest.raises(AttributeError):
        decoder.decode(diff_frame())


HOUR = 3_600_000


def test_a_single_event_time_a_day_away_is_an_unreadable_frame(decoder):
    for away in (-25 * HOUR, 25 * HOUR, -DIFF["E"] + 1):
        for _ in range(2):
            with pytest.raises(InvalidMarketData, match="more than a day") as refused:
                decoder.decode(diff_frame(E=DIFF["E"] + away))
            assert refused.value.symbol == "ETHUSDT"
        assert decoder.decode(diff_frame())
    assert decoder.decode(diff_frame(E=DIFF["E"] + 23 * HOUR))


def test_a_wrong_event_time_in_each_other_frame_is_refused_each_time(decoder):
    for step in range(10):
        with pytest.raises(InvalidMarketData, match="more than a day"):
            decoder.decode(diff_frame(E=DIFF["E"] * 2 + step))
        decoder.decode(diff_frame(E=DIFF["E"] + step))


def test_the_next_of_two_recordings_that_lie_days_apart_is_read_from_its_second_diff_on(decoder):
    later = DIFF["E"] + 72 * HOUR
    with pytest.raises(InvalidMarketData):
        decoder.decode(diff_frame(E=later))
    for step in range(1, 4):
        assert decoder.decode(diff_frame(E=later + step)).event_time == (later + step) * 1000


def test_usdm_diffs_add_the_ids_from_behind_the_diff_before():
    decoder = BinanceUsdm().decoder(["ETHUSDT"])
    diff = decoder.decode(diff_frame(pu=69990, T=1789000000099))
    assert (diff.first_update_id, diff.update_id) == (69991, 70009)
    with pytest.raises(InvalidMarketData, match="'pu' is missing"):
        decoder.decode(diff_frame())
    with pytest.raises(InvalidMarketData, match="pu='69990'"):
        decoder.decode(diff_frame(pu="69990"))
    with pytest.raises(InvalidMarketData, match="counts contracts"):
        decoder.decode(wrapped(DIFF | {"ps": "ETHUSD", "pu": 69990}, "ethusdt@depth@500ms"))


def test_usdm_tickers_are_read_too():
    decoder = BinanceUsdm().decoder(["ETHUSDT"])
    ticker = decoder.peek(TICKER.replace(b'"data":{', b'"data":{"e":"bookTicker",'))
    assert ticker.update_id == 70009
    assert ticker.top() == Top(["2510.11", "3.4"], ["2510.35", "1"])


def test_a_glance_at_a_diff_tells_whose_it_is_and_where_it_ends(decoder):
    assert decoder.peek(diff_frame()) == DiffHead("ETHUSDT", 70009)


def test_a_glance_at_the_first_diff_of_a_stream_tells_nothing():
    assert new_decoder().peek(diff_frame()) is None


@given(frame=st.one_of(st.binary(max_size=80), st.sampled_from([diff_frame(), TICKER]).flatmap(
    lambda frame: st.tuples(st.integers(0, len(frame)), st.integers(0, 20), st.binary(max_size=30)).map(
        lambda cut: frame[:cut[0]] + cut[2] + frame[cut[0] + cut[1]:]))))  # fmt: skip
def test_a_glance_never_raises_and_never_tells_otherwise_than_decoding(frame):
    decoder = new_decoder()
    decoder.decode(diff_frame())
    glance = decoder.peek(frame)
    if frame.count(b'"u":') > 1:
        return  # a key that is there twice
    try:
        event = decoder.decode(frame)
    except InvalidMarketData:
        return
    if glance is not None:
        assert (glance.symbol, glance.update_id) == (event.symbol, event.update_id)
        assert type(event) is (Diff if type(glance) is DiffHead else Ticker)


@pytest.mark.parametrize("digits", ["1" * 5000, "9" * 19, "1_0", "+5", "\u0661"])
def test_a_glance_leaves_an_odd_id_to_decoding(decoder, digits):
    for end in (",", "}"):
        assert decoder.peek(b'{"stream":"ethusdt@bookTicker","data":{"u":' + (digits + end).encode()) is None


@given(order=st.permutations(list(DIFF)), swapped=st.booleans(), extra=st.booleans())
def test_keys_may_come_in_another_order(order, swapped, extra):
    decoder = new_decoder()
    expected = decoder.decode(diff_frame())
    data = {key: DIFF[key] for key in order} | ({"st": 2} if extra else {})
    envelope = {"stream": "ethusdt@depth@100ms", "data": data}
    frame = orjson.dumps(dict(reversed(envelope.items())) if swapped else envelope)
    assert decoder.decode(frame) == expected
    assert decoder.peek(frame) in {None, DiffHead("ETHUSDT", 70009)}


def test_a_snapshot_is_read_as_documented():
    assert decode_snapshot(orjson.dumps(SNAPSHOT), "ETHUSDT") == Snapshot(
        "ETHUSDT", 70005, SNAPSHOT["bids"], SNAPSHOT["asks"], bids_complete=False, asks_complete=False
    )


def test_a_snapshot_may_be_empty():
    snapshot = decode_snapshot(orjson.dumps(SNAPSHOT | {"bids": [], "asks": []}), "ETHUSDT")
    assert (snapshot.bids, snapshot.asks) == ([], [])


@each_row(
    ("body", "named"),
    [
        (b"<html><body>Please wait</body></html>", "no depth snapshot"),
        (orjson.dumps(SNAPSHOT)[:40], "no depth snapshot"),
        (b"", "no depth snapshot"),
        (b"[]", "no depth snapshot"),
        (b'{"code":-1003,"msg":"Too much"}', "lastUpdateId"),
        (orjson.dumps(SNAPSHOT | {"lastUpdateId": "70005"}), "'70005'"),
        (orjson.dumps(SNAPSHOT | {"lastUpdateId": -1}), "-1"),
        (orjson.dumps(SNAPSHOT | {"lastUpdateId": 2**63}), "9223372036854775808"),
        (orjson.dumps(SNAPSHOT | {"lastUpdateId": None}), "None"),
        (orjson.dumps(SNAPSHOT | {"bids": None}), "levels"),
        (orjson.dumps(SNAPSHOT | {"bids": [["1e3", "1.0"]]}), "levels"),
        (orjson.dumps(SNAPSHOT | {"asks": [["2510.36", "2.0", "3.0"]]}), "levels"),
        (orjson.dumps(SNAPSHOT | {"asks": [["2510.10", "2.0"]]}), "crossed"),
        (orjson.dumps(SNAPSHOT | {"asks": [["999.0", "2.0"]]}), "crossed"),
    ],
)
def test_a_reply_that_is_no_snapshot_is_refused_and_what_is_wrong_is_named(body, named):
    with pytest.raises(InvalidMarketData) as refused:
        decode_snapshot(body, "ETHUSDT")
    assert named in str(refused.value)
    assert refused.value.symbol == "ETHUSDT"
    assert len(str(refused.value)) < 400


def test_a_ticker_is_read_as_documented(decoder):
    assert decoder.peek(TICKER) == decoder.decode(TICKER) == Ticker("ETHUSDT", 70009, TICKER, read_ticker)
    assert decoder.peek(TICKER).top() == Top(["2510.11", "3.4"], ["2510.35", "1"])


def test_zeros_stand_for_an_empty_side(decoder):
    frame = TICKER.replace(b'"2510.11","B":"3.4"', b'"0.00000000","B":"0.00000000"')
    assert decoder.peek(frame).top() == Top(None, ["2510.35", "1"])


@each_row(
    "frame",
    [
        TICKER.replace(b'"2510.11"', b"2510.11"),
        TICKER.replace(b'"3.4"', b'"NaN"'),
        TICKER.replace(b'"A"', b'"X"'),
        TICKER.replace(b'"data"', b'"dota"'),
        TICKER[:80],
        b"[]",
        b'{"data":null}',
    ],
)
def test_a_malformed_ticker_is_refused(frame):
    with pytest.raises(InvalidMarketData, match="no bookTicker"):
        read_ticker(frame)
