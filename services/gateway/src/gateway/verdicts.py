"""What can be said of a bar of the past: how far it was compared, and which gaps reach into it. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gateway.stored.port import MINUTE, Bar, Compared, StoredGap

VERDICTS: Mapping[str, str] = {
    "compared": "the best bid and ask were compared with the exchange's ticker in every minute",
    "unverified": "not verified: a minute has prices and nothing that they were compared with",
    "hole": "updates of the exchange are missing, and a gap says so",
    "suspect": "a comparison with the exchange was wrong",
}
"""What can be said of a bar: each verdict and its meaning."""


class Judged(NamedTuple):
    """The worst that can be said of a bar, a key of `VERDICTS`, and the reasons of its gaps, each once."""

    verdict: str
    reasons: str


def judged(
    bars: Iterable[Bar], step: int, newest: int, compared: Iterable[Compared], gaps: Iterable[StoredGap]
) -> Iterator[Judged]:
    """Yield what is said of each bar of `step` microseconds; bars and gaps are in order of time.

    The minute that begins at `newest` may still be compared: its audit comes with the first book behind it.
    """
    known = {each.time: each for each in compared}
    for bar, reaching in with_gaps(bars, step, gaps):
        begin = bar.time if step >= MINUTE else bar.time // MINUTE * MINUTE
        found = known.get(begin, Compared(begin, 0, 0))
        is_newest = begin <= newest < begin + max(step, MINUTE)
        if reaching:
            verdict = "hole"
        elif found.wrong:
            verdict = "suspect"
        else:
            verdict = "unverified" if found.minutes < bar.minutes - is_newest else "compared"
        yield Judged(verdict, " ".join(dict.fromkeys(gap.reason for gap in reaching)))


def with_gaps(bars: Iterable[Bar], step: int, gaps: Iterable[StoredGap]) -> Iterator[tuple[Bar, list[StoredGap]]]:
    """Yield each bar of `step` microseconds with the gaps that reach into it; each is passed once, in order of time."""
    coming = iter(gaps)
    following = next(coming, None)
    reaching: list[StoredGap] = []
    for bar in bars:
        reaching = [gap for gap in reaching if gap.to_time >= bar.time]
        while following and following.from_time < bar.time + step:
            if following.to_time >= bar.time:
                reaching.append(following)
            following = next(coming, None)
        yield bar, reaching
