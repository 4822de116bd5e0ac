"""The grid of verdicts for a terminal: a line a symbol and day, a character an hour. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from fairprice.coverage import HOUR, MARKS, Verdict
from storer.audit.account import HourOf
from storer.stores.port import Key

_COLOURS = {
    Verdict.VERIFIED: "32",
    Verdict.UNVERIFIED: "33",
    Verdict.HOLE: "36",
    Verdict.SUSPECT: "35",
    Verdict.UNRECORDED_HOLE: "1;31",
}

NOTHING = "."

_TIED = "\xa0"

_DAY = 24 * HOUR


def grid(hours: Mapping[Key, Iterable[HourOf]], *, width: int, colour: bool) -> Iterator[str]:
    """Yield the lines of a grid that is at most `width` columns wide, a few more than thirty at least."""
    names = {key: " ".join(key) for key in hours}
    label = max(map(len, names.values()), default=0)
    fits = label + 2 + len("11-28  ") + 24 <= width
    yield f"{'hours, UTC':{label + 9 if fits else 9}}{'0     6     12    18':24}".rstrip()
    for key, of_key in hours.items():
        if not fits:
            yield names[key]
        name = names[key] if fits else ""
        for day, line in _days(of_key, colour=colour):
            yield f"{name:{label if fits else 0}}  {day}  {line}"
            name = ""
    yield from (line.replace(_TIED, " ") for line in textwrap.wrap(_legend(), max(width, 33)))


def paint(verdict: Verdict, text: str, *, colour: bool) -> str:
    """Return the text in the colour of the verdict."""
    return f"\x1b[{_COLOURS[verdict]}m{text}\x1b[0m" if colour else text


def _days(hours: Iterable[HourOf], *, colour: bool) -> Iterator[tuple[str, str]]:
    days: dict[int, list[str]] = {}
    for hour in hours:
        day, position = hour.time // _DAY, hour.time % _DAY // HOUR
        cells = days.setdefault(day, [NOTHING] * 24)
        cells[position] = paint(hour.verdict, MARKS[hour.verdict][0], colour=colour)
    for day, cells in sorted(days.items()):
        yield datetime.fromtimestamp(day * _DAY / 1e6, UTC).strftime("%m-%d"), "".join(cells)


def _legend() -> str:
    entries = [*(f"{mark} {meaning}" for mark, meaning in MARKS.values()), f"{NOTHING} nothing stored"]
    return "; ".join(entry.replace(" ", _TIED) for entry in entries)
