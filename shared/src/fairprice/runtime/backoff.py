"""How long to wait before trying again."""

from collections.abc import Iterator
from random import Random


def delays(random: Random, *, first: float = 0.1, cap: float = 5.0) -> Iterator[float]:
    """Yield seconds to wait without end: doubling from `first` up to `cap`, each drawn evenly from its upper half.

    The jitter keeps many clients that lost the same server from returning in the same instant.
    """
    ceiling = first
    while True:
        yield random.uniform(ceiling / 2, ceiling)
        ceiling = min(cap, ceiling * 2)
