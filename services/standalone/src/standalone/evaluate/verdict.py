"""What follows from the intervals, in words. Pure."""

from collections.abc import Iterable
from enum import StrEnum

from standalone.evaluate.bands import STATED, Coverage
from standalone.evaluate.bootstrap import LEAST_BLOCKS, Interval
from standalone.evaluate.score import SECOND, Score, TooFew


class Verdict(StrEnum):
    """What can be said of an estimator at a horizon."""

    BEATS = "beats"
    NO_DIFFERENCE = "no_difference"
    """None can be shown."""
    WORSE = "worse"
    TOO_FEW = "too_few"
    """There are too few pairs to say anything."""


KNOWS_NOTHING = ("shuffled", "halves_swapped")
"""The controls that cannot know anything; one that comes late may know a rest."""


def verdict(score: Score | TooFew) -> Verdict:
    """Return the verdict; the interval of the squared error alone decides."""
    if isinstance(score, TooFew):
        return Verdict.TOO_FEW
    if score.squared.high < 1:
        return Verdict.BEATS
    return Verdict.WORSE if score.squared.low > 1 else Verdict.NO_DIFFERENCE


def sentence(score: Score | TooFew) -> str:
    """Return the verdict in words."""
    name, when = score.estimator, f"at {score.horizon / SECOND:g} s"
    if isinstance(score, TooFew):
        return (
            f"{name} {when}: too few pairs to say anything: {score.pairs:,} with {score.moves:,} moves in "
            f"{score.blocks} blocks of time, and {LEAST_BLOCKS} are the least"
        )
    gain = Interval(*(100 * (1 - ratio) for ratio in (score.squared.value, score.squared.high, score.squared.low)))
    match verdict(score):
        case Verdict.BEATS:
            told = f"{name} beats the mid {when} by {_percent(gain)}"
        case Verdict.WORSE:
            told = f"{name} is worse than the mid {when} by {_percent(_negative(gain))}"
        case _:
            told = f"{name} {when}: no difference can be shown {_ends(gain)}"
    return told + _absolute(score)


def suspicions(scores: Iterable[Score | TooFew]) -> list[str]:
    """Return what says that the data, or the judgement, are wrong: a control that beats the mid by far.

    By far is about four standard errors, since among many controls some beat the mid by chance.
    """
    return [
        f"{score.estimator} at {score.horizon / SECOND:g} s, {name.replace('_', ' ')}, beats the mid as well: "
        "nothing here is to be believed"
        for score in scores
        if isinstance(score, Score)
        for name in KNOWS_NOTHING
        if (control := score.controls[name]) and control.value + (control.high - control.low) < 1
    ]


def band_sentence(found: Coverage) -> str:
    """Return in words whether a band covers what it says."""
    share = Interval(*(100 * each for each in found.share))
    told = f"the band of {found.horizon / SECOND:g} s covers {_percent(share)}"
    if share.low <= 100 * STATED <= share.high:
        return f"{told}, as it says ({100 * STATED:g} %)"
    return f"{told} instead of {100 * STATED:g} %"


def _absolute(score: Score) -> str:
    """Return what the absolute error says, where that is something else."""
    more = Interval(*(100 * (ratio - 1) for ratio in score.absolute))
    if score.absolute.low > 1 and verdict(score) != Verdict.WORSE:
        return f"; its absolute error is greater by {_percent(more)}"
    if score.absolute.high < 1 and verdict(score) != Verdict.BEATS:
        return f"; its absolute error is smaller by {_percent(_negative(more))}"
    return ""


def _negative(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)


def _percent(interval: Interval) -> str:
    return f"{_number(interval.value, _decimals(interval))} % {_ends(interval)}"


def _ends(interval: Interval) -> str:
    decimals = _decimals(interval)
    return f"[{_number(interval.low, decimals)}, {_number(interval.high, decimals)}]"


def _number(value: float, decimals: int) -> str:
    """Return a number with so many decimals; a zero has no sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _decimals(interval: Interval) -> int:
    """Return so many that the interval's ends differ, none where a per cent is fine enough."""
    width = interval.high - interval.low
    return 0 if width >= 10 else 1 if width >= 1 else 2
