"""Delays grow, stay below their cap, and differ from client to client."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprice.runtime.backoff import delays


class Extreme(Random):
    """Draws always the lowest or the highest number."""

    def __init__(self, *, highest: bool) -> None:
        super().__init__()
        self.highest = highest

    def uniform(self, a: float, b: float) -> float:
        return b if self.highest else a


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(True, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]), (False, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5])],
)
def test_delays_double_up_to_the_cap_and_are_drawn_from_their_upper_half(highest, expected):
    assert list(islice(delays(Extreme(highest=highest)), 9)) == pytest.approx(expected)


@given(st.integers(), st.floats(0.001, 10), st.floats(10, 1000))
def test_every_delay_lies_between_half_the_first_and_the_cap(seed, first, cap):
    assert all(first / 2 <= delay <= cap for delay in islice(delays(Random(seed), first=first, cap=cap), 50))


def test_the_series_has_no_end_and_stays_at_the_cap():
    assert all(2.5 <= delay <= 5 for delay in islice(delays(Random(1)), 1000, 3000))


def test_clients_do_not_return_in_the_same_instant():
    seconds = [list(islice(delays(Random(seed)), 8))[-1] for seed in range(50)]
    assert len(set(seconds)) == 50
    assert max(seconds) - min(seconds) > 1.5


def test_each_series_begins_anew():
    random = Random(1)
    list(islice(delays(random), 20))
    assert next(delays(random)) <= 0.1
