"""The audit against tickers: what it catches, and above all what must not alarm it."""

import pytest
from tables import each_row

from crawler.book.audit import KEPT_TICKERS, TopAudit, Verdict
from crawler.book.market_data import Ticker, Top
from crawler.book.reach import Reach
from fairprice.errors import InvalidMarketData

MATCH, CONTRADICTION, BEYOND_REACH, UNDECIDED, NOTHING = Verdict


def top(bid="100.0", bid_size="1.0", ask="101.0", ask_size="2.0"):
    return Top([bid, bid_size] if bid else None, [ask, ask_size] if ask else None)


def ticker(update_id, *, is_first=False, **levels):
    return Ticker("BTCUSDT", update_id, b"", lambda _frame: top(**levels), is_first)


def audit_of(*tickers, **options):
    audit = TopAudit(**options)
    for each in tickers:
        audit.receive(each)
    return audit


def judged(audit):
    return audit.matches, audit.mismatches


def test_a_top_is_compared_with_the_last_ticker_up_to_its_id():
    audit = audit_of(*(ticker(10 * n, bid_size=f"{n}.0") for n in (1, 2, 3)))
    assert audit.judge(20, top(bid_size="2.0")) is MATCH
    assert audit.judge(29, top(bid_size="2.0")) is MATCH
    assert audit.judge(30, top(bid_size="2.0")) is CONTRADICTION
    assert judged(audit) == (2, 1)


def test_a_top_that_differs_is_undecided_until_a_ticker_beyond_its_id_has_come():
    """The order of two streams is not promised: the ticker of the very id may still be on its way."""
    audit = audit_of(ticker(10))
    assert audit.judge(20, top(bid_size="7.0")) is UNDECIDED
    audit.receive(ticker(20, bid_size="7.0"))
    assert audit.judge(20, top(bid_size="7.0")) is MATCH
    assert audit.judge(25, top()) is UNDECIDED
    audit.receive(ticker(26))
    assert audit.judge(25, top()) is CONTRADICTION
    assert judged(audit) == (1, 1)


def test_before_the_first_ticker_of_a_connection_the_last_one_may_be_missing():
    """A connection that is opened beside one that is behind brings newer tickers than that one has brought so far."""
    audit = audit_of(ticker(10), ticker(30, is_first=True), ticker(40, bid_size="4.0"))
    assert audit.judge(20, top(bid_size="7.0")) is NOTHING
    assert audit.judge(25, top()) is MATCH
    assert audit.judge(30, top(bid_size="7.0")) is CONTRADICTION
    assert audit.judge(35, top(bid_size="7.0")) is CONTRADICTION
    assert judged(audit) == (1, 2)


def test_the_ticker_of_the_very_id_decides_at_once():
    audit = audit_of(ticker(20), ticker(21))
    assert audit.judge(20, top(bid_size="7.0")) is CONTRADICTION
    assert audit.judge(21, top(bid_size="7.0")) is CONTRADICTION
    assert judged(audit) == (0, 2)


def test_a_top_that_the_last_ticker_shows_needs_no_later_one():
    """Else a book of a quiet symbol would wait for the next change."""
    assert audit_of(ticker(10)).judge(500, top()) is MATCH


def test_without_a_ticker_or_before_every_ticker_there_is_nothing_to_compare_with():
    audit = audit_of()
    assert audit.judge(20, top()) is NOTHING
    audit.receive(ticker(50))
    assert audit.judge(20, top()) is NOTHING
    assert audit.judge(49, top(bid="5.0")) is NOTHING
    assert audit.judge(50, top()) is MATCH
    assert judged(audit) == (1, 0)


@each_row(
    ("shown", "verdict"),
    [
        ({"bid": "104.5"}, BEYOND_REACH),
        ({"bid": "100.5", "bid_size": "9.0"}, BEYOND_REACH),
        ({"bid": "105.0"}, CONTRADICTION),
        ({"bid": "106.0"}, CONTRADICTION),
        ({"bid": "99.5"}, CONTRADICTION),
        ({"bid_size": "9.0"}, CONTRADICTION),
        ({"bid": ""}, CONTRADICTION),
        ({"bid": "104.5", "ask_size": "9.0"}, CONTRADICTION),
    ],
)
def test_a_ticker_that_shows_a_level_between_the_best_known_one_and_the_reach_contradicts_nothing(shown, verdict):
    """Nobody told of it: it was beyond the snapshot and has not changed since."""
    audit = audit_of(ticker(10, **{"ask": "107.0"} | shown), ticker(20))
    assert audit.judge(15, top(ask="107.0"), Reach(floor="105.0", ceiling="110.0")) is verdict
    assert (audit.beyond_reach, audit.comparisons) == (verdict is BEYOND_REACH, 1)


