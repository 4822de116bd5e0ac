import orjson
import pytest

from fairprice.messages import encode, join
from gateway.instrument import Limits, Moment
from gateway.key import Key, read_key
from gateway.market import Market
from gateway.states import State

WALL = 1_900_000_000_000_000
BTC, ETH = Key("binance", "BTCUSDT"), Key("binance", "ETHUSDT")
FUTURES = "binance-usdm"


def at(seconds=0.0):
    return Moment(seconds, WALL + round(seconds * 1e6))


def lines(*events):
    return join(map(encode, events))


def seen(market, key=BTC):
    (instrument,) = market.find(key)
    return instrument


@pytest.fixture
def market():
    return Market(Limits())


def test_an_echo_of_a_replica_is_no_news(market, make):
    assert len(market.take(lines(make.price(1), make.price(2)), at())) == 2
    assert market.take(lines(make.price(1), make.price(2)), at()) == []
    assert seen(market).quote.update_id == make.price(2).update_id
    assert len(seen(market).recent) == 2


def test_an_echo_does_not_make_a_stale_feed_fresh(market, make):
    market.take(lines(make.price(1)), at())
    market.take(lines(make.price(1)), at(60))
    assert seen(market).state(60) is State.STALE


def test_a_late_price_of_a_converter_that_stood_still_is_neither_live_nor_the_end_of_the_history(market, make):
    market.take(lines(*(make.price(step) for step in range(600))), at())
    assert market.take(lines(make.price(0), make.price(1), make.price(2)), at(6)) == []
    assert seen(market).state(6) is State.STALE
    assert len(seen(market).recent) == 600
    assert seen(market).quote.update_id == make.price(599).update_id


def test_a_recording_that_starts_again_starts_history_gaps_and_book_again(market, make):
    market.take_books(lines(make.book(5_000), make.depth(5_000), make.gap(5_000)), 1, at())
    assert seen(market).book_line()
    market.take(lines(make.price(5_000)), at())
    news = [market.take(lines(make.price(step)), at(step / 10)) for step in range(60)]
    first = next(step for step, shown in enumerate(news) if shown)
    assert first == 50  # tenths of a second
    assert all(news[first:])
    assert seen(market).recent.since(1)["time"] == [make.price(step).event_time for step in range(first, 60)]
    assert (seen(market).book_line(), seen(market).depth) == (b"", None)
    market.take_books(lines(make.book(60)), 1, at(6))
    assert seen(market).book_line() == encode(make.book(60))
    assert list(seen(market).gaps) == []


def test_a_bad_line_harms_neither_its_neighbours_nor_the_tap(market, make):
    bad = [
        b"{", b"[]", b"null", b'{"type":"price"}', b'{"type":[]}', b'{"type":"nova"}', b"\xff", b'{"type":"gap"}',
        b'{"type":"status"}', b'{"type":"book"}', b'{"type":"book","venue":"","symbol":"X"}',
        encode(make.price(9)).replace(b'"BTCUSDT"', b'"' + b"B" * 65 + b'"'),
    ]  # fmt: skip
    body = join([encode(make.price(1)), *bad, b"", encode(make.price(2))])
    assert [line for _, line in market.take(body, at())] == [encode(make.price(1)), encode(make.price(2))]
    market.take_books(join([*bad, encode(make.book(3)), b"garbage"]), 1, at())
    assert seen(market).book_line() == encode(make.book(3))
    assert market.names() == [BTC]


def test_the_newest_book_of_each_symbol_in_a_message_counts(market, make):
    events = (make.book(1), make.book(2, "ETHUSDT"), make.book(3), make.book(4, "ETHUSDT"), make.book(5))
    assert market.take_books(lines(*events), 2, at()) == []
    assert seen(market).book_line() == encode(make.book(5))
    assert seen(market, ETH).book_line() == encode(make.book(4, "ETHUSDT"))


def test_a_replicas_older_book_is_not_shown_after_a_newer_one(market, make):
    for book in (make.book(2), make.book(1)):
        market.take_books(encode(book), 1, at())
        assert seen(market).book_line() == encode(make.book(2))


def test_a_broken_book_leaves_the_one_before(market, make):
    market.take_books(encode(make.book(1)), 1, at())
    seen(market).book_line()
    market.take_books(encode(make.book(2)).replace(b'"bids"', b'"birds"'), 1, at())
    assert seen(market).book_line() == encode(make.book(1))


def test_a_gap_among_books_is_news_once(market, make):
    body = lines(make.book(1), make.gap(2), make.book(30))
    assert market.take_books(body, 1, at()) == [(BTC, encode(make.gap(2)))]
    assert market.take_books(body, 1, at()) == []
    assert seen(market).gaps.open == 1
    assert seen(market).book_line() == encode(make.book(30))


def test_a_message_of_books_with_something_else_is_read_to_its_end(market, make):
    market.take_books(lines(make.book(1), make.depth(1), make.book(2), make.gap(2)), 1, at())
    assert seen(market).book_line() == encode(make.book(2))
    assert seen(market).depth == make.depth(1)
    assert seen(market).gaps.open == 1


