"""Pairs, controls, intervals and significance, each beside another way to the same figure."""

from fractions import Fraction
from math import isclose, isnan, nan, sqrt
from random import Random
from statistics import linear_regression, mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_instants import lots

from standalone.evaluate.bootstrap import MOST_BLOCKS, Blocks, Draws, block_length
from standalone.evaluate.controls import halves_swapped, late, shuffled
from standalone.evaluate.instants import STEP, Instants
from standalone.evaluate.pairs import Pairs, joined, leans, moves
from standalone.evaluate.significance import diebold_mariano, mincer_zarnowitz

numbers = st.integers(-50, 50).map(float)


def pairs(*each):
    """Return pairs of (lean, move) at places that follow each other."""
    return Pairs(range(len(each)), [lean for lean, _ in each], [move for _, move in each])


def known(column):
    return [None if isnan(value) else value for value in column]


def test_a_move_ends_within_its_segment():
    assert known(moves([1.0, 2.0, 4.0, 8.0, 16.0], [0, 0, 0, 7, 7], 1)) == [1.0, 2.0, None, 8.0, None]
    assert known(moves([1.0, 2.0, 4.0], [0, 0, 0], 2)) == [3.0, None, None]
    assert known(moves([1.0, 2.0], [0, 0], 5)) == [None, None]


def test_pairs_are_of_instants_with_both():
    instants = Instants([])
    for place in (3, 4, 9):
        instants.add(place * STEP, 0, 1.0, 1.0, {})

    found = joined(instants, leans([5.0, nan, 7.0], [1.0, 1.0, 2.0]), [10.0, 11.0, 12.0])

    assert (list(found.places), list(found.leans), list(found.moves)) == ([3, 9], [4.0, 5.0], [10.0, 12.0])
    assert found.count == 2


def test_controls_take_each_lean_away_from_its_move():
    whole = pairs((1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (4.0, 40.0), (5.0, 50.0))

    swapped, mixed = halves_swapped(whole), shuffled(whole, Random(1).random)

    assert list(swapped.leans) == [3.0, 4.0, 5.0, 1.0, 2.0]
    assert sorted(mixed.leans) == [1.0, 2.0, 3.0, 4.0, 5.0] != list(mixed.leans)
    assert mixed.moves == swapped.moves == whole.moves
    assert known(late([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], 1)) == [None, 1.0, None, 3.0]
    assert known(late([1.0], [0], 3)) == [None]


def test_a_shuffle_gives_every_order_as_often():
    random, seen = Random(3), {}
    for _ in range(6000):
        order = tuple(shuffled(pairs((1.0, 0.0), (2.0, 0.0), (3.0, 0.0)), random.random).leans)
        seen[order] = seen.get(order, 0) + 1

    assert len(seen) == 6
    assert all(900 < count < 1100 for count in seen.values())


def test_blocks_are_of_the_places_of_the_grid_and_empty_ones_are_none():
    blocks = Blocks([0, 9, 10, 35, 39], [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)], 10)

    assert blocks.count == 3
    assert blocks.total() == (25.0, 30.0)
    assert [blocks.drawn([number]) for number in range(3)] == [(4.0, 6.0), (5.0, 6.0), (16.0, 18.0)]
    assert blocks.drawn([0, 0, 2]) == (24.0, 30.0)


def test_a_block_is_ten_seconds_or_twice_the_horizon_or_more_where_there_would_be_too_many():
    assert block_length(range(1000), 5) == 100
    assert block_length(range(1000), 80) == 160
    assert block_length([0, 1_000_000], 5) == -(-1_000_001 // MOST_BLOCKS)
    assert block_length([], 5) == 100


def test_the_interval_of_a_mean_is_that_of_its_standard_error_and_the_same_again():
    random = Random(1)
    values = [random.gauss(3.0, 2.0) for _ in range(400)]
    blocks = Blocks(range(400), [(1.0, value) for value in values], 1)

    found, again = (Draws(lots(5)).interval(blocks, lambda sums: sums[1] / sums[0]) for _ in range(2))

    error = 1.96 * stdev(values) / sqrt(400)
    assert found == again
    assert isclose(found.value, mean(values))
    assert isclose(found.low, found.value - error, abs_tol=0.12 * error)
    assert isclose(found.high, found.value + error, abs_tol=0.12 * error)


@pytest.mark.parametrize(("determined", "is_known"), [(0, False), (1, False), (9, True)])
def test_there_is_no_interval_where_most_draws_determine_nothing(determined, is_known):
    terms = [(1.0,)] * determined + [(0.0,)] * (10 - determined)
    blocks = Blocks(range(10), terms, 1)
    draws = Draws(lots(1), 100)

    found = draws.interval(blocks, lambda sums: None if sums[0] < 3 else sums[0])

    assert (found is not None) == is_known


@given(st.lists(st.tuples(numbers, st.booleans()), min_size=1, max_size=30), st.integers(0, 5))
def test_the_variance_of_diebold_and_mariano_is_that_of_newey_and_west_within_runs(steps, lags):
    places, place = [], 0
    for _, is_hole in steps:
        place += 1 + is_hole
        places.append(place)
    values = [value for value, _ in steps]
    count, middle = len(values), mean(values)
    whole = dict(zip(places, values, strict=True))

    def is_run(first, last):
        return all(each in whole for each in range(first, last + 1))

    variance = 0.0
    for first in places:
        for last in places:
            lag = abs(last - first)
            if lag <= lags and is_run(min(first, last), max(first, last)):
                variance += (1 - lag / (lags + 1)) * (whole[first] - middle) * (whole[last] - middle)

    found = diebold_mariano(places, values, lags)
    if found is None:
        assert variance < 1e-9
    else:
        assert isclose(found, middle / (sqrt(variance) / count), rel_tol=1e-9, abs_tol=1e-9)


def test_without_lags_the_statistic_is_that_of_a_mean():
    values = [1.0, 2.0, 4.0, 8.0]

    expected = mean(values) / (stdev(values) * sqrt(3 / 4) / sqrt(4))
    assert isclose(diebold_mariano(range(4), values, 0), expected)
    assert diebold_mariano([], [], 3) is None
    assert diebold_mariano(range(3), [0.0, 0.0, 0.0], 1) is None


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20))
def test_the_slope_is_that_of_a_regression(both):
    sums = tuple(map(sum, zip(*((1.0, lean, move, lean * lean, lean * move) for lean, move in both), strict=True)))
    found = mincer_zarnowitz(sums)

    if len({lean for lean, _ in both}) == 1:
        assert found is None
    else:
        exact = [(Fraction(lean), Fraction(move)) for lean, move in both]
        expected, _ = linear_regression([lean for lean, _ in exact], [move for _, move in exact])
        assert isclose(found, float(expected), rel_tol=1e-9, abs_tol=1e-9)
