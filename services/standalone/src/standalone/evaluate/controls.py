"""What cannot know more than the mid does, made of an estimator's own leans: it has to show nothing. Pure.

shuffled        each lean at an instant drawn by lot: shows whether the judgement finds something in nothing
late            each lean a second after its time: tells how fast what it knows grows old, so it may show a rest
halves swapped  the leans of the first half with the moves of the second, and the other way round: like shuffled,
                but each lean stays as like its neighbours as it is
"""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from math import nan

from standalone.evaluate.bootstrap import Randomness
from standalone.evaluate.pairs import Column, Pairs


def shuffled(pairs: Pairs, random: Randomness) -> Pairs:
    """Return the pairs with their leans in an order drawn by lot, by Fisher and Yates."""
    leans = array("d", pairs.leans)
    for last in range(len(leans) - 1, 0, -1):
        drawn = int(random() * (last + 1))
        leans[last], leans[drawn] = leans[drawn], leans[last]
    return replace(pairs, leans=leans)


def halves_swapped(pairs: Pairs) -> Pairs:
    """Return the pairs with the leans of their halves exchanged."""
    half = pairs.count // 2
    return replace(pairs, leans=array("d", [*pairs.leans[half:], *pairs.leans[:half]]))


def late(leans: Column, segments: Sequence[int], steps: int) -> Column:
    """Return each lean so many steps after its time, NaN where its segment had not begun then."""
    pairs = zip(leans, segments, segments[steps:], strict=False)
    before = [lean if segment == later else nan for lean, segment, later in pairs]
    return array("d", [nan] * (len(leans) - len(before)) + before)