def test_a_depth_that_comes_late_is_passed_over(market, make):
    market.take_books(lines(make.depth(5), make.depth(4)), 1, at())
    assert seen(market).depth == make.depth(5)


def test_a_line_of_a_later_version_among_books_is_passed_over(market, make):
    later = b'{"type":"trade","venue":"binance","symbol":"BTCUSDT","price":"1"}'
    assert market.take_books(join([encode(make.book(1)), later]), 1, at()) == []
    assert seen(market).book_line() == encode(make.book(1))


@pytest.mark.parametrize(
    ("status", "age", "state"),
    [
        ("ok", 0, "live"), ("ok", 4.999, "live"), ("ok", 5, "stale"), ("locked", 1, "live"),
        ("crossed", 1, "untrusted"), ("crossed", 6, "stale"),
    ],
)  # fmt: skip
def test_the_state_of_a_feed_follows_the_time_since_receipt(market, make, status, age, state):
    market.take(lines(make.price(1, status=status)), at())
    feed = seen(market).feed(age)
    assert feed["state"] == state
    assert feed["age_seconds"] == age


def test_a_clock_that_is_set_back_does_not_keep_a_dead_price_alive(market, make):
    market.take(lines(make.price(1)), at())
    later = Moment(10, WALL - 60_000_000)
    market.take(lines(make.price(1)), later)
    assert seen(market).state(later.monotonic) is State.STALE
    assert seen(market).age(later.monotonic) == 10


def test_an_event_from_the_future_has_a_negative_lag(market, make):
    price = make.price(1)
    market.take(lines(price), Moment(0, price.event_time - 2_500_000))
    assert seen(market).feed(1)["lag_seconds"] == -2.5


def test_an_expected_symbol_waits():
    feed = seen(Market(Limits(), [BTC])).feed(0)
    assert (feed["state"], feed["age_seconds"], feed["last_good_price"]) == ("waiting", None, None)


def test_the_last_good_price_outlives_a_bad_one(market, make):
    market.take(lines(make.price(1)), at())
    market.take(lines(make.price(2, status="crossed")), at(2))
    feed = seen(market).feed(3)
    assert (feed["last_good_price"], feed["last_good_age_seconds"]) == (make.price(1).price, 3)


def test_symbols_are_bounded(make):
    market = Market(Limits(max_symbols=5))
    line = encode(make.price(1))
    for number in range(8):
        market.take(line.replace(b"BTCUSDT", b"S%d" % number), at())
    assert [key.symbol for key in market.names()] == [f"S{number}" for number in range(5)]
    assert market.note() == "3 symbols are not shown: the page has room for 5"


def test_nothing_is_noted_while_there_is_room(make):
    market = Market(Limits(max_symbols=1))
    market.take(lines(make.price(1)), at())
    assert market.note() is None


def test_a_line_is_passed_on_as_it_came(market, make):
    line = orjson.dumps({**orjson.loads(encode(make.price(1))), "field_of_tomorrow": [1, {}]})
    assert market.take(line, at()) == [(BTC, line)]


# ---- venues


def test_the_same_name_at_two_venues_is_two_symbols(market, make):
    futures = make.price(2, venue=FUTURES, bid=61_900)
    market.take(lines(make.price(1), futures), at())
    market.take_books(lines(make.book(1), make.book(2, venue=FUTURES)), 2, at())
    assert market.names() == [BTC, Key(FUTURES, "BTCUSDT")]
    assert seen(market).quote.line == encode(make.price(1))
    assert seen(market, Key(FUTURES, "BTCUSDT")).quote.line == encode(futures)
    assert seen(market, Key(FUTURES, "BTCUSDT")).book_line() == encode(make.book(2, venue=FUTURES))
    assert [each.key.venue for each in market.find(Key("", "btcusdt"))] == ["binance", FUTURES]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("btcusdt", ("", "BTCUSDT")), ("Binance-USDM:btcusdt", (FUTURES, "BTCUSDT")),
        ("binance.BTCUSDT", ("binance", "BTCUSDT")), ("binance: BTCUSDT", ("binance", "BTCUSDT")),
        ("kraken:XBT.M", ("kraken", "XBT.M")),
    ],
)  # fmt: skip
def test_a_symbol_is_named_with_or_without_its_venue(text, key):
    assert read_key(text) == key


def test_the_basis_is_that_of_the_mids_against_the_first_venue(market, make):
    market.take(lines(make.price(1, venue=FUTURES, bid=60_059.99), make.price(1, bid=59_999.99)), at())
    spot, futures = market.find(Key("", "BTCUSDT"))
    found = {"basis_bps": pytest.approx(10.0), "basis_against": "binance", "basis_beyond": False}
    assert market.basis(futures, 1) == found
    assert market.basis(spot, 1) == {"basis_bps": None, "basis_against": None, "basis_beyond": False}


