"""What `verify` finds of one symbol. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, log

from fairprice.messages import Book, Gap

STEP = 0.01
"""Width of a class of spreads: one in a hundred, so that a median is right to that."""


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
    _least: float = 0.0
    _greatest: float = 0.0
    _sum: float = 0.0
    _count: int = 0

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
        if not self._count:
            return None
        median, high = self._quantiles((0.5, 0.95))
        return {
            "least": self._least,
            "mean": self._sum / self._count,
            "median": median,
            "p95": high,
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
        self._least = min(self._least, spread) if self._count else spread
        self._greatest = max(self._greatest, spread)
        self._sum += spread
        self._count += 1
        if spread > 0:
            self._spreads[round(log(spread) / STEP)] += 1

    def _quantiles(self, parts: Iterable[float]) -> list[float]:
        found = []
        for part in parts:
            left = part * self._count - (self._count - self._spreads.total())
            for step, count in sorted(self._spreads.items()):
                left -= count
                if left <= 0:
                    found.append(min(max(exp(step * STEP), self._least), self._greatest))
                    break
            else:
                found.append(self._greatest)
        return found
