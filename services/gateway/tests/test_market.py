import orjson
import pytest

from fairprice.messages import encode, join
from gateway.market import MAX_SYMBOLS, Market

NOW = 1_900_000_000_000_000


def prices(*events):
    return join(map(encode, events))


def seen(market, symbol="BTCUSDT"):
    return market.find(symbol)


def test_an_echo_of_a_replica_is_no_news(make):
    market = Market(15)
    assert len(market.take(prices(make.price(1), make.price(2)), NOW)) == 2
    assert market.take(prices(make.price(1), make.price(2)), NOW) == []
    assert seen(market).quote.update_id == make.price(2).update_id
    assert len(seen(market).history) == 2


def test_an_echo_does_not_make_a_stale_feed_fresh(make):
    market = Market(15)
    market.take(prices(make.price(1)), NOW)
    market.take(prices(make.price(1)), NOW + 60_000_000)
    assert seen(market).feed(NOW + 60_000_000, 5)["state"] == "stale"


def test_a_recording_that_starts_again_starts_the_history_again(make):
    market = Market(15)
    market.take(prices(make.price(5_000)), NOW)
    assert len(market.take(prices(make.price(1)), NOW)) == 1
    assert seen(market).history.since(15)["time"] == [make.price(1).event_time]


def test_a_bad_line_harms_neither_its_neighbours_nor_the_tap(make):
    market = Market(15)
    bad = [b"{", b"[]", b"null", b'{"type":"price"}', b'{"type":[]}', b'{"type":"nova"}', b"\xff", b'{"type":"gap"}']
    body = join([encode(make.price(1)), *bad, b"", encode(make.price(2))])
    assert [line for _, line in market.take(body, NOW)] == [encode(make.price(1)), encode(make.price(2))]
    market.take_books(join([*bad, encode(make.book(3)), b"garbage"]), 1, NOW)
    assert seen(market).book_line() == encode(make.book(3))


def test_the_newest_book_of_each_symbol_in_a_message_counts(make):
    market = Market(15)
    body = prices(make.book(1), make.book(2, "ETHUSDT"), make.book(3), make.book(4, "ETHUSDT"), make.book(5))
    assert market.take_books(body, 2, NOW) == []
    assert seen(market).book_line() == encode(make.book(5))
    assert seen(market, "ETHUSDT").book_line() == encode(make.book(4, "ETHUSDT"))


def test_a_replicas_older_book_is_not_shown_after_a_newer_one(make):
    market = Market(15)
    for book in (make.book(2), make.book(1)):
        market.take_books(encode(book), 1, NOW)
        assert seen(market).book_line() == encode(make.book(2))


def test_a_broken_book_leaves_the_one_before(make):
    market = Market(15)
    market.take_books(encode(make.book(1)), 1, NOW)
    seen(market).book_line()
    market.take_books(encode(make.book(2)).replace(b'"bids"', b'"birds"'), 1, NOW)
    assert seen(market).book_line() == encode(make.book(1))


def test_a_gap_among_books_is_news_once(make):
    market = Market(15)
    body = prices(make.book(1), make.gap(2), make.book(30))
    assert market.take_books(body, 1, NOW) == [("BTCUSDT", encode(make.gap(2)))]
    assert market.take_books(body, 1, NOW) == []
    assert seen(market).gap_count == 1
    assert seen(market).book_line() == encode(make.book(30))


@pytest.mark.parametrize(
    ("status", "age", "state"),
    [
        ("ok", 0, "live"), ("ok", 4.999, "live"), ("ok", 5, "stale"), ("locked", 1, "live"),
        ("crossed", 1, "untrusted"), ("crossed", 6, "stale"), ("ok", -3, "live"),
    ],
)  # fmt: skip
def test_the_state_of_a_feed_follows_the_time_of_receipt(make, status, age, state):
    market = Market(15)
    market.take(prices(make.price(1, status=status)), NOW)
    feed = seen(market).feed(NOW + round(age * 1e6), 5)
    assert feed["state"] == state
    assert feed["age_seconds"] == max(0, age)


def test_an_expected_symbol_waits():
    feed = seen(Market(15, ["BTCUSDT"])).feed(NOW, 5)
    assert (feed["state"], feed["age_seconds"], feed["last_good_price"]) == ("waiting", None, None)


def test_the_last_good_price_outlives_a_bad_one(make):
    market = Market(15)
    market.take(prices(make.price(1)), NOW)
    market.take(prices(make.price(2, status="crossed")), NOW + 2_000_000)
    feed = seen(market).feed(NOW + 3_000_000, 5)
    assert (feed["last_good_price"], feed["last_good_age_seconds"]) == (make.price(1).price, 3)


def test_symbols_are_bounded(make):
    market = Market(1)
    line = encode(make.price(1))
    for number in range(MAX_SYMBOLS + 10):
        market.take(line.replace(b"BTCUSDT", b"S%d" % number), NOW)
    assert len(market.names()) == MAX_SYMBOLS
    assert market.find(f"S{MAX_SYMBOLS + 5}") is None


def test_a_line_is_passed_on_as_it_came(make):
    line = orjson.dumps({**orjson.loads(encode(make.price(1))), "field_of_tomorrow": [1, {}]})
    assert Market(1).take(line, NOW) == [("BTCUSDT", line)]
