"""Draws the intervals of all estimators beside the mid, the line at 1. Pure."""

from collections.abc import Sequence
from math import ceil, floor

from standalone.evaluate.picture import LETTER, Colour, Picture
from standalone.evaluate.report import BASELINE, Report
from standalone.evaluate.score import SECOND, Score
from standalone.evaluate.verdict import Verdict, verdict

ROW, MARGIN, AXIS = 24, 16, 480
TEXT = 14
"""Pixels."""

NAMES = 22
"""Letters before the axis."""

COLOURS = {Verdict.BEATS: Colour.GREEN, Verdict.WORSE: Colour.RED, Verdict.NO_DIFFERENCE: Colour.GREY}
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MOST_STEPS = 8

LEFT = MARGIN + NAMES * LETTER
RIGHT = LEFT + AXIS
FIGURES = len(" 0.965 [0.929, 0.983]")


def plot(reports: Sequence[Report]) -> Picture:
    """Return a picture with a part for each report of which anything can be said."""
    parts = [(report, scores) for report in reports if (scores := _scores(report))]
    height = 2 * MARGIN + sum((len(scores) + 4) * ROW for _, scores in parts)
    picture = Picture(RIGHT + FIGURES * LETTER + MARGIN, height)
    top = MARGIN
    for report, scores in parts:
        _draw(picture, top, report, scores)
        top += (len(scores) + 4) * ROW
    return picture


def _scores(report: Report) -> list[Score]:
    return [score for score in report.scores if isinstance(score, Score) and score.estimator != BASELINE]


def _draw(picture: Picture, top: int, report: Report, scores: Sequence[Score]) -> None:
    target = "the real-time mid" if report.has_tickers else "the mid of the row"
    title = f"{report.symbol} of {report.venue}: squared error in units of that of {target}"
    picture.write(MARGIN, top, title)
    scale = Scale(scores)
    top += 2 * ROW
    for tick in scale.ticks:
        x = scale.pixel(tick)
        picture.fill(x, top - ROW // 4, 1, len(scores) * ROW, Colour.PALE)
        label = f"{tick:.{scale.decimals}f}"
        picture.write(x - len(label) * LETTER // 2, top + len(scores) * ROW, label, Colour.GREY)
    picture.fill(scale.pixel(1.0), top - ROW // 4, 2, len(scores) * ROW, Colour.BLACK)
    for score in scores:
        _draw_score(picture, top, score, scale)
        top += ROW


def _draw_score(picture: Picture, top: int, score: Score, scale: "Scale") -> None:
    squared, colour, middle = score.squared, COLOURS[verdict(score)], top + TEXT // 2
    picture.write(MARGIN, top, f"{score.horizon / SECOND:g} s".ljust(6) + score.estimator)
    low, high, value = (scale.pixel(each) for each in (squared.low, squared.high, squared.value))
    picture.fill(low, middle - 1, high - low + 1, 2, colour)
    picture.fill(value - 4, middle - 4, 8, 8, colour)
    picture.write(RIGHT, top, f" {squared.value:.3f} [{squared.low:.3f}, {squared.high:.3f}]", colour)


class Scale:
    """Where a ratio lies on the axis, which holds all intervals and the line at 1."""

    def __init__(self, scores: Sequence[Score]) -> None:
        low = min(1.0, *(score.squared.low for score in scores))
        high = max(1.0, *(score.squared.high for score in scores))
        step = next((each for each in STEPS if (high - low) / each <= MOST_STEPS), high - low)
        first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)
        self.ticks = [number * step for number in range(first, last + 1)]
        self.decimals = 3 if step < 0.01 else 2
        self._low, self._width = self.ticks[0], self.ticks[-1] - self.ticks[0]

    def pixel(self, ratio: float) -> int:
        """Return the pixel of a ratio."""
        return LEFT + round((ratio - self._low) / self._width * AXIS)
