"""How far an event says that it tells the whole book, and from which books on it can bring a model."""

import pytest
from tables import each_row

from crawler.book.chain import ChainTime
from crawler.book.market_data import Diff
from crawler.book.publication import Publication
from crawler.book.reach import Reach
from crawler.book.steps import Applied

SECOND = 1_000_000
BIDS = [["100.0", "1"], ["99.0", "1"], ["98.0", "1"]]
ASKS = [["101.0", "1"], ["102.0", "1"], ["103.0", "1"]]
CERTAIN = ChainTime(1, 0, is_certain=True)


def bounds(reach, *, bids=BIDS, asks=ASKS, cut=(True, True), proven=False):
    applied = Applied(Diff("BTCUSDT", 1, 1, 1, [], []), CERTAIN, 1, bids, asks, *cut, Reach(*reach), False)
    [book] = Publication("venue", "BTCUSDT", "one", None).publish(applied, is_proven=proven)
    return book.floor, book.ceiling


WHOLE, FAR, NEAR = (None, None), ("90.0", "110.0"), ("98.5", "102.5")


@each_row(
    ("case", "reach", "cut", "expected"),
    [
        ("known and published whole", WHOLE, (False, False), (None, None)),
        ("known whole, published in part", WHOLE, (True, True), ("98.0", "103.0")),
        ("one side cut", WHOLE, (True, False), ("98.0", None)),
        ("published whole, known in part", FAR, (False, False), ("90.0", "110.0")),
        ("cut before the reach ends", FAR, (True, True), ("98.0", "103.0")),
        ("the reach ends before the cut", NEAR, (True, True), ("98.5", "102.5")),
        ("the reach ends within what is published", NEAR, (False, False), ("98.5", "102.5")),
        ("each side by itself", (None, "102.5"), (True, True), ("98.0", "102.5")),
        ("the price has left the reach", ("105.0", "106.0"), (True, True), ("105.0", "103.0")),
    ],
)
def test_the_bounds_are_the_narrower_of_what_was_cut_and_what_is_known(case, reach, cut, expected):
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


# ---- the model


def book_of(publication, number, *, id_=None, reach=WHOLE, bids=BIDS, proven=False):
    """Publish the book of the second `number`; return its model."""
    id_ = number if id_ is None else id_
    diff = Diff("BTCUSDT", id_, id_, number * SECOND, [], [])
    times = ChainTime(number * SECOND, (number - 1) * SECOND, is_certain=True)
    applied = Applied(diff, times, 1, bids, ASKS, False, False, Reach(*reach), False)
    return publication.publish(applied, is_proven=proven)[-1].model


def after_two_minutes(**of_one):
    """Return the publication of 125 books, in the third second of which something is different."""
    publication = Publication("venue", "BTCUSDT", "one", None)
    for number in range(10, 136):
        book_of(publication, number, **(of_one if number == 33 else {}))
    return publication


def test_a_book_brings_the_model_of_the_two_minutes_before_it():
    publication = Publication("venue", "BTCUSDT", "one", None)
    found = {number: book_of(publication, number) for number in range(10, 150)}
    assert [number for number, model in found.items() if model] == list(range(130, 150))
    assert found[130].block == 130 * SECOND
    assert found[130].observations_1s == 119


@pytest.mark.parametrize(
    "of_one",
    [
        pytest.param({"reach": ("105.0", None)}, id="bids beyond the reach"),
        pytest.param({"reach": (None, "100.5")}, id="asks beyond the reach"),
        pytest.param({"reach": FAR, "bids": []}, id="no bid that is known"),
    ],
)
def test_behind_a_book_whose_top_nobody_knows_it_takes_two_minutes_again(of_one):
    publication = after_two_minutes(**of_one)
    assert publication.model.ready_time == 160 * SECOND
    assert [number for number in range(136, 200) if book_of(publication, number)] == list(range(160, 200))


@pytest.mark.parametrize("of_one", [{"reach": ("105.0", None), "proven": True}, {"bids": []}, {"reach": FAR}])
def test_a_top_that_is_proven_or_known_not_to_be_there_costs_nothing(of_one):
    assert book_of(after_two_minutes(**of_one), 136).block == 130 * SECOND


def test_behind_a_gap_it_takes_two_minutes_again():
    publication = after_two_minutes()
    assert book_of(publication, 136, id_=137) is None
    assert publication.model.ready_time == 260 * SECOND


def test_behind_ids_that_begin_anew_it_takes_two_minutes_again():
    publication = after_two_minutes()
    publication.restart_ids()
    assert book_of(publication, 136, id_=1) is None
