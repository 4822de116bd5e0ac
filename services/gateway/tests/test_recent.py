import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from fairprice.errors import InvalidLine
from fairprice.messages import encode
from gateway.key import Key
from gateway.quote import Quote, read_quote
from gateway.recent import MAX_POINTS, STEP, Recent

MINUTE = 60_000_000


def quote(time, price=1.0, status="ok"):
    return Quote(Key("binance", "BTCUSDT"), time, 0, 0, status, price, 0.5, 1.5, 2.0, -0.25, b"")


def test_points_of_one_slot_become_the_last_of_them():
    history = Recent(1)
    for time, price in ((0, 1.0), (STEP - 1, 2.0), (STEP, 3.0)):
        history.append(quote(time, price))
    assert history.since(1)["time"] == [STEP - 1, STEP]
    assert history.since(1)["price"] == [2.0, 3.0]


def test_it_remembers_no_more_than_its_minutes_however_many_prices_come():
    history = Recent(2)
    longest = 0
    for step in range(10_000):
        history.append(quote(step * STEP // 4))
        longest = max(longest, len(history))
    assert longest <= 3 * 600 + 1
    times = history.since(99)["time"]
    assert times[-1] == 9_999 * STEP // 4
    assert times[-1] - times[0] <= 2 * MINUTE


def test_a_price_that_is_missing_stays_missing():
    history = Recent(1)
    history.append(quote(0, None, "crossed"))
    assert history.since(1) == {
        "time": [0], "price": [None], "bid": [0.5], "ask": [1.5], "spread_bps": [2.0], "imbalance": [-0.25],
        "status": ["crossed"],
    }  # fmt: skip


def test_nothing_seen_is_an_empty_answer():
    assert set(map(len, Recent(1).since(1).values())) == {0}
    assert Recent(1).start(1) == 0


@given(
    steps=st.lists(st.integers(1, 5_000_000), max_size=300),
    minutes=st.sampled_from([0.05, 1, 5, 15]),
)
def test_thinning_keeps_a_slots_last_point_and_never_too_many(steps, minutes):
    history = Recent(15)
    times, time = [], 1_723_075_200_000_000
    for step in steps:
        time += step
        times.append(time)
        history.append(quote(time, float(len(times))))
    answer = history.since(minutes)
    assert len(answer["time"]) <= MAX_POINTS + 2
    assert answer["time"] == sorted(set(answer["time"]))
    assert set(answer["time"]) <= set(times)
    assert answer["price"] == [float(times.index(each) + 1) for each in answer["time"]]
    assert not times or answer["time"][-1] == times[-1]


def test_thinned_points_stay_the_same_as_time_goes_on():
    history, earlier = Recent(15), []
    for step in range(9_000):
        history.append(quote(step * STEP))
        if step == 8_000:
            earlier = history.since(15)["time"]
    later = history.since(15)["time"]
    assert len(later) <= MAX_POINTS + 2
    assert earlier[:-1] == [time for time in later if time < earlier[-1]][: len(earlier) - 1]


@each_row(
    "wrong",
    [
        {"event_time": "1"}, {"event_time": -1}, {"event_time": 1 << 64}, {"update_id": 1.5}, {"price": "1"},
        {"bid": True}, {"symbol": 1}, {"venue": ""}, {"status": None}, {"ask": []},
    ],
)  # fmt: skip
def test_a_quote_with_a_field_of_the_wrong_type_is_refused(make, wrong):
    fields = orjson.loads(encode(make.price()))
    with pytest.raises(InvalidLine):
        read_quote({**fields, **wrong}, b"")


@pytest.mark.parametrize("name", ["venue", "symbol", "event_time", "update_id", "status"])
def test_a_quote_without_its_identity_is_refused(make, name):
    fields = orjson.loads(encode(make.price()))
    assert read_quote(fields, b"").key == ("binance", "BTCUSDT")
    del fields[name]
    with pytest.raises(InvalidLine):
        read_quote(fields, b"")


def test_values_that_an_older_price_lacks_are_none(make):
    fields = orjson.loads(encode(make.price()))
    quote = read_quote({key: value for key, value in fields.items() if key not in {"ask", "spread_bps"}}, b"")
    assert (quote.bid, quote.ask, quote.spread_bps, quote.mid) == (fields["bid"], None, None, None)
