"""What `standalone evaluate` prints: a table of each symbol with a verdict in words, or one JSON object. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from standalone.evaluate.bands import STATED, Coverage
from standalone.evaluate.bootstrap import Interval
from standalone.evaluate.instants import STEP
from standalone.evaluate.score import SECOND, Score, TooFew
from standalone.evaluate.verdict import band_sentence, sentence, suspicions, verdict

BASELINE = "mid"
"""The estimator that all others are compared with."""

HEAD = ("horizon", "estimator", "squared", "95 %", "absolute", "DM", "slope", "pairs", "moves")
TICKERS_HEAD = ("as it is", "own mid", "live")
CONTROLS = ("shuffled", "late_1s", "halves_swapped")
CONTROLS_HEAD = ("shuffled", "late 1 s", "halves swapped")

LEGEND = (
    "squared, absolute: errors in units of those of a mid that stays as it is; below 1 the estimator is better.",
    "DM: Diebold-Mariano, beyond 2 hardly chance. slope: Mincer-Zarnowitz, 1 where its leans have the right size.",
)
TICKERS_LEGEND = (
    "as it is: the book's price, old by the time the next diff comes. own mid: book against book, which flatters.",
    "live: the price of the book with the newest ticker's top put in.",
)
FORECAST = "forecast_mid"
FORECAST_LEGEND = {
    True: "forecast_mid: ahead as far as the horizon, where the model has a beta for it (0.5, 1, 5 s).",
    False: "forecast_mid: ahead as far as was set when it was stored, whatever the horizon.",
}
"""By whether there are tickers."""

CONTROLS_LEGEND = (
    "shuffled, late, halves swapped: controls that know nothing, or only what is a second old; none should be below 1.",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one symbol; `has_tickers`: measured against the mid of the tickers in receive time."""

    venue: str
    symbol: str
    has_tickers: bool
    first_time: int
    last_time: int
    instants: int
    books: int
    tickers: int
    breaks: int
    scores: Sequence[Score | TooFew]
    bands: Sequence[Coverage]
    notes: Sequence[str] = ()
    """What is to be known of the estimators."""

    @property
    def seconds(self) -> float:
        """How much of the market was looked at."""
        return (self.last_time - self.first_time) / SECOND

    @property
    def suspicions(self) -> list[str]:
        """What says that something is wrong."""
        return suspicions(self.scores)

    @property
    def is_too_short(self) -> bool:
        """Whether nothing can be said at all."""
        return all(isinstance(score, TooFew) for score in self.scores)


def lines(report: Report, width: int | None = None) -> Iterator[str]:
    """Yield the lines of a report; `width` is that of the terminal, None where there is none."""
    clock = "receive time" if report.has_tickers else "the exchange's time"
    events = f"{report.books:,} books" + (f" and {report.tickers:,} tickers" if report.has_tickers else "")
    yield (
        f"{report.symbol} of {report.venue}: {report.seconds:,.0f} s, {report.instants:,} instants {STEP / SECOND:g} s "
        f"apart in {clock}, from {events}, {report.breaks:,} breaks"
    )
    if report.has_tickers:
        yield "Measured against the real-time mid, that of the tickers."
    else:
        yield (
            "Measured against the mid of the row a horizon later: a store holds no tickers, and against the book's own "
            "mid an estimator looks better than it is."
        )
    yield ""
    yield from _table(report, width)
    yield ""
    yield from (*LEGEND, *(TICKERS_LEGEND if report.has_tickers else ()), *CONTROLS_LEGEND)
    if any(score.estimator == FORECAST for score in report.scores):
        yield FORECAST_LEGEND[report.has_tickers]
    yield from report.notes
    yield ""
    yield from (sentence(score) for score in report.scores if score.estimator != BASELINE)
    yield from map(band_sentence, report.bands)
    yield from (f"warning: {each}" for each in report.suspicions)


def as_json(report: Report) -> dict[str, object]:
    """Return all of it; times are microseconds."""
    return {
        "venue": report.venue,
        "symbol": report.symbol,
        "target": "real_time_mid" if report.has_tickers else "mid_of_the_row",
        "first_time": report.first_time,
        "last_time": report.last_time,
        "instants": report.instants,
        "books": report.books,
        "tickers": report.tickers,
        "breaks": report.breaks,
        "estimators": [_score(score) for score in report.scores],
        "bands": [_band(band) for band in report.bands],
        "notes": report.notes,
        "suspicions": report.suspicions,
    }


def _table(report: Report, width: int | None) -> Iterator[str]:
    """Yield the lines of the table, of two one below the other where it is wider than `width`."""
    head = (*HEAD, *(TICKERS_HEAD if report.has_tickers else ()), *CONTROLS_HEAD)
    rows = [head, *(_row(score, report.has_tickers) for score in report.scores)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    whole = range(len(head))
    is_too_wide = width is not None and sum(widths) + 2 * (len(head) - 1) > width
    parts = [whole[: len(HEAD)], [*whole[:2], *whole[len(HEAD) :]]] if is_too_wide else [whole]
    for number, part in enumerate(parts):
        yield from ("",) * (number > 0)
        for row in rows:
            cells = (
                row[place].ljust(widths[place]) if place < 2 else row[place].rjust(widths[place]) for place in part
            )
            yield "  ".join(cells).rstrip()


def _row(score: Score | TooFew, has_tickers: bool) -> tuple[str, ...]:  # noqa: FBT001  one of two tables
    name = f"{score.horizon / SECOND:g} s", score.estimator
    counts = f"{score.pairs:,}", f"{score.moves:,}"
    if isinstance(score, TooFew):
        return (*name, *"-----", *counts, *"-" * (6 if has_tickers else 3))
    return (
        *name,
        f"{score.squared.value:.3f}",
        f"[{score.squared.low:.3f}, {score.squared.high:.3f}]",
        f"{score.absolute.value:.3f}",
        "-" if score.dm is None else f"{score.dm:.1f}",
        "-" if score.slope is None else f"{score.slope.value:.2f}",
        *counts,
        *((_ratio(score.as_it_is), _ratio(score.own_mid), _ratio(score.live)) if has_tickers else ()),
        *(_ratio(score.controls[name]) for name in CONTROLS),
    )


def _ratio(interval: Interval | None) -> str:
    return f"{interval.value:.3f}" if interval else "-"


def _score(score: Score | TooFew) -> Mapping[str, object]:
    counts = {"pairs": score.pairs, "moves": score.moves}
    told = {
        "estimator": score.estimator,
        "horizon_s": score.horizon / SECOND,
        "verdict": None if score.estimator == BASELINE else verdict(score),
        "sentence": None if score.estimator == BASELINE else sentence(score),
        **counts,
    }
    if isinstance(score, TooFew):
        return told
    return {
        **told,
        "squared": _interval(score.squared),
        "absolute": _interval(score.absolute),
        "diebold_mariano": score.dm,
        "mincer_zarnowitz": _interval(score.slope),
        "as_it_is": _interval(score.as_it_is),
        "own_mid": _interval(score.own_mid),
        "live": _interval(score.live),
        "controls": {name: _interval(control) for name, control in score.controls.items()},
    }


def _band(band: Coverage) -> Mapping[str, object]:
    return {
        "horizon_s": band.horizon / SECOND,
        "pairs": band.pairs,
        "stated": STATED,
        "covered": _interval(band.share),
        "sentence": band_sentence(band),
    }


def _interval(interval: Interval | None) -> Mapping[str, float] | None:
    return interval._asdict() if interval else None
