"""What is said of an hour."""

from tables import each_row

from fairprice.coverage import HOUR, MINUTE, Coverage, Facts, Verdict, judge, worst

START = 1_723_075_200_000_000


@each_row(
    ("facts", "verdict"),
    [
        (Facts(), None),
        (Facts(compared=0b1), None),
        (Facts(minutes=0b11, compared=0b11), "verified"),
        (Facts(minutes=0b11, compared=0b111), "verified"),
        (Facts(minutes=0b11, compared=0b01), "unverified"),
        (Facts(minutes=0b11), "unverified"),
        (Facts(minutes=0b11, compared=0b11, missing_ids=1), "hole"),
        (Facts(missing_ids=1), "hole"),
        (Facts(minutes=0b11, compared=0b11, missing_ids=1, wrong=1), "suspect"),
        (Facts(minutes=0b11, compared=0b11, missing_ids=1, wrong=1, unrecorded_ids=1), "unrecorded_hole"),
    ],
)
def test_the_worst_of_what_is_known_gives_the_verdict(facts, verdict):
    assert judge(facts) == verdict


def test_a_minute_that_is_awaited_need_not_be_compared_but_another_one_must():
    assert judge(Facts(minutes=0b11, compared=0b01), awaited=0b10) == "verified"
    assert judge(Facts(minutes=0b10), awaited=0b10) == "unverified"


def test_a_hole_that_is_recorded_is_less_bad_than_what_disagrees():
    assert worst(iter([Verdict.HOLE, Verdict.SUSPECT, Verdict.VERIFIED])) is Verdict.SUSPECT
    assert worst(iter([])) is None


def test_hours_are_told_apart_and_come_in_order():
    coverage = Coverage()
    for minute in (61, 60, 3, 59):
        coverage.book(START + minute * MINUTE + 5)
        coverage.audit(START + minute * MINUTE, 7, 0)
    coverage.suspicion(START + 5 * HOUR)
    coverage.hole(START + 7 * HOUR - 1, START + 7 * HOUR, 10, 4)
    found = [((time - START) // HOUR, verdict.value) for time, verdict, _ in coverage.verdicts()]
    assert found == [
        (0, "verified"), (1, "verified"), (5, "suspect"), (6, "unrecorded_hole"), (7, "unrecorded_hole"),
    ]  # fmt: skip


def test_what_is_wrong_in_an_audit_is_kept_whatever_another_crawler_says():
    coverage = Coverage()
    coverage.book(START)
    coverage.audit(START, 7, 2)
    coverage.audit(START, 7, 0)
    assert [verdict for _, verdict, _ in coverage.verdicts()] == ["suspect"]


def test_no_more_hours_are_kept_than_asked_for():
    coverage = Coverage(keep=24)
    for hour in range(100):
        coverage.book(START + hour * HOUR)
    coverage.book(START)  # comes too late
    coverage.hole(0, START + 99 * HOUR, 5, 0)
    coverage.audit(START, 5, 1)
    coverage.suspicion(START)
    coverage.hole(START, START, 5, 5)
    coverage.doubt(START, START)
    hours = [(time - START) // HOUR for time, _, _ in coverage.verdicts()]
    assert hours == list(range(76, 100))


def test_a_hole_that_is_said_to_be_endless_costs_no_more_than_what_is_kept():
    coverage = Coverage(keep=24)
    coverage.hole(0, 2**63 - 1, 5, 0)
    assert len(coverage.hours) == 24
