"""How far many symbols have come with their synchronisation, and about how long the rest will take. Pure."""

from collections import deque

FEWEST = 10
"""Symbols out of sync at once from which on there is progress to tell."""

INTERVAL = 10.0
"""Seconds between two lines."""

WINDOW = 60.0
"""Seconds over which the pace is taken."""


class Progress:
    """Fed the symbols out of sync and the monotonic clock about once a second."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()
        self._line_at: float | None = None

    def watch(self, waiting: int, symbols: int, now: float) -> str | None:
        """Return a line for the log when there is one to write: now and then, and when all are in sync."""
        self._counts.append((now, waiting))
        while self._counts[0][0] < now - WINDOW:
            self._counts.popleft()
        if self._line_at is None:
            if waiting < FEWEST:
                return None
        elif waiting and now - self._line_at < INTERVAL:
            return None
        self._line_at = now if waiting else None
        return self.describe(waiting, symbols).removesuffix("; ") or f"all {symbols} symbols in sync"

    def describe(self, waiting: int, symbols: int) -> str:
        """Return `123 of 500 in sync, about 2 min left; `, nothing while few are not in sync."""
        if not waiting or (self._line_at is None and waiting < FEWEST):
            return ""
        left = self._seconds_left(waiting)
        return f"{symbols - waiting} of {symbols} in sync" + (f", about {_rounded(left)} left; " if left else "; ")

    def _seconds_left(self, waiting: int) -> float | None:
        """Return how long the rest takes at the pace of the last minute; None where there is none."""
        if not self._counts:
            return None
        (began, then), (now, _) = self._counts[0], self._counts[-1]
        return (now - began) * waiting / (then - waiting) if then > waiting and now > began else None


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
