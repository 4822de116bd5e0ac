import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.venues.binance.governor import SHARE, WINDOW, Governor

LIMIT = 6000
ALLOWED = LIMIT * SHARE


@pytest.fixture
def governor():
    return Governor(LIMIT)


def go_when_allowed(governor, weight, now):
    """Wait as long as told, as often as told, and return when the request went."""
    for _ in range(1000):
        delay = governor.delay(weight, now)
        if not delay:
            return now
        assert delay > 0
        now += delay
    raise AssertionError("never allowed to go")


def test_requests_go_at_once_while_there_is_room(governor):
    assert [governor.delay(250, 0.0) for _ in range(19)] == [0.0] * 19
    assert governor.delay(50, 0.0) == 0.0


def test_the_request_over_the_limit_waits_until_the_oldest_has_left_the_minute(governor):
    for second in range(16):
        assert governor.delay(300, float(second)) == 0.0
    assert governor.delay(1, 20.0) == 40.0
    assert governor.delay(1, 59.0) == 1.0
    assert governor.delay(300, 60.0) == 0.0
    assert governor.delay(1, 60.0) == 1.0


def test_a_request_that_has_to_wait_takes_no_weight(governor):
    governor.delay(4800, 0.0)
    for _ in range(100):
        assert governor.delay(4800, 1.0) == 59.0
    assert governor.delay(4800, 60.0) == 0.0


def test_a_request_heavier_than_the_limit_goes_alone():
    governor = Governor(100)
    assert governor.delay(250, 0.0) == 0.0
    assert governor.delay(5, 1.0) == 59.0


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from((1, 5, 20, 25, 50, 250))), max_size=120))
def test_no_minute_holds_more_than_the_share_of_the_limit(requests):
    governor = Governor(1000)
    now, gone = 0.0, []
    for pause, weight in requests:
        now = go_when_allowed(governor, weight, now + pause)
        gone.append((now, weight))
    for end, _ in gone:
        assert sum(weight for when, weight in gone if end - WINDOW < when <= end) <= 1000 * SHARE


def test_what_others_use_on_the_same_address_counts(governor):
    governor.delay(50, 0.0)
    governor.report(4780)
    assert governor.delay(50, 1.0) == 59.0
    governor.report(100)
    assert governor.delay(50, 1.0) == 0.0


def test_a_report_from_long_ago_does_not_hold_for_ever(governor):
    governor.delay(50, 0.0)
    governor.report(5999)
    assert go_when_allowed(governor, 50, 1.0) == 60.0


def test_nothing_goes_while_blocked(governor):
    governor.block(120.0, 10.0)
    assert governor.delay(1, 10.0) == 120.0
    assert governor.delay(1, 129.5) == 0.5
    assert governor.delay(1, 130.0) == 0.0


def test_a_shorter_block_does_not_cut_a_longer_one(governor):
    governor.block(120.0, 0.0)
    governor.block(5.0, 10.0)
    assert governor.delay(1, 20.0) == 100.0
    governor.block(200.0, 20.0)
    assert governor.delay(1, 20.0) == 200.0
