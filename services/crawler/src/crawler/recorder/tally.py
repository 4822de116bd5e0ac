"""What `verify` finds of one symbol. Pure."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from math import exp, inf, log

from fairprice.messages import Book, Gap

STEP = 0.01
"""Width of a class of spreads: one in a hundred, so that a median is right to that."""

SMALLEST = 1e-6
"""Basis points: smaller spreads are of one class, also those that are none, of a book whose sides touch or cross."""


@dataclass(slots=True)
class Tally:
    """Counts of one symbol: gaps and the ids that they lack by reason, spreads in basis points by classes."""

    diffs: int = 0
    books: int = 0
    snapshots: int = 0
    tops: int = 0
    tops_wrong: int = 0
    levels: int = 0
    levels_wrong: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    first_update_id: int = 0
    last_update_id: int = 0
    _spreads: Counter[int] = field(default_factory=Counter)
    _least: float = inf
    _greatest: float = -inf
    _sum: float = 0.0

    def add_book(self, book: Book) -> None:
        """Count a book."""
        self.books += 1
        self.first_update_id = self.first_update_id or book.first_update_id
        self.last_update_id = book.update_id
        if book.bids and book.asks:
            bid, ask = float(book.bids[0][0]), float(book.asks[0][0])
            self._add_spread((ask - bid) / (ask + bid) * 20_000)

    def add_gap(self, gap: Gap) -> None:
        """Count a gap."""
        self.gaps[gap.reason] += 1
        self.missing += max(1, gap.to_update_id - gap.from_update_id + 1)

    def problems(self) -> list[str]:
        """Say what is wrong."""
        found = []
        if not self.books:
            found.append("no book")
        if self.gaps:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.gaps.items()))
            found.append(f"{self.missing} ids missing in {self.gaps.total()} gaps ({reasons})")
        if self.tops_wrong:
            found.append(f"{self.tops_wrong} tops wrong")
        if self.levels_wrong:
            found.append(f"{self.levels_wrong} levels wrong")
        return found

    def spread_bps(self) -> dict[str, float] | None:
        """Return least, mean, median, 95th percentile and greatest; None without a spread."""
        if not self._spreads:
            return None
        return {
            "least": self._least,
            "mean": self._sum / self._spreads.total(),
            "median": self._quantile(0.5),
            "p95": self._quantile(0.95),
            "greatest": self._greatest,
        }

    def to_json(self) -> dict[str, object]:
        """Return all of it."""
        names = (
            "diffs", "books", "snapshots", "tops", "tops_wrong", "levels", "levels_wrong", "missing",
            "first_update_id", "last_update_id",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "gaps": dict(self.gaps),
            "spread_bps": self.spread_bps(),
            "problems": self.problems(),
        }

    def _add_spread(self, spread: float) -> None:
        self._least = min(self._least, spread)
        self._greatest = max(self._greatest, spread)
        self._sum += spread
        self._spreads[round(log(max(spread, SMALLEST)) / STEP)] += 1

    def _quantile(self, part: float) -> float:
        steps = sorted(self._spreads)
        up_to = list(accumulate(self._spreads[step] for step in steps))
        step = steps[bisect_left(up_to, part * up_to[-1])]
        return min(max(exp(step * STEP), self._least), self._greatest)
