"""Stoikov's micro-price of one symbol: fitted to its past, and said again of its future. Pure.

It is the newest mid and what the chain of states expects beside: `micro_price` in the long run, as he has it, and
`micro_price_h` within the horizon at which it is judged, which is the better guess there.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import nan

from standalone.evaluate.chain import Chain, Transition, chain
from standalone.evaluate.instants import STEP, Instants, made_for
from standalone.evaluate.states import STATES, mirrored, states, tick_of

LIMIT, AHEAD = "micro_price", "micro_price_h"
"""The estimators that a model makes."""


@dataclass(frozen=True, slots=True)
class MicroPrice:
    """What was fitted: the moves of `chain` are in ticks, a step is one of the grid, times are microseconds."""

    venue: str
    symbol: str
    tick: Fraction
    first_time: int
    last_time: int
    chain: Chain


def fitted(venue: str, symbol: str, instants: Instants) -> MicroPrice:
    """Return the model of all instants; raises `ValueError` that says why there is none."""
    tick = tick_of(instants)
    if tick is None:
        raise ValueError("there is no instant with a mid")
    model = chain(_transitions(instants, tick), STATES, mirrored)
    model.limit()  # raises where there is none
    return MicroPrice(venue, symbol, tick, instants.times[0], instants.times[-1], model)


def say_again(instants: Instants, model: MicroPrice, horizons: Iterable[int]) -> None:
    """Add both estimators to the instants behind those that the model was fitted to; horizons are microseconds."""
    expected = {LIMIT: model.chain.limit(), AHEAD: [nan] * STATES}
    for horizon in horizons:
        expected[made_for(AHEAD, horizon)] = model.chain.ahead(horizon // STEP)
    tick, columns = float(model.tick), {name: array("d") for name in expected}
    for time, own, state in zip(instants.times, instants.own, states(instants, model.tick), strict=True):
        is_new = state is not None and time > model.last_time
        for name, column in columns.items():
            column.append(own + tick * expected[name][state] if is_new and state is not None else nan)
    instants.values.update(columns)


def _transitions(instants: Instants, tick: Fraction) -> Iterator[Transition]:
    """Yield what follows what; moves are those of the newest mid, in ticks."""
    seen: Counter[tuple[int, int, int]] = Counter()
    halves = float(tick) / 2
    known = zip(instants.times, instants.segments, instants.mid, states(instants, tick), strict=True)
    for (time, segment, mid, state), (later_time, later_segment, later_mid, later) in pairwise(known):
        if state is not None and later is not None and segment == later_segment and later_time == time + STEP:
            seen[state, later, round((later_mid - mid) / halves)] += 1
    for (state, later, move), count in seen.items():
        yield Transition(state, later, move / 2, count)
