import orjson
import pytest
from tables import each_row

from simulator import Knobs
from simulator.control_messages import Subscriptions, is_stream
from simulator.limits import Limits


def subscriptions(knobs=None, *, combined=True, streams=("btcusdt@depth",)):
    knobs = knobs or Knobs()
    return Subscriptions(Limits(knobs), knobs, combined=combined, streams=streams)


def said(text, knobs=None, **more):
    return subscriptions(knobs).answer(text if isinstance(text, str) else orjson.dumps(text | more).decode())


def request(method, *params, identifier=1):
    return {"method": method, "params": list(params), "id": identifier}


@each_row("identifier", [7, -7, 0, 2**63 - 1, -(2**63), "a", "u-1", "x" * 36, None])
def test_every_kind_of_id_is_echoed(identifier):
    answer = said(request("SUBSCRIBE", "ethusdt@depth", identifier=identifier))
    assert answer.document == {"result": None, "id": identifier}


@each_row("identifier", [1.5, True, 2**63, "x" * 37, "", "a b", [], {}])
def test_any_other_id_is_refused(identifier):
    assert said(request("SUBSCRIBE", "ethusdt@depth", identifier=identifier)).document["error"]["code"] == 2


def test_subscribing_listing_and_unsubscribing():
    mine = subscriptions()

    def ask(method, *params):
        return mine.answer(orjson.dumps(request(method, *params)).decode()).document["result"]

    assert ask("SUBSCRIBE", "ethusdt@depth@100ms", "btcusdt@bookTicker") is None
    assert ask("LIST_SUBSCRIPTIONS") == ["btcusdt@depth", "ethusdt@depth@100ms", "btcusdt@bookTicker"]
    assert ask("UNSUBSCRIBE", "btcusdt@depth", "never@depth") is None
    assert ask("LIST_SUBSCRIPTIONS") == ["ethusdt@depth@100ms", "btcusdt@bookTicker"]


@pytest.mark.parametrize("combined", [True, False])
def test_the_property_combined_can_be_read_and_set(combined):
    mine = subscriptions(combined=combined)
    assert mine.answer('{"method":"GET_PROPERTY","params":["combined"],"id":1}').document["result"] is combined
    change = orjson.dumps(request("SET_PROPERTY", "combined", not combined)).decode()
    assert mine.answer(change).document == {"result": None, "id": 1}
    assert mine.combined is not combined


MISTAKES = [
    ("no json", 3, False),
    ("{", 3, False),
    ("[]", 2, False),
    ('{"id":1}', 2, False),
    ('{"method":"SUBSCRIBE","params":["a@depth"]}', 2, False),
    (request("DANCE"), 2, False),
    (request("SUBSCRIBE"), 2, False),
    (request("SUBSCRIBE", 5), 2, True),
    (request("SUBSCRIBE", "no stream"), 2, True),
    (request("SUBSCRIBE", "btcusdt"), 2, True),
    (request("SET_PROPERTY", "colour", True), 0, False),
    (request("SET_PROPERTY", "combined", "yes"), 1, False),
    (request("SET_PROPERTY", "combined"), 1, False),
    (request("SET_PROPERTY", 3, True), 2, False),
    (request("SET_PROPERTY", "combined", True, True), 2, False),
    (request("SET_PROPERTY"), 2, False),
    (request("GET_PROPERTY", "colour"), 0, False),
    (request("GET_PROPERTY", "combined", "x"), 2, False),
]


@each_row(("text", "code", "close"), MISTAKES)
def test_a_mistake_is_answered_with_its_code_in_either_shape(text, code, close):
    nested, bare = said(text), said(text, Knobs(error_shape="bare"))
    assert nested.document["error"]["code"] == bare.document["code"] == code
    assert nested.document["error"]["msg"] == bare.document["msg"] != ""
    assert nested.close is bare.close is close
    assert ("id" in bare.document) == (code == 0)


def test_an_unknown_method_is_told_the_five_there_are():
    message = said(request("DANCE")).document["error"]["msg"]
    for method in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"):
        assert method in message


@pytest.mark.parametrize(("knob", "closes"), [("error", False), ("close", True)])
def test_more_than_1024_streams_are_too_many(knob, closes):
    knobs = Knobs(too_many_streams=knob)
    limits = Limits(knobs)
    mine = Subscriptions(limits, knobs, combined=True)
    names = [f"s{number}usdt@depth" for number in range(1025)]
    assert mine.answer(orjson.dumps(request("SUBSCRIBE", *names[:1024])).decode()).document["result"] is None
    answer = mine.answer(orjson.dumps(request("SUBSCRIBE", names[1024])).decode())
    assert answer.document["error"]["code"] == 2
    assert answer.close is closes
    assert len(mine.streams) == 1024
    assert limits.breaches == {"streams": 1}


@pytest.mark.parametrize(
    "name",
    [
        "btcusdt@depth",
        "btcusdt@depth@100ms",
        "币安人生usdt@bookTicker",
        "btcusdt@kline_1d@+08:00",
        "!miniTicker@arr",
        "x@unknown",
    ],
)
def test_well_formed_names(name):
    assert is_stream(name)


@each_row("name", ["", "btcusdt", "@depth", "btc usdt@depth", "btcusdt@", "btcusdt@@depth", 'b"@depth', "!"])
def test_malformed_names(name):
    assert not is_stream(name)
