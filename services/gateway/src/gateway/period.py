"""Which part of the past somebody asks for, in words; whatever is wrong is answered with a sentence."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.stored.port import MINUTE, MOST_TICKS

SECOND = 1_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
"""Microseconds."""

MOST_BARS = 5000
"""Bars in an answer."""

USUAL_BARS = 1500
"""About how many there are where nobody asks for a step."""

STEPS = (
    *(SECOND // 10, SECOND // 5, SECOND // 2),
    *(each * SECOND for each in (1, 2, 5, 10, 15, 30)),
    *(each * MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * HOUR for each in (1, 2, 4, 6, 12)),
    *(each * DAY for each in (1, 2, 7)),
)
"""Steps that are taken where nobody asks for one."""

_UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_LATEST = 4_102_444_800 * SECOND
"""The year 2100."""

_TIMES = "write a time like 2026-11-29T10:00:00Z, microseconds since 1970, or -15m, -1h, -7d before the end"


class Period(NamedTuple):
    """The times [start, stop) in steps, in microseconds; both are multiples of the step.

    `newest` is where the minute of the symbol's newest price begins.
    """

    start: int
    stop: int
    step: int
    newest: int


def read_period(start: str, stop: str, step: str, newest: int) -> Period:
    """Read the three as they were written; empty ones are the last hour up to the newest price, and a step that fits.

    Raises `ValueError` with a sentence about what to write instead.
    """
    end = _time("to", stop, newest) if stop else newest + 1
    begin = _time("from", start or "-1h", end)
    if begin >= end:
        raise ValueError(f"from ({told(begin)}) has to be before to ({told(end)})")
    if begin > newest:
        raise ValueError(f"the period begins after the newest price, which is of {told(newest)}")
    length = _duration("step", step) if step else usual_step(end - begin)
    _check(end - begin, length)
    return Period(begin // length * length, -(-end // length) * length, length, newest // MINUTE * MINUTE)


def usual_step(span: int) -> int:
    """Return the step of which about `USUAL_BARS` fill so many microseconds."""
    least = span / USUAL_BARS if span <= MOST_TICKS else max(MINUTE, span / USUAL_BARS)
    return next((step for step in STEPS if step >= least), STEPS[-1])


def told(time: int) -> str:
    """Return a time as a person writes it, to the second."""
    return datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(span: int, step: int) -> None:
    if step < SECOND // 10 or (step > MINUTE and step % MINUTE):
        raise ValueError("step has to be at least 100ms, and from a minute on whole minutes, like 5m or 1h")
    if step < MINUTE and span > MOST_TICKS:
        raise ValueError(f"a period of more than {MOST_TICKS // HOUR} hours needs a step of at least 1m")
    if span > step * MOST_BARS:
        raise ValueError(
            f"that is more than {MOST_BARS} steps; ask for a shorter period or a step of at least "
            f"{_written(max(usual_step(span), step))}"
        )


def _time(name: str, text: str, before: int) -> int:
    """Return a time; `before` is what a relative one goes back from."""
    if text.startswith("-"):
        time = before - _duration(name, text[1:])
    elif text.isascii() and text.isdigit():
        time = int(text[:20])
    else:
        time = _absolute(name, text)
    if not 0 <= time < _LATEST:
        raise ValueError(f"{name} is not between 1970 and 2100: {_TIMES}")
    return time


def _absolute(name: str, text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} is no time: {text[:40]!r}; {_TIMES}") from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return round(found.timestamp() * SECOND)


def _duration(name: str, text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,8})(ms|s|m|h|d|w)", text, re.ASCII)
    if not match:
        raise ValueError(f"{name} is no duration: {text[:40]!r}; write one like 500ms, 10s, 5m, 1h, 7d")
    return int(match[1]) * _UNITS[match[2]]


def _written(step: int) -> str:
    unit = next(name for name in ("d", "h", "m", "s", "ms") if step % _UNITS[name] == 0)
    return f"{step // _UNITS[unit]}{unit}"
