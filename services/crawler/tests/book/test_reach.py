"""How far a book is known after a snapshot."""

from math import inf

import pytest

from crawler.book.market_data import Snapshot
from crawler.book.reach import Reach, reach_of

BIDS, ASKS = ["100.0", "99.0", "90.0"], ["101.0", "102.0", "111.0"]
REACH = Reach("90.0", "111.0", 95.0, 106.0)


def snapshot(bids=BIDS, asks=ASKS, *, complete=(False, False)):
    sides = ([[price, "1"] for price in side] for side in (bids, asks))
    return Snapshot("BTCUSDT", 1, *sides, *complete)


@pytest.mark.parametrize(
    ("given", "reach"),
    [
        (snapshot(), REACH),
        (snapshot(complete=(True, False)), Reach(None, "111.0", -inf, 106.0)),
        (snapshot(complete=(False, True)), Reach("90.0", None, 95.0, inf)),
        (snapshot(bids=[]), Reach(None, "111.0", -inf, 106.0)),
        (snapshot(asks=[]), Reach("90.0", None, 95.0, inf)),
    ],
)
def test_a_book_is_known_to_the_last_level_and_half_of_the_way_to_it_is_marked(given, reach):
    assert reach_of(given, None) == reach


@pytest.mark.parametrize(
    ("before", "reach"),
    [
        (Reach("95.0", "105.0"), REACH),
        (Reach("9.0", "1000.0"), Reach("9.0", "1000.0", 54.5, 550.5)),  # by number: as texts these are nearer
        (Reach(None, None), Reach()),
        (Reach(None, "105.0"), Reach(None, "111.0", -inf, 106.0)),
        (Reach("95.0", None), Reach("90.0", None, 95.0, inf)),
    ],
)
def test_what_was_known_before_stays_known(before, reach):
    assert reach_of(snapshot(), before) == reach


def test_a_snapshot_of_all_levels_leaves_no_bound_whatever_was_known():
    assert reach_of(snapshot(complete=(True, True)), Reach("95.0", "105.0")) == Reach()
