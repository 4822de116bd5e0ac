"""Instants of a market whose moves follow a lean as far as a test says, without books."""

from math import sqrt
from random import Random

from standalone.evaluate.instants import STEP, Instants

PERSISTENCE = 0.9


def slope(drift, steps):
    """Return the slope of the move in so many steps on the lean at their begin."""
    return drift * (1 - PERSISTENCE**steps) / (1 - PERSISTENCE)


def instants(count, *, drift, size=0.3, seed=1, names=("lean",)):
    """Return so many instants; leans have the standard deviation `size`, steps of the mid one of 1 beside the drift."""
    random = Random(seed)
    made, mid, lean = Instants(names), 1000.0, 0.0
    for place in range(count):
        made.add(place * STEP, 0, mid, mid, dict.fromkeys(names, mid + lean))
        mid += drift * lean + random.gauss(0.0, 1.0)
        lean = PERSISTENCE * lean + random.gauss(0.0, size * sqrt(1 - PERSISTENCE**2))
    return made


def lots(seed):
    """Return what is drawn from for each purpose."""
    return lambda name: Random(f"{seed} {name}").random
