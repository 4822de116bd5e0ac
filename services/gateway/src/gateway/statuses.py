"""What the crawlers say of a symbol beside its book."""

from dataclasses import dataclass

from fairprice.messages import Status

KEPT = 150.0
"""Seconds for which a status counts: two and a half of the minutes in which a crawler repeats it."""

MAX_CRAWLERS = 16
"""Of more crawlers than that of one symbol, those heard last count."""


@dataclass(frozen=True, slots=True)
class _Heard:
    status: Status
    at: float


class Statuses:
    """The newest status from each crawler of one symbol; times are monotonic seconds.

    What a crawler said is forgotten when it has not repeated it for `kept` seconds: then nobody knows.
    """

    def __init__(self, kept: float = KEPT, *, max_crawlers: int = MAX_CRAWLERS) -> None:
        self._kept = kept
        self._most = max_crawlers
        self._heard: dict[str, _Heard] = {}

    def take(self, status: Status, now: float) -> None:
        """Make it what its crawler says now."""
        self._heard.pop(status.crawler, None)
        self._heard[status.crawler] = _Heard(status, now)
        if len(self._heard) > self._most:
            del self._heard[next(iter(self._heard))]

    def newest(self, now: float) -> Status | None:
        """Return the status that was heard last, None if none counts."""
        counted = self._counted(now)
        return counted[-1] if counted else None

    def problem(self, now: float) -> str | None:
        """Describe what is wrong as the crawlers do, each with its name where there are several."""
        counted = self._counted(now)
        named = len(counted) > 1
        problems = [f"{each.crawler}: {each.problem}" if named else each.problem for each in counted if each.problem]
        return "; ".join(problems) or None

    def model_time(self, now: float) -> int | None:
        """Return the exchange's time from which on the first crawler's books bring a model; None: nobody knows."""
        return min((each.model_time for each in self._counted(now) if each.model_time is not None), default=None)

    def _counted(self, now: float) -> list[Status]:
        return [heard.status for heard in self._heard.values() if now - heard.at < self._kept]
