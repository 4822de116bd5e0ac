"""How far the price of a symbol at one venue lies above that at another: the second witness of a price."""

from collections.abc import Iterable


def reference(venues: Iterable[str]) -> str:
    """Return the venue that the others are measured against: the first by name, the same whoever asks."""
    return min(venues)


def basis_bps(mid: float, reference_mid: float) -> float:
    """Return how far a mid lies above that of the reference, in basis points of the latter."""
    return (mid / reference_mid - 1) * 1e4
