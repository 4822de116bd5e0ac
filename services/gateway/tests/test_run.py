"""A late event, however it comes, is no new run; a run that is begun anew is followed within seconds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.run import NEW_RUN_AFTER, Run, Step

LIVE = 1_000_000
"""Update id of the first event of the live feed; those before it are late."""

late_ids = st.integers(0, LIVE - 1)


def position(update_id):
    return update_id * 100_000, update_id


@given(st.lists(st.tuples(st.floats(0, NEW_RUN_AFTER - 0.1), late_ids), max_size=50))
def test_a_burst_of_late_events_is_no_new_run(late):
    run = Run()
    run.take(position(LIVE), 0)
    began = min((after for after, _ in late), default=0)
    for after, update_id in sorted(late, key=lambda each: each[0]):
        assert run.take(position(update_id), 100 + after - began) is Step.LATE
    assert run.take(position(LIVE + 1), 200) is Step.NEXT


@given(st.lists(st.tuples(st.floats(0, NEW_RUN_AFTER - 0.1), st.lists(late_ids, max_size=3)), max_size=60))
def test_late_events_among_those_of_a_live_feed_are_never_shown(moments):
    run, now = Run(), 0.0
    for number, (pause, late) in enumerate(moments):
        assert run.take(position(LIVE + number), now) is Step.NEXT
        assert [run.take(position(each), now + pause) for each in late] == [Step.LATE] * len(late)
        now += pause


@given(st.integers(0, LIVE - 1_000), st.floats(0.01, 2.0))
def test_a_run_that_begins_anew_is_followed_within_seconds_and_then_without_a_break(first, rhythm):
    run = Run()
    run.take(position(LIVE), 0)
    steps = [run.take(position(first + number), number * rhythm) for number in range(900)]
    turn = steps.index(Step.NEW_RUN)
    assert turn * rhythm < NEW_RUN_AFTER + rhythm
    assert set(steps[:turn]) <= {Step.LATE}
    assert set(steps[turn + 1 :]) == {Step.NEXT}


def test_an_event_of_another_recording_needs_no_smaller_update_id():
    run = Run()
    run.take((2_000_000, 7), 0)
    steps = [run.take((1_000_000 + number, 1_000_000 + number), float(number)) for number in range(10)]
    assert Step.NEW_RUN in steps
