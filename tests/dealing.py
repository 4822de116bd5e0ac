"""Deals the tests out to parallel workers: to each long ones first and short ones last.

`--dist worksteal` gives each worker a part of the list, all of one size, and whoever has done his takes over the end of
another's. Left as they are found, all that wait for processes would be in one part, and at the end one worker would be
left with a long test while the others have nothing to do.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, islice
from typing import TypeVar

Test = TypeVar("Test")


def dealt(
    tests: Sequence[Test], workers: int, *, is_long: Callable[[Test], bool], stack: Callable[[Test], Hashable]
) -> list[Test]:
    """Return the tests in the order in which worksteal gives each of so many workers his part.

    Long ones of a `stack` share what is dear to set up: they go to one worker, the highest stacks first.
    """
    stacks = defaultdict(list)
    for test in filter(is_long, tests):
        stacks[stack(test)].append(test)
    hands: list[list[Test]] = [[] for _ in range(workers)]
    for long in sorted(stacks.values(), key=len, reverse=True):
        min(hands, key=len).extend(long)
    short = iter([test for test in tests if not is_long(test)])
    for hand, size in zip(hands, _sizes(len(tests), workers), strict=True):
        hand.extend(islice(short, max(0, size - len(hand))))
    return [*chain.from_iterable(hands), *short]


def _sizes(tests: int, workers: int) -> Iterable[int]:
    """Yield how many tests worksteal gives each worker at first."""
    for left in range(workers, 0, -1):
        yield tests // left
        tests -= tests // left