@pytest.mark.parametrize(
    ("ask", "verdict"), [("101.5", BEYOND_REACH), ("100.5", CONTRADICTION), ("102.5", CONTRADICTION)]
)
def test_the_same_holds_of_the_asks_and_of_a_side_of_which_nothing_is_known(ask, verdict):
    audit = audit_of(ticker(10, ask=ask), ticker(20))
    assert audit.judge(15, top(ask="102.0"), Reach(ceiling="101.0")) is verdict
    audit = audit_of(ticker(10, ask=ask), ticker(20))
    assert audit.judge(15, top(ask=""), Reach(ceiling="101.0")) is (CONTRADICTION if ask < "101" else BEYOND_REACH)


def test_what_may_be_beyond_the_reach_waits_for_no_ticker_and_what_may_not_does():
    reach = Reach(floor="105.0", ceiling="110.0")
    assert audit_of(ticker(10, bid="104.0")).judge(15, top(), reach) is BEYOND_REACH
    assert audit_of(ticker(10, bid="104.0", ask_size="3.0")).judge(15, top(), reach) is UNDECIDED


@pytest.mark.parametrize(
    "wrong",
    [{"bid": "99.0"}, {"bid_size": "1.5"}, {"ask": "102.0"}, {"ask_size": "2.5"}, {"bid": ""}, {"ask": ""}],
)
def test_each_part_of_the_top_is_compared(wrong):
    assert audit_of(ticker(10), ticker(20)).judge(15, top(**wrong)) is CONTRADICTION
    assert audit_of(ticker(10, **wrong), ticker(20)).judge(15, top()) is CONTRADICTION


def test_a_side_that_both_say_is_empty_is_a_match():
    assert audit_of(ticker(10, bid="")).judge(15, top(bid="")) is MATCH


def test_numbers_are_compared_not_their_spelling():
    spelled = ticker(10, bid="100.00000000", bid_size="1", ask="101", ask_size="2.000")
    assert audit_of(spelled).judge(15, top()) is MATCH


def test_a_connection_that_lags_behind_another_raises_no_alarm():
    """Two connections bring every ticker twice, the second one late: the last one up to an id is still the last."""
    audit = audit_of()
    for update_id in range(1, 400):
        audit.receive(ticker(update_id, bid_size=f"{update_id}.0"))
        audit.receive(ticker(update_id - 7, bid_size="777.0"))
        if update_id % 3 == 0:
            assert audit.judge(update_id - 2, top(bid_size=f"{update_id - 2}.0")) is MATCH


def test_a_ticker_that_comes_twice_is_counted_twice_and_kept_once():
    audit = audit_of(ticker(10), ticker(20), ticker(20), ticker(10))
    assert (audit.tickers, len(audit)) == (4, 2)
    assert audit_of(ticker(1)).judge(1, top()) is MATCH, "the first of all ids"


def test_tickers_without_books_are_bounded_and_the_newest_stay():
    audit = audit_of(kept_tickers=10)
    for update_id in range(1, 100):
        audit.receive(ticker(update_id, bid_size=f"{update_id}.0"))
        assert len(audit._tickers) <= 10
    assert audit.judge(98, top(bid_size="98.0")) is MATCH


def test_the_last_ticker_that_was_forgotten_still_counts():
    audit = audit_of(*(ticker(update_id, bid_size=f"{update_id}.0") for update_id in range(1, 12)), kept_tickers=10)
    assert audit.judge(5, top(bid_size="5.0")) is MATCH


def test_a_top_older_than_what_was_forgotten_is_not_compared_with_a_later_ticker():
    """A snapshot that is awaited for long: thousands of tickers come, and then the books of that time."""
    tickers = [ticker(update_id, bid_size=f"{update_id}.0") for update_id in range(1, KEPT_TICKERS + 2)]
    audit = audit_of(*tickers)
    assert audit.judge(5, top(bid_size="5.0")) is NOTHING
    assert audit.judge(KEPT_TICKERS // 2 - 1, top(bid_size="7.0")) is NOTHING
    assert audit.judge(KEPT_TICKERS, top(bid_size=f"{KEPT_TICKERS}.0")) is MATCH
    assert judged(audit) == (1, 0)


def test_after_a_reset_neither_tickers_nor_ids_from_before_count():
    audit = audit_of(ticker(1000), ticker(1010))
    audit.judge(1005, top())
    audit.reset()
    assert audit.judge(1020, top()) is NOTHING
    audit.receive(ticker(1, bid_size="3.0"))
    assert audit.judge(1, top(bid_size="3.0")) is MATCH


def test_a_ticker_is_read_only_when_a_top_needs_it():
    def read(_frame):
        raise InvalidMarketData("no number: NaN")

    audit = audit_of(Ticker("BTCUSDT", 10, b"", read), ticker(11), ticker(20))
    assert audit.judge(11, top()) is MATCH
    audit.receive(Ticker("BTCUSDT", 30, b"", read))
    with pytest.raises(InvalidMarketData):
        audit.judge(35, top())
    assert judged(audit) == (1, 0)
