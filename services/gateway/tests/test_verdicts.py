"""What is said of bars, against a naive comparison of each bar with each gap."""

from hypothesis import given
from hypothesis import strategies as st
from kept_history import bar

from gateway.stored.port import MOST_GAPS, StoredGap
from gateway.verdicts import with_gaps

TIMES = st.integers(0, 60)


@given(
    st.lists(TIMES, unique=True).map(sorted),
    st.integers(1, 10),
    st.lists(st.tuples(TIMES, st.integers(0, 30))).map(sorted),
)
def test_every_bar_has_the_gaps_that_reach_into_it(times, step, claims):
    gaps = [StoredGap(begin, begin + length, 0, 0, "sequence", 1) for begin, length in claims]
    found = [(each.time, reaching) for each, reaching in with_gaps(map(bar, times), step, gaps)]
    assert found == [
        (time, [gap for gap in gaps if gap.from_time < time + step and gap.to_time >= time]) for time in times
    ]


def test_bars_and_gaps_are_passed_once_each():
    looks = []

    class Watched(StoredGap):
        def __getattribute__(self, name):
            if name in {"from_time", "to_time"}:
                looks.append(name)
            return super().__getattribute__(name)

    bars = [bar(time) for time in range(5000)]
    gaps = [Watched(10 * number, 10 * number + 1, 0, 0, "sequence", 1) for number in range(MOST_GAPS)]
    assert sum(len(reaching) for _, reaching in with_gaps(bars, 1, gaps)) == 2 * MOST_GAPS
    assert len(looks) < 2 * (len(bars) + 2 * len(gaps))