@pytest.mark.parametrize(("bid", "is_beyond"), [(60_059.98, False), (60_060.01, True), (59_939.97, True)])
def test_a_basis_beyond_the_bound_is_told_to_either_side(make, bid, is_beyond):
    market = Market(Limits(basis_bound=10.0))
    market.take(lines(make.price(1, venue=FUTURES, bid=bid), make.price(1, bid=59_999.99)), at())
    assert market.basis(seen(market, Key(FUTURES, "BTCUSDT")), 1)["basis_beyond"] is is_beyond


@pytest.mark.parametrize("missing", ["no price", "stale", "untrusted"])
def test_there_is_no_basis_unless_both_prices_are_live(market, make, missing):
    market.take(lines(make.price(1, venue=FUTURES)), at(6))
    if missing != "no price":
        market.take(
            lines(make.price(1, status="crossed" if missing == "untrusted" else "ok")),
            at(0 if missing == "stale" else 6),
        )
    else:
        market.take_books(lines(make.book(1)), 1, at(6))
    basis = market.basis(seen(market, Key(FUTURES, "BTCUSDT")), 6)
    assert basis == {"basis_bps": None, "basis_against": "binance", "basis_beyond": False}


# ---- what the crawlers say


@pytest.mark.parametrize(
    ("word", "state"), [("BREAK", "halted"), ("HALT", "halted"), ("UNLISTED", "unlisted"), ("TRADING", "live")]
)
def test_the_word_of_the_exchange_makes_the_state(market, make, word, state):
    market.take(lines(make.price(1)), at())
    market.take_books(lines(make.book(1), make.status(word)), 1, at())
    feed = seen(market).feed(1)
    assert (feed["state"], feed["exchange_status"]) == (state, word)


def test_a_word_that_nobody_repeats_is_forgotten(market, make):
    market.take_books(lines(make.status("BREAK", problem="no feed")), 1, at())
    assert seen(market).state(149) is State.HALTED
    feed = seen(market).feed(150)
    assert (feed["state"], feed["exchange_status"], feed["problem"]) == ("waiting", None, None)


def test_problems_name_their_crawler_where_there_are_several(market, make):
    market.take_books(lines(make.status(problem="out of sync")), 1, at())
    assert seen(market).feed(1)["problem"] == "out of sync"
    market.take_books(lines(make.status(crawler="crawler-2")), 1, at())
    assert seen(market).feed(1)["problem"] == "crawler-1: out of sync"
    market.take_books(lines(make.status()), 1, at())
    assert seen(market).feed(1)["problem"] is None


# ---- readiness, and symbols that nobody follows any more


def test_readiness_waits_for_the_first_event(market):
    assert market.problem(0) == "no event has arrived from the broker yet"


def test_a_late_symbol_is_named_with_its_venue(market, make):
    market.take(lines(make.price(1), make.price(1, venue=FUTURES)), at())
    market.take(lines(make.price(2)), at(7))
    assert market.problem(7) == "binance-usdm/BTCUSDT: no price for 7.0 s, limit 5 s"


@pytest.mark.parametrize("word", ["BREAK", "UNLISTED"])
def test_a_symbol_that_is_not_traded_is_not_late(market, make, word):
    market.take(lines(make.price(1), make.price(1, "ETHUSDT")), at())
    market.take(lines(make.price(2, "ETHUSDT")), at(60))
    market.take_books(lines(make.status(word)), 1, at(60))
    assert market.problem(61) is None


def test_a_symbol_that_is_not_followed_any_more_is_late_for_a_while_only(market, make):
    market.take(lines(make.price(1), make.price(1, "ETHUSDT")), at())
    for second in (100, 200):
        market.take(lines(make.price(second, "ETHUSDT")), at(second))
    assert "binance/BTCUSDT: no price" in market.problem(101)
    assert market.problem(201) is None


def test_every_symbol_of_a_silent_venue_is_late(market, make):
    market.take(lines(make.price(1), make.price(1, "ETHUSDT"), make.price(1, venue=FUTURES)), at())
    market.take(lines(make.price(2, venue=FUTURES)), at(1_000))
    problem = market.problem(1_001)
    assert "binance/BTCUSDT" in problem
    assert "binance/ETHUSDT" in problem
    assert FUTURES not in problem


def test_what_was_silent_for_an_hour_is_forgotten_unless_it_was_expected(make):
    market = Market(Limits(), [ETH])
    market.take(lines(make.price(1), make.price(1, "ETHUSDT"), make.price(1, venue=FUTURES)), at())
    market.take_books(lines(make.status(venue=FUTURES)), 1, at(1_800))
    assert market.forget(3_599) == []
    assert market.forget(3_600) == [BTC]
    assert market.names() == [ETH, Key(FUTURES, "BTCUSDT")]
    assert market.find(BTC) == []
    market.take(lines(make.price(1)), at(3_601))
    assert seen(market).state(3_601) is State.LIVE


def test_gaps_and_crawlers_of_a_symbol_are_bounded(make):
    market = Market(Limits(max_gaps=3))
    for number in range(30):
        market.take_books(lines(make.gap(number), make.status(crawler=f"crawler-{number}", problem="lost")), 1, at())
    assert seen(market).gaps.open == 30
    assert len([*seen(market).gaps]) == 3
    assert seen(market).feed(0)["problem"].count("lost") == 16
