"""What a soak does and how it judges, without running one for minutes."""

import asyncio
from collections import Counter
from itertools import islice
from random import Random

import pytest
from tables import each_row

from simulator import KINDS, START_US, Exchange, Fault, Knobs
from storer.audit.account import Account, Finding, Kind
from tests.soak.blows import FATAL, FREEZE, HALT, KILL, OTHERS, Blow, blows, kinds
from tests.soak.embedded import Embedded
from tests.soak.remembered import KEPT, LEVELS, Remembered
from tests.soak.soak import Soak, first_difference
from tests.soak.verdict import LEAST_BLOWS, Seen, failures, slope, so_far, table

EVERY = (*KINDS, *OTHERS)
HOLE = Finding(Kind.UNRECORDED_HOLE, 10, 20, 5, 7)


def some(count, seed=1):
    return list(islice(blows(Random(seed), ("AUSDT", "BUSDT"), ("a", "b"), EVERY), count))


def test_every_kind_comes_once_before_any_comes_again_and_a_seed_repeats_them():
    first = some(3 * len(EVERY))
    for start in range(0, len(first), len(EVERY)):
        assert sorted(blow.kind for blow in first[start : start + len(EVERY)]) == sorted(EVERY)
    assert some(100) == some(100) != some(100, seed=2)
    assert not [fault for blow in first for fault in blow.faults if fault.variant in FATAL]


def test_only_processes_are_frozen():
    assert kinds(can_freeze=True) == list(EVERY)
    assert kinds(can_freeze=False) == [*KINDS, HALT, KILL]
    assert all(blow.victim in {"a", "b"} for blow in some(100) if blow.kind in {KILL, FREEZE})


def test_of_a_wrong_book_it_is_told_what_is_wrong_and_which_blows_may_have_done_it():
    assert first_difference([["2", "1"], ["1", "1"]], [["2", "1"]]) == ""
    assert first_difference([["2", "1"]], [["2", "1"], ["1", "5"]]) == "2 is None, in truth ['1', '5']"
    drop = Blow("drop", "AUSDT", "a", (Fault("drop", "AUSDT", scope="one"),))
    cut, kill = Blow("refuse", "AUSDT", "a", (Fault("refuse"),)), Blow(KILL, "AUSDT", "a")
    assert [str(blow) for blow in (drop, cut, kill)] == ["drop one", "refuse all", "kill a"]
    assert [blow.falls_on("BUSDT") for blow in (drop, cut, kill)] == [False, True, True]


def good():
    return Seen(
        kinds=EVERY,
        books=10,
        compared=10,
        happened=Counter(dict.fromkeys(EVERY, LEAST_BLOWS)),
        accounts={"AUSDT": Account(rows=10)},
        spells=[1.0, 2.0],
        memory={"crawler 17": [(0.0, 50.0), (10.0, 50.0)]},
    )


def test_a_good_run_has_nothing_to_say_against_it():
    assert failures(good()) == []
    assert "wrong 0" in "\n".join(table(good()))


@each_row(
    ("change", "complaint"),
    [
        (lambda seen: seen.wrong.append("AUSDT 5"), "1 books are wrong"),
        (lambda seen: setattr(seen, "compared", 9), "only 9 of 10 books were compared"),
        (lambda seen: setattr(seen, "books", 0), "no book was published"),
        (lambda seen: setattr(seen, "breaches", {"weight": 2}), "2 breaches of the limit of weight"),
        (lambda seen: seen.happened.update({"drop": -1}), "drop happened 2 times only"),
        (lambda seen: seen.not_current.append("AUSDT"), "AUSDT is not current"),
        (lambda seen: seen.accounts["AUSDT"].add(HOLE), "1 x unrecorded_hole: ids 5 to 7 at 10 to 20 us"),
        (lambda seen: seen.accounts["AUSDT"].counts.update([Kind.UNRECORDED_HOLE]), "1 x unrecorded_hole: not among"),
        (lambda seen: seen.accounts["AUSDT"].counts.update([Kind.WRONG_LEVELS]), "1 x wrong_levels"),
    ],
)
def test_whatever_is_wrong_is_told(change, complaint):
    seen = good()
    change(seen)
    assert complaint in failures(seen)[0]


def test_what_was_brought_about_on_purpose_is_no_defect():
    seen = good()
    seen.accounts["AUSDT"].counts.update([Kind.RECORDED_HOLE, Kind.WRONG_TOPS])
    seen.breaches = {"request_during_wait": 1, "weight": 0}
    assert failures(seen) == []


def test_the_slope_of_memory_is_of_the_second_half_an_hour():
    assert slope([(second, 100.0 + (min(50, second))) for second in range(101)]) == pytest.approx(0)
    assert slope([(second, second / 3600) for second in range(101)]) == pytest.approx(1)
    assert slope([]) == slope([(0.0, 1.0)]) == 0


def test_memory_is_that_of_the_longest_life_of_each_process_and_queues_are_told_with_their_most():
    seen = Seen(kinds=())
    for second in range(600):
        life = "crawler-0 7" if second < 400 else "crawler-0 8"
        seen.note(second, {life: 50.0 + second / 36, "storer 9": 40.0}, {"books": second == 300})
    assert so_far(seen) == "0 books, 0 wrong, 0 not compared; out of sync 0 times; 0 messages wait"
    told = list(table(seen))
    assert "memory  crawler-0          52 -> 59 MB in 7 min, +100.0 MB an hour in the second half" in told
    assert "memory  storer             40 -> 40 MB in 10 min, +0.0 MB an hour in the second half" in told
    assert "queue   books              0 -> 0 messages, at most 1" in told


@pytest.mark.parametrize("kept", [KEPT, 1])
def test_late_books_are_compared_with_the_truth_of_their_time_also_when_ids_have_begun_anew(monkeypatch, kept):
    monkeypatch.setattr("tests.soak.remembered.KEPT", kept)
    exchange, other = (each(("BTCUSDT",), 1, start_us=START_US, knobs=Knobs()) for each in (Remembered, Exchange))
    sent = [frame.last_id for frame in exchange.advance(START_US + 500_000) if frame.kind == "depth"]
    other.advance(START_US + 500_000)
    true = [other.book_at("BTCUSDT", update_id, LEVELS) for update_id in sent]
    exchange.inject(Fault("id_reset"))
    exchange.advance(START_US + 1_500_000)
    assert [exchange.book_at("BTCUSDT", update_id, LEVELS) for update_id in sent] == true
    first = exchange.book_at("BTCUSDT", sent[0], LEVELS)
    assert (first is exchange.book_at("BTCUSDT", sent[0], LEVELS)) == (kept == KEPT)


@pytest.mark.slow
@pytest.mark.rounds  # lives in real time: who is refused by 403 waits for a minute before all is well again
async def test_a_run_of_some_seconds_compares_every_book_and_finds_none_wrong(tmp_path):
    random = Random(1)
    async with asyncio.TaskGroup() as tasks:
        soak = Soak(Embedded(tmp_path, random, tasks), ("BTCUSDT", "ETHUSDT"), random, pause=0.9, pace=1.0)
        seen = await soak.run(4.0)
    complaints = [each for each in failures(seen) if "times only" not in each]
    assert complaints == []
    assert seen.books == seen.compared > 0
    assert any("times only" in each for each in failures(seen))
