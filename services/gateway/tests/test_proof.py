"""What a gateway says of the hours that it has seen."""

import pytest

from fairprice.coverage import HOUR, MINUTE
from fairprice.messages import Audit, Gap
from gateway.proof import MOST_PIECES, Proof

START = 1_723_075_200_000_000
SECOND = 1_000_000


def audit(minute, **changes):
    counts = {"tops": 9, "wrong": 0, "levels": 0, "levels_wrong": 0} | changes
    return Audit("v", "S", START + minute * MINUTE, "c", 1, 9, **counts)


def gap(first_second, last_second, first, last):
    times = START + first_second * SECOND, START + last_second * SECOND
    return Gap("v", "S", first, last, *times, "disconnected")


def seen(seconds, *, audits=range(60), shift=0):
    """A price a second; that of second n brings the ids 10 n + 1 to 10 n + 10."""
    proof = Proof()
    for second in seconds:
        proof.price(10 * second + 1 + shift, 10 * second + 10 + shift, START + second * SECOND)
    for minute in audits:
        proof.audit(audit(minute))
    return proof


def verdicts(proof, *gaps):
    for each in gaps:
        proof.gap(each)
    return [hour.verdict.value for hour in proof.hours()]


def test_before_the_first_price_nothing_is_said():
    proof = Proof()
    assert verdicts(proof, gap(0, 5, 1, 5)) == []
    assert proof.since is None


def test_an_unbroken_hour_whose_minutes_were_compared_is_verified():
    proof = seen(range(3600))
    assert verdicts(proof) == ["verified"]
    (hour,) = proof.hours()
    assert (hour.time, hour.minutes_with_books, hour.minutes_compared) == (START, 60, 60)
    assert proof.since == START


def test_without_comparison_it_is_not_verified():
    assert verdicts(seen(range(3600), audits=())) == ["unverified"]
    assert verdicts(seen(range(3600), audits=range(30))) == ["unverified"]


@pytest.mark.parametrize("name", ["wrong", "levels_wrong"])
def test_what_was_wrong_makes_it_suspect(name):
    proof = seen(range(3600))
    proof.audit(audit(7, **{name: 1}))
    assert verdicts(proof) == ["suspect"]


def test_what_the_gateway_missed_itself_is_no_defect_and_not_verified():
    assert verdicts(seen([*range(100), *range(110, 4000)], audits=range(67))) == ["unverified", "verified"]


def test_a_hole_that_a_gap_tells_is_a_hole():
    proof = seen([*range(100), *range(110, 3600)])
    claim = gap(99, 110, 1001, 1100)
    assert verdicts(proof, claim) == ["hole"]
    assert proof.open_ids(claim) == 100


@pytest.mark.parametrize("order", [range(100, 110), reversed(range(100, 110))])
def test_a_gap_whose_ids_another_crawler_brings_is_none(order):
    proof = seen([*range(100), *range(110, 3600), *order])
    claim = gap(99, 110, 1001, 1100)
    assert proof.open_ids(claim) == 0
    assert verdicts(proof, claim) == ["verified"]


def test_repeats_change_nothing():
    assert verdicts(seen([*range(3600), *range(0, 3600, 7), *range(3590, 3600)])) == ["verified"]


def test_streams_that_cut_diffs_at_other_ids_leave_no_hole():
    proof = seen(range(3600))
    for second in range(3590):
        proof.price(10 * second + 6, 10 * second + 15, START + second * SECOND + 500_000)
    assert verdicts(proof) == ["verified"]


def test_a_gap_from_before_the_gateway_looked_is_not_its_business():
    proof = seen(range(600, 3600))
    assert verdicts(proof, gap(0, 500, 1, 5000)) == ["verified"]


def test_ids_that_begin_anew_are_a_hole_where_a_gap_tells_it_and_else_not_verified():
    proof = seen(range(1800))
    for second in range(1800, 3600):
        proof.price(10 * second - 17995, 10 * second - 17986, START + second * SECOND)
    claim = gap(1799, 1800, 18001, 4)
    assert verdicts(proof) == ["unverified"]
    assert verdicts(proof, claim) == ["hole"]
    assert proof.open_ids(claim) == 1


def test_asking_changes_nothing():
    proof = seen([*range(100), *range(110, 3600)])
    assert verdicts(proof) == verdicts(proof) == ["unverified"]
    assert verdicts(proof, gap(99, 110, 1001, 1100)) == verdicts(proof) == ["hole"]


def test_only_the_last_day_and_so_many_pieces_are_kept():
    proof = Proof()
    for hour in range(100):
        proof.price(hour * 10 + 1, hour * 10 + 10, START + hour * HOUR)
    assert len(proof.hours()) == 24
    for number in range(MOST_PIECES + 100):
        proof.price(10_000 + 3 * number, 10_000 + 3 * number + 1, START + 100 * HOUR + number)
    assert len(proof._pieces) == MOST_PIECES
