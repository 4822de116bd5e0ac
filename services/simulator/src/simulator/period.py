"""A part of a recording: from when, and to when."""

import re
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import NamedTuple

AFTER_BEGIN = re.compile(r"\+?((?:\d+(?:\.\d+)?[smhd])+)")
UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
LATEST_NS = 2**63


class Moment(NamedTuple):
    """A time: nanoseconds since the epoch, or since the first line of a recording."""

    ns: int
    is_relative: bool

    def after(self, begin_ns: int) -> int:
        """The time in nanoseconds since the epoch, of a recording that begins then."""
        return self.ns + begin_ns if self.is_relative else self.ns


class Period(NamedTuple):
    """From one receive time, included, to another, left out, in nanoseconds."""

    from_ns: int = 0
    to_ns: int = LATEST_NS

    def __contains__(self, time_ns: object) -> bool:
        return isinstance(time_ns, int) and self.from_ns <= time_ns < self.to_ns


ALWAYS = Period()


def moment(text: str) -> Moment:
    """Reads `2024-08-09T00:05:00Z` (without a zone it is UTC) or `10m`, `+1h30m` after the begin.

    Raises:
        ArgumentTypeError: it is neither.
    """
    if found := AFTER_BEGIN.fullmatch(text):
        parts = re.findall(r"([\d.]+)([smhd])", found[1])
        return Moment(sum(round(float(number) * UNITS_NS[unit]) for number, unit in parts), is_relative=True)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither a time like 2024-08-09T00:05:00Z nor like 10m or 1h30m") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return Moment(round(time.timestamp() * 1_000_000) * 1000, is_relative=False)


def add_part_options(parser: ArgumentParser) -> None:
    """Adds what chooses a part of a recording, and how much of it has to be readable; nothing is set unless given."""
    parser.add_argument(
        "--from",
        dest="start",
        type=moment,
        default=SUPPRESS,
        metavar="TIME",
        help="play from 2024-08-09T00:05:00Z on, or from 10m behind the recording's begin",
    )
    parser.add_argument("--to", dest="end", type=moment, default=SUPPRESS, metavar="TIME", help="play up to then")
    parser.add_argument(
        "--strict",
        action="store_true",
        default=SUPPRESS,
        help="refuse recordings of which something cannot be read",
    )


def told(time_ns: int) -> str:
    """A time for people."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
