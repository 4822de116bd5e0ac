"""How far an event says that it tells the whole book."""

import pytest

from crawler.book.chain import ChainTime
from crawler.book.market_data import Diff
from crawler.book.publication import Publication
from crawler.book.reach import Reach
from crawler.book.steps import Applied

BIDS = [["100.0", "1"], ["99.0", "1"], ["98.0", "1"]]
ASKS = [["101.0", "1"], ["102.0", "1"], ["103.0", "1"]]
CERTAIN = ChainTime(1, 0, is_certain=True)


def bounds(reach, *, bids=BIDS, asks=ASKS, cut=(True, True), proven=False):
    applied = Applied(Diff("BTCUSDT", 1, 1, 1, [], []), CERTAIN, 1, bids, asks, *cut, Reach(*reach), False)
    [book] = Publication("venue", "BTCUSDT", "one", None).publish(applied, is_proven=proven)
    return book.floor, book.ceiling


WHOLE, FAR, NEAR = (None, None), ("90.0", "110.0"), ("98.5", "102.5")


@pytest.mark.parametrize(
    ("reach", "cut", "expected"),
    [
        pytest.param(WHOLE, (False, False), (None, None), id="known and published whole"),
        pytest.param(WHOLE, (True, True), ("98.0", "103.0"), id="known whole, published in part"),
        pytest.param(WHOLE, (True, False), ("98.0", None), id="one side cut"),
        pytest.param(FAR, (False, False), ("90.0", "110.0"), id="published whole, known in part"),
        pytest.param(FAR, (True, True), ("98.0", "103.0"), id="cut before the reach ends"),
        pytest.param(NEAR, (True, True), ("98.5", "102.5"), id="the reach ends before the cut"),
        pytest.param(NEAR, (False, False), ("98.5", "102.5"), id="the reach ends within what is published"),
        pytest.param((None, "102.5"), (True, True), ("98.0", "102.5"), id="each side by itself"),
        pytest.param(("105.0", "106.0"), (True, True), ("105.0", "103.0"), id="the price has left the reach"),
    ],
)
def test_the_bounds_are_the_narrower_of_what_was_cut_and_what_is_known(reach, cut, expected):
    assert bounds(reach, cut=cut) == expected


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        pytest.param(("105.0", "110.0"), ("100.0", "103.0"), id="below the reach"),
        pytest.param(("90.0", "95.0"), ("98.0", "101.0"), id="above the reach"),
        pytest.param(FAR, ("98.0", "103.0"), id="inside: nothing changes"),
        pytest.param(("100.0", "101.0"), ("100.0", "101.0"), id="at its edge"),
    ],
)
def test_a_top_that_the_ticker_confirms_is_known_wherever_the_reach_ends(reach, expected):
    assert bounds(reach, proven=True) == expected


def test_a_side_without_levels_is_known_as_far_as_the_reach():
    assert bounds(FAR, bids=[], asks=[], cut=(False, False), proven=True) == FAR
    assert bounds(WHOLE, bids=[], asks=[], cut=(False, False)) == WHOLE


def test_prices_are_compared_as_numbers():
    bids = [["1000.0", "1"], ["999.0", "1"]]
    assert bounds(("99.5", None), bids=bids, cut=(True, False))[0] == "999.0"
    assert bounds(("999.50", None), bids=bids, cut=(True, False))[0] == "999.50"
