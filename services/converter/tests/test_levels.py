"""The scale that decimal strings are turned into integers with."""

import pytest

from converter.levels import REMEMBERED, FinerThanScaleError, Scale


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1000), ("0.5", 500), ("61837.64", 61_837_640), ("0.001", 1), ("007.10", 7_100), ("0", 0), ("0.000", 0)],
)
def test_a_number_becomes_so_many_units(text, number):
    assert Scale(3)[text] == number


@pytest.mark.parametrize("text", ["0.0001", "0.0000", "1.2345"])
def test_a_number_with_more_decimals_than_the_scale_is_refused(text):
    with pytest.raises(FinerThanScaleError):
        Scale(3)[text]


def test_the_numbers_that_are_remembered_are_bounded_and_every_one_stays_right():
    scale = Scale(0)
    for number in range(2 * REMEMBERED + 10):
        assert scale[str(number)] == number
        assert len(scale) <= REMEMBERED
    assert scale["5"] == 5
