import pytest

from crawler.silence import USUAL_FACTOR, SilenceWatch

TIMEOUT = 10.0


@pytest.fixture
def watch():
    return SilenceWatch(TIMEOUT)


def heard_regularly(watch, symbol, interval, count, start=0.0):
    for number in range(count):
        watch.heard(symbol, start + number * interval)
    return start + (count - 1) * interval


def test_a_symbol_that_was_never_heard_is_not_missed(watch):
    assert watch.silent(10**9) == []


def test_a_busy_symbol_is_silent_after_the_timeout(watch):
    last = heard_regularly(watch, "BTCUSDT", 0.1, 50)
    assert watch.silent(last + TIMEOUT) == []
    assert watch.silent(last + TIMEOUT + 0.01) == ["BTCUSDT"]


def test_a_thin_symbol_has_its_long_pauses(watch):
    last = heard_regularly(watch, "DUSTUSDT", 60.0, 5)
    assert watch.silent(last + USUAL_FACTOR * 60.0 - 1) == []
    assert watch.silent(last + USUAL_FACTOR * 60.0 + 1) == ["DUSTUSDT"]


def test_a_symbol_heard_once_is_given_its_time(watch):
    watch.heard("NEWUSDT", 0.0)
    assert watch.silent(USUAL_FACTOR * TIMEOUT - 1) == []
    assert watch.silent(USUAL_FACTOR * TIMEOUT + 1) == ["NEWUSDT"]


def test_symbols_are_watched_one_by_one(watch):
    for number in range(300):
        watch.heard("BTCUSDT", number * 0.1)
        if number < 100:
            watch.heard("ETHUSDT", number * 0.1)
    assert watch.silent(29.9) == ["ETHUSDT"]


def test_hearing_again_ends_the_silence(watch):
    last = heard_regularly(watch, "BTCUSDT", 0.1, 50)
    watch.heard("BTCUSDT", last + 60)
    assert watch.silent(last + 60 + TIMEOUT - 1) == []


def test_a_symbol_that_has_become_slow_is_measured_by_its_new_pace(watch):
    last = heard_regularly(watch, "BTCUSDT", 0.1, 100)
    last = heard_regularly(watch, "BTCUSDT", 5.0, 60, start=last + 5)
    assert watch.silent(last + 90) == []
    assert watch.silent(last + 110) == ["BTCUSDT"]


def test_a_burst_of_diffs_at_the_same_moment_harms_nothing(watch):
    for _ in range(100):
        watch.heard("BTCUSDT", 5.0)
    assert watch.silent(5.0 + TIMEOUT) == []
    assert watch.silent(5.0 + TIMEOUT + 0.1) == ["BTCUSDT"]
