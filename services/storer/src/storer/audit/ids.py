"""Which ids of some ranges nobody has brought, while rows come by. Pure."""

from collections.abc import Iterable

from fairprice.gaps import uncovered

Range = tuple[int, int]
"""The first and the last id; nothing where the last is below the first."""


class Missing:
    """The ids of one range that no row has brought so far."""

    def __init__(self, first: int, last: int) -> None:
        self.ranges: list[Range] = [(first, last)] if first <= last else []

    def remove(self, first: int, last: int) -> bool:
        """Take away what a row brings; return whether that was any."""
        if not any(low <= last and first <= high for low, high in self.ranges):
            return False
        pieces = [
            piece for low, high in self.ranges for piece in ((low, min(high, first - 1)), (max(low, last + 1), high))
        ]
        self.ranges = [(low, high) for low, high in pieces if low <= high]
        return True

    def count(self) -> int:
        """Return how many are left."""
        return sum(high - low + 1 for low, high in self.ranges)

    def count_outside(self, claims: Iterable[Range]) -> int:
        """Return how many of those that are left lie in none of the claims."""
        known = list(claims)
        return sum(uncovered(low, high, known) for low, high in self.ranges)
