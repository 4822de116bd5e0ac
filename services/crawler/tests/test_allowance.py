import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.allowance import Allowance


@given(
    st.lists(st.tuples(st.integers(0, 80).map(lambda quarters: quarters / 4), st.integers(1, 12)), max_size=60),
    st.floats(0.1, 1.0),
    st.sampled_from((10.0, 60.0)),
)
def test_no_window_holds_more_than_the_share_of_the_limit(uses, share, window):
    allowance, now, gone = Allowance(100, share=share, window=window), 0.0, []
    for pause, amount in uses:
        now += pause
        while wait := allowance.delay(amount, now):
            assert wait > 0
            now += wait
        gone.append((now, amount))
    for end, amount in gone:
        within = sum(used for when, used in gone if end - window < when <= end)
        assert within <= max(allowance.allowed, amount)


def test_attempts_of_a_minute_leave_room_for_other_programs_of_the_address():
    allowance = Allowance(60)
    assert [allowance.delay(1, second / 10) for second in range(48)] == [0.0] * 48
    assert allowance.delay(1, 10.0) == 50.0
    assert allowance.delay(1, 60.0) == 0.0


def test_what_was_only_asked_for_is_not_taken():
    allowance = Allowance(10, margin=1.0)
    assert [allowance.wait(10, 0.0) for _ in range(3)] == [0.0] * 3
    allowance.take(10, 0.0)
    assert allowance.wait(1, 1.0) == 59.0


def test_what_is_more_than_all_goes_alone():
    allowance = Allowance(10)
    assert allowance.delay(11, 0.0) == 0.0
    assert allowance.delay(1, 1.0) == 59.0


def test_a_limit_may_change_on_the_way():
    allowance = Allowance(10, margin=1.0)
    assert allowance.delay(10, 0.0) == 0.0
    allowance.limit = 20
    assert allowance.delay(10, 1.0) == pytest.approx(0.0)


def test_a_use_that_expires_just_now_by_rounding_lets_nothing_more_go_than_there_is_room_for():
    """0.3 is later than 60.3 - 60 and yet 0.3 + 60 - 60.3 is nothing: as floats go."""
    allowance = Allowance(100, margin=1.0, window=60.0)
    allowance.take(50, 0.3)
    allowance.take(50, 0.5)
    assert allowance.delay(50, 60.3) == 0
    assert allowance.delay(50, 60.3) > 0
