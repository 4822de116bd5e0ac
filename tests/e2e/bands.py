"""How often a band holds: from rows alone, apart from the code that makes or judges bands."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

SPANS = {"1s": 1_000_000, "10s": 10_000_000}
"""Microseconds."""


def coverage(rows: Sequence[tuple[int, Mapping[str, float | None]]], name: str) -> tuple[int, float]:
    """Return how many bands there are whose outcome is known, and the share of the outcomes that lie inside.

    A row is a time and its values; the outcome is the mid of the last row at most so much later.
    """
    times = [time for time, _ in rows]
    inside = []
    for time, values in rows:
        low, high, end = values[f"band_{name}_low"], values[f"band_{name}_high"], time + SPANS[name]
        if low is not None and high is not None and end <= times[-1]:
            outcome = rows[bisect_right(times, end) - 1][1]["mid"]
            assert outcome is not None
            inside.append(low <= outcome <= high)
    return len(inside), sum(inside) / max(1, len(inside))
