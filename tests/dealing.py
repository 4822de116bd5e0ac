"""Deals the tests out to parallel workers: to each long ones first and short ones last.

`--dist worksteal` gives each worker a part of the list, all of one size, and whoever has done his takes over the end of
another's. Left as they are found, all that wait for processes would be in one part, and at the end one worker would be
left with a long test while the others have nothing to do.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Generic, TypeVar

Test = TypeVar("Test")


@dataclass
class Hand(Generic[Test]):
    """What one worker is dealt, and how many tests worksteal gives him at first."""

    size: int
    tests: list[Test] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Return how many tests more worksteal gives him; less than none where it will not give him all of these."""
        return self.size - len(self.tests)


def dealt(
    tests: Sequence[Test], workers: int, *, seconds: Callable[[Test], float], stack: Callable[[Test], Hashable]
) -> list[Test]:
    """Return the tests in the order in which worksteal gives each of so many workers his part.

    `seconds` says about how long a long one takes, 0 of a short one. Long ones of a `stack` share what is dear to set
    up: they go to one worker. The longest stacks are dealt first, each to whoever has least to do and room for it.
    """

    def work(tests: Iterable[Test]) -> float:
        return sum(map(seconds, tests))

    stacks = defaultdict(list)
    for test in filter(seconds, tests):
        stacks[stack(test)].append(test)
    hands = [Hand[Test](size) for size in _sizes(len(tests), workers)]
    for long in sorted(stacks.values(), key=work, reverse=True):
        room = [hand for hand in hands if hand.room >= len(long)] or hands
        min(room, key=lambda hand: work(hand.tests)).tests.extend(long)
    short = iter([test for test in tests if not seconds(test)])
    for hand in hands:
        hand.tests.extend(islice(short, max(0, hand.room)))
    return [*chain.from_iterable(hand.tests for hand in hands), *short]


def _sizes(tests: int, workers: int) -> Iterable[int]:
    """Yield how many tests worksteal gives each worker at first."""
    for left in range(workers, 0, -1):
        yield tests // left
        tests -= tests // left
