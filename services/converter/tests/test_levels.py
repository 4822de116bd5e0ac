"""The scale that levels are turned into integers with."""

import orjson
import pytest
from tables import each_row

from converter.levels import BID, REMEMBERED, FinerThanScaleError, Scale, read_side
from fairprice.errors import InvalidMarketData


@each_row(
    ("text", "number"),
    [("1", 1000), ("0.5", 500), ("61837.64", 61_837_640), ("0.001", 1), ("007.10", 7_100), ("0", 0), ("0.000", 0)],
)
def test_a_number_becomes_so_many_units(text, number):
    assert Scale(3).price(text) == number
    assert Scale(3)[f'"{text}","0.25"'.encode()] == (number, 250)
    assert Scale(3)[f'"2","{text}"'.encode()] == (2000, number)


@pytest.mark.parametrize("text", ["0.0001", "0.0000", "1.2345"])
def test_a_number_with_more_decimals_than_the_scale_is_refused(text):
    for level in (f'"{text}","1"', f'"1","{text}"'):
        with pytest.raises(FinerThanScaleError):
            Scale(3)[level.encode()]


def test_the_levels_that_are_remembered_are_bounded_and_every_one_stays_right():
    scale = Scale(0)
    for number in range(REMEMBERED + 10):
        assert scale[b'"%d","7"' % number] == (number, 7)
        assert len(scale) <= REMEMBERED
    assert scale[b'"5","7"'] == (5, 7)


@each_row(
    "rows",
    [
        None, 5, "12", {"12": 1}, ["12"], [{"1": 2, "3": 4}], [["1"]], [["1", "2"], ["1", "2", "3"]], [["1", 2]],
        [["1", None]], [["1", ["2"]]], [["1", "-2"]], [["1", "2e3"]], [["1", ""]], [["1.", "2"]], [["\u0661", "2"]],
    ],
)  # fmt: skip
def test_what_is_no_list_of_prices_and_quantities_is_refused(rows):
    with pytest.raises(InvalidMarketData, match=r"^field 'bids'.*decimal string"):
        read_side(BID, rows, None, Scale(8))


def test_a_side_is_read_from_its_json_as_from_its_rows():
    rows = [["100.5", "2"], ["100.4", "0"], ["100.3", "1.25"]]
    assert read_side(BID, orjson.dumps(rows), "100.3", Scale(2)) == read_side(BID, rows, "100.3", Scale(2))
    assert read_side(BID, b"[]", None, Scale(2)) == read_side(BID, [], None, Scale(2))
