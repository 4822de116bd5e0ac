"""Bars of one step from bars of several sources. Pure."""

from collections.abc import Iterable
from itertools import chain

from gateway.stored.port import Bar


def joined(stored: Iterable[Bar], newer: Iterable[Bar], step: int) -> list[Bar]:
    """Return the bars of `step` microseconds that these make, each in order of time and none of both."""
    bars: list[Bar] = []
    for bar in chain(stored, newer):
        begin = bar.time // step * step
        if bars and bars[-1].time == begin:
            bars[-1] = _together(bars[-1], bar)
        else:
            bars.append(bar._replace(time=begin))
    return bars


def _together(one: Bar, later: Bar) -> Bar:
    return Bar(
        one.time,
        one.open,
        max(one.high, later.high),
        min(one.low, later.low),
        later.close,
        _mean(one, later),
        one.prices + later.prices,
        one.minutes + later.minutes,
    )


def _mean(one: Bar, later: Bar) -> float | None:
    """Return the mean spread over the minutes of both, as the store does."""
    if one.spread is None or later.spread is None:
        return later.spread if one.spread is None else one.spread
    return (one.spread * one.minutes + later.spread * later.minutes) / (one.minutes + later.minutes)
