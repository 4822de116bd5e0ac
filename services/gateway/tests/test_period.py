"""Which part of the past somebody asks for: what is understood, and the sentence for everything else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

from gateway.period import DAY, HOUR, MOST_BARS, SECOND, STEPS, read_period, usual_step
from gateway.stored.port import MINUTE, MOST_TICKS

NEWEST = 1_723_075_200_000_000
"""2024-08-08T00:00:00Z."""


@each_row(
    ("asked", "period"),
    [
        (("", "", ""), (NEWEST - HOUR, NEWEST + 5 * SECOND, 5 * SECOND)),
        (("-15m", "", "1s"), (NEWEST - 15 * MINUTE, NEWEST + SECOND, SECOND)),
        (("-1d", "", "5m"), (NEWEST - DAY, NEWEST + 5 * MINUTE, 5 * MINUTE)),
        (
            ("2024-08-07T10:00:00Z", "2024-08-07T12:30:00+02:00", "1m"),
            (NEWEST - 14 * HOUR, NEWEST - 14 * HOUR + 30 * MINUTE, MINUTE),
        ),
        (("2024-08-07", "2024-08-07T01:00", "1h"), (NEWEST - DAY, NEWEST - 23 * HOUR, HOUR)),
        ((str(NEWEST - HOUR), str(NEWEST), "1m"), (NEWEST - HOUR, NEWEST, MINUTE)),
        (("-1h", "2024-08-07T12:00:00Z", "1m"), (NEWEST - 13 * HOUR, NEWEST - 12 * HOUR, MINUTE)),
        (("-1h", "2024-09-01", "1h"), None),
    ],
)
def test_times_and_steps_are_understood(asked, period):
    if period is None:  # a period that ends in the future begins there, too
        with pytest.raises(ValueError, match="begins after the newest price, which is of 2024-08-08T00:00:00Z"):
            read_period(*asked, NEWEST)
    else:
        assert read_period(*asked, NEWEST)[:3] == period


@each_row(
    ("asked", "told"),
    [
        (("2024-08-07T12:00Z", "2024-08-07T11:00Z", ""), "from (2024-08-07T12:00:00Z) has to be before to"),
        (("2024-08-07T12:00Z", "2024-08-07T12:00Z", ""), "has to be before to"),
        (("2031-01-01", "", ""), "has to be before to (2024-08-08T00:00:00Z)"),
        (("yesterday", "", ""), "from is no time: 'yesterday'; write a time like 2026-11-29T10:00:00Z"),
        (("", "2024-13-45", ""), "to is no time"),
        (("-1y", "", ""), "from is no duration: '1y'; write one like 500ms"),
        (("-99999999w", "", ""), "from is not between 1970 and 2100"),
        (("9" * 30, "", ""), "from is not between 1970 and 2100"),
        (("1969-12-31", "", ""), "from is not between 1970 and 2100"),
        (("-1d", "", "10s"), "a period of more than 2 hours needs a step of at least 1m"),
        (("-1h", "", "1ms"), "step has to be at least 100ms"),
        (("-1h", "", "90s"), "whole minutes"),
        (("-1h", "", "0s"), "step is no duration: '0s'"),
        (("-1h", "", "100ms"), "more than 5000 steps; ask for a shorter period or a step of at least 5s"),
        (("-30d", "", "1m"), "or a step of at least 30m"),
        (("-1h", "", "٣m"), "step is no duration"),
    ],
)
def test_everything_else_is_answered_with_what_to_write(asked, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        read_period(*asked, NEWEST)


@given(span=st.integers(1, 20 * 365 * DAY))
def test_without_a_step_there_are_never_more_bars_than_an_answer_holds(span):
    step = usual_step(span)
    assert span <= step * MOST_BARS
    assert step in STEPS
    assert step >= MINUTE or span <= MOST_TICKS
