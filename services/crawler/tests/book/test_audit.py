"""The audit against tickers: what it catches, and above all what must not alarm it."""

import pytest

from crawler.book import audit as audit_module
from crawler.book.audit import KEPT_TOPS, TOLERATED, TopAudit
from fairprice.errors import InvalidMarketData
from fairprice.messages import Book


def ticker(update_id, bid="100.0", bid_size="1.0", ask="101.0", ask_size="2.0"):
    return b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%b","B":"%b","a":"%b","A":"%b"}}' % (
        update_id, *(text.encode() for text in (bid, bid_size, ask, ask_size)),
    )  # fmt: skip


def book(update_id, bid="100.0", bid_size="1.0", ask="101.0", ask_size="2.0", *, first=False):
    bids = [[bid, bid_size], ["9.0", "1.0"]] if bid else []
    asks = [[ask, ask_size], ["999.0", "1.0"]] if ask else []
    before = None if first else update_id - 1
    return Book("binance", "BTCUSDT", update_id, update_id, update_id, before, update_id, "one", bids, asks, None, None)


@pytest.fixture
def audit():
    return TopAudit()


def judged(audit):
    return audit.matches, audit.mismatches


def test_a_book_is_compared_with_the_last_ticker_up_to_its_id(audit):
    for update_id, size in ((10, "1.0"), (20, "2.0"), (30, "3.0")):
        audit.receive(ticker(update_id, bid_size=size))
    assert audit.passes(book(20, bid_size="2.0"))
    assert audit.passes(book(29, bid_size="2.0"))
    assert judged(audit) == (2, 0)


def test_a_book_waits_until_a_ticker_beyond_its_id_has_come(audit):
    """The order of two streams is not promised: the ticker of the very id may still be on its way."""
    audit.receive(ticker(10))
    assert audit.passes(book(20, bid_size="7.0"))
    assert judged(audit) == (0, 0)
    audit.receive(ticker(20, bid_size="7.0"))
    audit.receive(ticker(21))
    assert audit.passes(book(22))
    assert judged(audit) == (1, 0)


def test_a_book_before_every_ticker_is_not_judged(audit):
    audit.receive(ticker(50))
    assert audit.passes(book(20, bid="5.0"))
    assert judged(audit) == (0, 0)


@pytest.mark.parametrize("wrong", [{"bid": "99.0"}, {"bid_size": "1.5"}, {"ask": "102.0"}, {"ask_size": "2.5"},
                                   {"bid": ""}, {"ask": ""}])  # fmt: skip
def test_each_part_of_the_top_is_compared(audit, wrong):
    audit.receive(ticker(10))
    audit.receive(ticker(20))
    audit.passes(book(15, **wrong))
    assert judged(audit) == (0, 1)


def test_numbers_are_compared_not_their_spelling(audit):
    audit.receive(ticker(10, "100.00000000", "1", "101", "2.000"))
    audit.receive(ticker(20))
    assert audit.passes(book(15))
    assert judged(audit) == (1, 0)


def test_only_a_lasting_contradiction_fails(audit):
    for update_id in range(10, 100, 10):
        audit.receive(ticker(update_id))
    verdicts = [audit.passes(book(10 + number, bid_size="9.9")) for number in range(TOLERATED + 1)]
    assert verdicts == [True] * (TOLERATED - 1) + [False, False]
    audit.reset()
    audit.receive(ticker(200))
    audit.receive(ticker(210))
    assert audit.passes(book(201))
    assert judged(audit) == (1, TOLERATED + 1)


def test_a_match_between_contradictions_makes_up_for_them(audit):
    for update_id in range(10, 100, 10):
        audit.receive(ticker(update_id))
    for number in range(20):
        assert audit.passes(book(10 + number, bid_size="1.0" if number % TOLERATED == 0 else "9.9"))


def test_a_connection_that_lags_behind_another_raises_no_alarm(audit):
    """Two connections bring every ticker twice, the second one late: the last one up to an id is still the last."""
    lag = 7
    for update_id in range(1, 400):
        audit.receive(ticker(update_id, bid_size=f"{update_id}.0"))
        if update_id > lag:
            audit.receive(ticker(update_id - lag, bid_size=f"{update_id - lag}.0"))
        if update_id % 3 == 0:
            assert audit.passes(book(update_id - 2, bid_size=f"{update_id - 2}.0"))
    assert judged(audit) == (133, 0)


def test_books_that_wait_are_bounded(audit):
    for update_id in range(1, 3 * KEPT_TOPS):
        assert audit.passes(book(update_id))
    assert len(audit._tops) == KEPT_TOPS


def test_tickers_without_books_are_bounded_and_the_newest_stay(audit, monkeypatch):
    monkeypatch.setattr(audit_module, "KEPT_FRAMES", 10)
    for update_id in range(1, 100):
        audit.receive(ticker(update_id, bid_size=f"{update_id}.0"))
        assert len(audit._frames) <= 10
    assert audit.passes(book(98, bid_size="98.0"))
    assert judged(audit) == (1, 0)


def test_the_last_ticker_before_those_forgotten_still_counts(audit, monkeypatch):
    monkeypatch.setattr(audit_module, "KEPT_FRAMES", 10)
    for update_id in range(1, 12):
        audit.receive(ticker(update_id, bid_size=f"{update_id}.0"))
    assert audit.passes(book(5, bid_size="5.0"))
    assert judged(audit) == (1, 0)


def test_a_new_synchronisation_forgets_what_came_before_it(audit):
    """While the stream was gone tickers were missed, so the last one before says nothing about the first book after."""
    audit.receive(ticker(10))
    audit.receive(ticker(200, bid_size="5.0"))
    assert audit.passes(book(190, bid_size="4.0", first=True))
    for update_id in range(191, 200):
        assert audit.passes(book(update_id, bid_size="4.0"))
    audit.receive(ticker(210, bid_size="6.0"))
    audit.receive(ticker(220))
    assert audit.passes(book(215, bid_size="6.0"))
    assert judged(audit) == (1, 0)


def test_ids_that_begin_anew_are_compared_again_after_the_new_synchronisation(audit):
    for update_id in (1000, 1010, 1020):
        audit.receive(ticker(update_id))
    audit.passes(book(1015))
    for update_id in (10, 20):
        audit.receive(ticker(update_id, bid_size="3.0"))
    assert audit.passes(book(15, bid_size="3.0", first=True))
    for update_id in (30, 40, 50):
        audit.receive(ticker(update_id, bid_size="4.0"))
        assert audit.passes(book(update_id - 5, bid_size="3.0" if update_id == 30 else "4.0"))
    assert judged(audit) == (3, 0)


def test_an_unreadable_ticker_is_refused_and_not_kept(audit):
    audit.receive(ticker(10))
    with pytest.raises(InvalidMarketData):
        audit.receive(ticker(15).replace(b'"u":', b'"x":'))
    audit.receive(ticker(20))
    assert audit.passes(book(15))
    assert judged(audit) == (1, 0)


def test_a_ticker_whose_levels_are_unreadable_is_refused_when_it_is_needed(audit):
    audit.receive(ticker(10, bid="NaN"))
    audit.receive(ticker(20))
    with pytest.raises(InvalidMarketData):
        audit.passes(book(15))
    audit.reset()
    audit.receive(ticker(30))
    audit.receive(ticker(40))
    assert audit.passes(book(35))
    assert judged(audit) == (1, 0)
