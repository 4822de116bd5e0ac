"""The instants of a market: what was known then, and nothing else."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.evaluate.instants import SILENCE, STEP, Sampler

SECOND = 1_000_000


def rows(sampler):
    instants = sampler.instants
    return [
        (time // STEP, segment, mid, own, *(column[number] for column in instants.values.values()))
        for number, (time, segment, mid, own) in enumerate(
            zip(instants.times, instants.segments, instants.mid, instants.own, strict=True)
        )
    ]


def sampled(*events, has_tickers=True):
    """Return a sampler that was told tickers (time, mid) and books (time, first id, last id, mid, estimate)."""
    sampler = Sampler(["curve_mid"], has_tickers=has_tickers)
    for time, *event in events:
        if not event:
            sampler.lose(time)
        elif len(event) == 1:
            sampler.ticker(time, *event)
        else:
            first, last, mid, estimate = event
            sampler.book(time, first, last, {"mid": mid, "curve_mid": estimate})
    return sampler


def test_an_instant_knows_the_last_ticker_and_book_up_to_itself():
    events = (10, 99.0), (20, 1, 1, 100.0, 101.0), (STEP, 102.0), (STEP + 1, 103.0), (2 * STEP, 2, 3, 104.0, 105.0)
    sampler = sampled(*events, (2 * STEP + 1, 106.0))

    assert rows(sampler) == [(1, 0, 102.0, 100.0, 101.0), (2, 0, 103.0, 104.0, 105.0)]
    assert (sampler.books, sampler.tickers, sampler.breaks) == (2, 4, 0)


moments = st.lists(st.integers(0, 40 * STEP), min_size=2, max_size=40).map(sorted)


@given(moments, st.randoms(use_true_random=False))
def test_instants_are_those_of_a_look_back_at_each_point_of_the_grid(times, random):
    events = []
    for number, time in enumerate(times):
        price = float(random.randrange(1000))
        events.append((time, price) if random.random() < 0.5 else (time, number, number, price, price + 1))
    number = 0
    for place, event in enumerate(events):
        if len(event) == 5:
            events[place] = (event[0], number, number, *event[3:])
            number += 1

    expected = []
    for place in range(times[-1] // STEP + 1):
        before = [event for event in events if event[0] <= place * STEP]
        tickers, books = ([event for event in before if len(event) == length] for length in (2, 5))
        if tickers and books and place * STEP < times[-1]:
            expected.append((place, tickers[-1][1], books[-1][3], books[-1][4]))

    found = rows(sampled(*events))
    assert [(place, *values) for place, _, *values in found] == expected
    assert len({segment for _, segment, *_ in found}) <= 1


def test_a_hole_in_the_ids_ends_the_segment_and_what_was_taken_from_the_book_before_is_forgotten():
    sampler = sampled(
        (0, 99.0), (0, 1, 5, 100.0, 101.0), (STEP, 6, 6, 100.0, 102.0), (5 * STEP, 8, 9, 103.0, 104.0),
        (6 * STEP, 105.0)
    )  # fmt: skip

    assert rows(sampler) == [(0, 0, 99.0, 100.0, 101.0), (1, 0, 99.0, 100.0, 102.0), (5, 1, 99.0, 103.0, 104.0)]
    assert sampler.breaks == 1


def test_after_a_loss_ticker_and_book_have_to_come_anew():
    sampler = sampled(
        (0, 99.0), (0, 1, 1, 100.0, 101.0), (STEP,), (3 * STEP, 102.0), (4 * STEP, 2, 2, 103.0, 104.0),
        (6 * STEP, 105.0)
    )  # fmt: skip

    found = rows(sampler)
    assert [(place, *values) for place, _, *values in found] == [
        (0, 99.0, 100.0, 101.0), (4, 102.0, 103.0, 104.0), (5, 102.0, 103.0, 104.0)
    ]  # fmt: skip
    assert found[0][1] < found[1][1] == found[2][1]


@pytest.mark.parametrize(("has_tickers", "after"), [(True, []), (False, [111])])
def test_nothing_is_known_of_a_silence_and_the_ticker_before_it_is_old(has_tickers, after):
    far = 110 * STEP
    assert far > SILENCE
    sampler = sampled((0, 99.0), (0, 1, 1, 100.0, 101.0), (far, 2, 2, 100.0, 102.0), (far + STEP + 1, 3, 3, 1.0, 1.0),
                      has_tickers=has_tickers)  # fmt: skip

    assert [place for place, *_ in rows(sampler)] == ([110, *after] if after else [])
    assert sampler.breaks == 1


def test_a_book_without_a_mid_and_a_ticker_without_a_side_end_the_segment():
    sampler = sampled(
        (0, 99.0), (0, 1, 1, 100.0, None), (STEP, None), (2 * STEP, 98.0), (3 * STEP, 2, 2, None, None),
        (4 * STEP, 3, 3, 97.0, 96.0), (5 * STEP, 95.0)
    )  # fmt: skip

    found = rows(sampler)
    assert [place for place, *_ in found] == [0, 2, 4]
    assert [segment for _, segment, *_ in found] == [0, 1, 2]
    assert isnan(found[0][-1])


def test_in_a_store_the_newest_mid_is_the_books():
    sampler = sampled((5, 1, 1, 100.0, 101.0), (STEP, 2, 2, 102.0, 103.0), (2 * STEP + 1, 3, 3, 1.0, 1.0),
                      has_tickers=False)  # fmt: skip

    assert rows(sampler) == [(1, 0, 102.0, 102.0, 103.0), (2, 0, 102.0, 102.0, 103.0)]


def test_what_comes_late_by_its_time_adds_no_instant_twice():
    sampler = sampled(
        (0, 99.0), (0, 1, 1, 100.0, 101.0), (3 * STEP, 98.0), (STEP, 97.0), (4 * STEP, 96.0), (4 * STEP + 1, 95.0)
    )  # fmt: skip

    assert [(place, mid) for place, _, mid, *_ in rows(sampler)] == [
        (0, 99.0),
        (1, 99.0),
        (2, 99.0),
        (3, 97.0),
        (4, 96.0),
    ]
