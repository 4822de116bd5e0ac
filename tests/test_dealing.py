"""Whatever is dealt out comes once, and each worker begins with his share of what takes long."""

import pytest
from dealing import dealt


def parts(tests, workers):
    """Return what worksteal gives each worker at first."""
    parts = []
    for left in range(workers, 0, -1):
        parts.append(tests[: len(tests) // left])
        tests = tests[len(tests) // left :]
    return parts


@pytest.mark.parametrize(("count", "workers"), [(103, 4), (100, 1), (7, 3), (2, 6), (0, 2)])
def test_each_test_comes_once_and_each_part_has_its_long_ones_first(count, workers):
    tests = [*range(count)]
    found = dealt(tests, workers, seconds=lambda test: test % 10 == 3, stack=lambda test: test)
    assert sorted(found) == tests
    shares = [[test % 10 == 3 for test in part] for part in parts(found, workers)]
    assert all(share == sorted(share, reverse=True) for share in shares)
    assert max(map(sum, shares)) - min(map(sum, shares)) <= 1


def test_long_ones_that_share_something_stay_together_in_their_order_and_short_ones_fill_up():
    tests = ["a1", "short", "b1", "a2", "b2", "short", "a3", "c1", "short", "short"]
    found = dealt(tests, 2, seconds=lambda test: test != "short", stack=lambda test: test[0])
    assert parts(found, 2) == [["a1", "a2", "a3", "short", "short"], ["b1", "b2", "c1", "short", "short"]]


def test_where_all_are_long_none_is_left_out():
    assert dealt(["a1", "a2", "a3", "b1"], 2, seconds=lambda _: 1.0, stack=lambda test: test[0]) == [
        "a1", "a2", "a3", "b1"
    ]  # fmt: skip


def test_the_longest_come_first_and_who_has_one_gets_fewer():
    tests = ["short", "1a", "1b", "short", "4c", "1d", "short", "2e", "short", "short"]
    found = dealt(tests, 2, seconds=lambda test: 0 if test == "short" else int(test[0]), stack=lambda test: test)
    assert parts(found, 2) == [["4c", "1d", "short", "short", "short"], ["2e", "1a", "1b", "short", "short"]]


def test_nobody_is_dealt_more_than_worksteal_gives_him():
    tests = ["9a", "1b", "1c", "1d", "1e", "1f"]
    found = dealt(tests, 2, seconds=lambda test: int(test[0]), stack=lambda test: test)
    assert parts(found, 2) == [["9a", "1e", "1f"], ["1b", "1c", "1d"]]
