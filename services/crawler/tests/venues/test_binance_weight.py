import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.allowance import MARGIN
from crawler.venues.binance.weight import QUESTIONS, WINDOW, RequestWeight

LIMIT = 6000


@pytest.fixture
def weights():
    return RequestWeight(LIMIT)


def go_when_allowed(weights, weight, now):
    """Wait as long as told, as often as told, and return when the request went."""
    for _ in range(1000):
        delay = weights.delay(weight, now)
        if not delay:
            return now
        assert delay > 0
        now += delay
    raise AssertionError("never allowed to go")


def test_requests_go_at_once_while_there_is_room(weights):
    assert [weights.delay(250, 0.0) for _ in range(19)] == [0.0] * 19
    assert weights.delay(50, 0.0) == 0.0


def test_the_request_over_the_limit_waits_until_the_oldest_has_left_the_minute(weights):
    for second in range(16):
        assert weights.delay(300, float(second)) == 0.0
    assert weights.delay(1, 20.0) == 40.0
    assert weights.delay(1, 59.0) == 1.0
    assert weights.delay(300, 60.0) == 0.0
    assert weights.delay(1, 60.0) == 1.0


def test_a_request_that_has_to_wait_takes_no_weight(weights):
    weights.delay(4800, 0.0)
    for _ in range(100):
        assert weights.delay(4800, 1.0) == 59.0
    assert weights.delay(4800, 60.0) == 0.0


def test_a_request_heavier_than_the_limit_goes_alone():
    weights = RequestWeight(100)
    assert weights.delay(250, 0.0) == 0.0
    assert weights.delay(5, 1.0) == 59.0


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from((1, 5, 20, 25, 50, 250))), max_size=120))
def test_no_minute_holds_more_than_the_share_of_the_limit(requests):
    weights = RequestWeight(1000)
    now, gone = 0.0, []
    for pause, weight in requests:
        now = go_when_allowed(weights, weight, now + pause)
        gone.append((now, weight))
    for end, _ in gone:
        assert sum(weight for when, weight in gone if end - WINDOW < when <= end) <= 1000 * MARGIN


def test_what_others_use_on_the_same_address_counts(weights):
    weights.delay(50, 0.0)
    weights.report(4780, 0.5)
    assert weights.delay(50, 1.0) == 59.5
    weights.report(100, 1.0)
    assert weights.delay(50, 1.0) == 0.0


def test_a_report_from_long_ago_does_not_hold_for_ever(weights):
    weights.delay(50, 0.0)
    weights.report(5999, 1.0)
    assert go_when_allowed(weights, 50, 1.0) == 61.0


def test_a_share_of_the_address_is_not_exceeded_and_not_narrowed_by_the_others():
    weights = RequestWeight(6000, share=0.25)
    weights.report(3600, 0.0)
    assert [weights.delay(50, 0.0) for _ in range(24)] == [0.0] * 24
    assert weights.delay(50, 1.0) == 59.0


def test_a_limit_that_the_exchange_tells_holds_from_then_on(weights):
    weights.limit = 100
    assert weights.delay(50, 0.0) == 0.0
    assert weights.delay(50, 1.0) == 59.0


def test_questions_use_a_twentieth_at_most_and_never_wait(weights):
    asked = [weights.take_question(5, second / 100) for second in range(100)]
    assert sum(asked) == LIMIT * MARGIN * QUESTIONS / 5
    assert asked == sorted(asked, reverse=True)
    assert weights.delay(4800 - 240, 2.0) == 0.0, "what they use counts"
    assert weights.delay(5, 2.0) > 0
    assert not weights.take_question(5, 59.0)
    assert weights.take_question(5, 62.0)


def test_no_question_is_asked_while_blocked(weights):
    weights.block(10.0, 0.0)
    assert not weights.take_question(5, 9.0)
    assert weights.take_question(5, 10.0)


def test_nothing_goes_while_blocked(weights):
    weights.block(120.0, 10.0)
    assert weights.delay(1, 10.0) == 120.0
    assert weights.delay(1, 129.5) == 0.5
    assert weights.delay(1, 130.0) == 0.0


def test_a_shorter_block_does_not_cut_a_longer_one(weights):
    weights.block(120.0, 0.0)
    weights.block(5.0, 10.0)
    assert weights.delay(1, 20.0) == 100.0
    weights.block(200.0, 20.0)
    assert weights.delay(1, 20.0) == 200.0
