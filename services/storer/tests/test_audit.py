"""What an audit finds in stored rows, and what it takes for sound."""

import pytest
from audited import KEY, SECOND, START, Rows, at, sound, verdicts, wrong

from fairprice.coverage import HOUR, MINUTE
from fairprice.messages import Gap
from storer.audit.account import Kind
from storer.measurements import gap_point


async def test_a_sound_hour_is_verified():
    account = await sound(61).audit()
    assert wrong(account) == {}
    assert verdicts(account) == ["verified", "verified"]
    assert (account.rows, account.books, account.tops, account.unpriced) == (3660, 366, 366, 0)
    assert (account.first_update_id, account.last_update_id) == (1, 36600)
    assert account.is_verified


@pytest.mark.parametrize("second", [1, 700, 3598])
async def test_a_row_that_was_taken_out_is_a_hole_that_no_gap_tells(second):
    rows = sound(60)
    rows.remove(second, second)
    account = await rows.audit()
    assert wrong(account) == {Kind.UNRECORDED_HOLE: 1}
    (hole,) = account.findings
    assert (hole.from_update_id, hole.to_update_id, hole.count) == (10 * second + 1, 10 * second + 10, 10)
    assert (hole.from_time, hole.to_time) == (at(second - 1), at(second + 1))
    assert verdicts(account) == ["unrecorded_hole"]
    assert account.is_wrong


@pytest.mark.parametrize(("name", "kind"), [("bid", Kind.CONTRADICTING), ("ask", Kind.CONTRADICTING)])
async def test_a_top_that_was_changed_by_the_smallest_step_is_found_in_any_row(name, kind):
    rows = sound()
    rows.prices[at(77)][name] += 1e-8
    account = await rows.audit()
    assert wrong(account) == {kind: 1}
    assert account.findings[0].from_time == at(77)
    assert verdicts(account) == ["suspect"]


async def test_a_price_that_was_changed_in_itself_rightly_disagrees_with_its_book():
    rows = sound()
    rows.prices[at(70)] |= {"bid": 999.0, "ask": 999.25}
    account = await rows.audit()
    assert wrong(account) == {Kind.DISAGREEING: 2}
    assert verdicts(account) == ["suspect"]
    assert "999" in account.findings[0].detail


async def test_prices_of_any_size_agree_with_themselves():
    rows = sound()
    for second, (bid, ask) in enumerate([(0.1, 0.3), (1e-8, 3e-8), (123456.78, 123456.79), (9e15, 9e15 + 1)]):
        row = rows.prices[at(second)]
        rows.price(
            at(second), row["first_update_id"], row["update_id"], bid=bid, ask=ask, spread=float(f"{ask - bid:.12g}")
        )
    rows.books.clear()
    assert wrong(await rows.audit()) == {}


@pytest.mark.parametrize("without", ["bid", "ask", "spread"])
async def test_what_a_price_does_not_know_contradicts_nothing(without):
    rows = sound()
    rows.prices[at(60)][without] = None
    assert wrong(await rows.audit()) == {}


async def test_a_row_that_is_there_twice_is_found():
    rows = sound()
    rows.prices[at(100) + 5] = rows.prices[at(100)]
    account = await rows.audit()
    assert wrong(account) == {Kind.DOUBLED: 1}
    assert verdicts(account) == ["suspect"]


async def test_two_accounts_of_one_diff_contradict():
    rows = sound()
    rows.prices[at(100) + 5] = rows.prices[at(100)] | {"bid": 7.0, "ask": 7.25}
    assert wrong(await rows.audit()) == {Kind.CONTRADICTING: 1}


async def test_a_row_from_elsewhere_contradicts():
    rows = sound()
    rows.price(at(100) + 5, 33, 34)
    account = await rows.audit()
    assert wrong(account) == {Kind.CONTRADICTING: 1}
    assert account.findings[0].from_update_id == 33


@pytest.mark.parametrize(("first", "last"), [(None, 5), (5, None), (7, 5)])
async def test_a_row_whose_ids_are_no_range_is_found(first, last):
    rows = sound()
    rows.price(at(100) + 5, first, last)
    assert wrong(await rows.audit()) == {Kind.CONTRADICTING: 1}


async def test_a_hole_that_a_gap_tells_is_recorded():
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1100)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert verdicts(account) == ["hole"]
    assert (account.open_gaps, account.filled_gaps) == (1, 0)
    assert [gap.open_ids for gap in account.gaps] == [100]
    assert not account.is_wrong
    assert not account.is_verified


async def test_ids_of_a_hole_that_the_gap_does_not_tell_are_not_recorded():
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1090)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1, Kind.UNRECORDED_HOLE: 1}
    assert {each.kind: each.count for each in account.findings} == {Kind.UNRECORDED_HOLE: 10, Kind.RECORDED_HOLE: 90}


async def test_a_single_id_that_is_missing_is_a_hole():
    rows = sound()
    rows.prices[at(100)]["first_update_id"] += 1
    account = await rows.audit()
    assert wrong(account) == {Kind.UNRECORDED_HOLE: 1}
    assert (account.findings[0].from_update_id, account.findings[0].count) == (1001, 1)


@pytest.mark.parametrize("second", [10, 80, 130])
async def test_a_gap_of_another_time_tells_nothing_of_a_hole(second):
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(second), at(second + 10), 1001, 1100)
    account = await rows.audit()
    assert account.counts[Kind.UNRECORDED_HOLE] == 1


async def test_two_gaps_tell_a_hole_together():
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1050)
    rows.gap(at(99) + 1, at(110), 1041, 1100)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert account.findings[0].count == 100


@pytest.mark.parametrize("stored", [0, 100])
async def test_a_gap_that_another_crawler_s_rows_fill_is_no_hole(stored):
    rows = sound()
    rows.gap(at(99), at(110), 1001, 1100, open_ids=stored)
    account = await rows.audit()
    assert wrong(account) == {}
    assert (account.open_gaps, account.filled_gaps) == (0, 1)
    assert verdicts(account) == ["verified"]


async def test_a_gap_that_rows_fill_in_part_leaves_holes_on_either_side():
    rows = sound()
    rows.remove(100, 103)
    rows.remove(106, 109)
    rows.gap(at(99), at(110), 1001, 1100)
    account = await rows.audit()
    assert [(each.from_update_id, each.to_update_id) for each in account.findings] == [(1001, 1040), (1061, 1100)]
    assert [gap.open_ids for gap in account.gaps] == [80]


async def test_a_gap_that_the_store_calls_filled_and_no_row_fills_is_a_defect():
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(99), at(110), 1001, 1100, open_ids=0)
    account = await rows.audit()
    assert account.counts[Kind.WRONGLY_FILLED] == 1
    assert account.is_wrong


async def test_a_restarted_crawler_s_gap_may_begin_before_the_last_row():
    rows = sound()
    rows.remove(100, 109)
    rows.gap(at(95), at(110), 961, 1100)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert [gap.open_ids for gap in account.gaps] == [100]


async def test_a_gap_of_a_drain_and_one_of_the_restart_long_after_it_tell_a_hole_together():
    rows = sound(60)
    rows.remove(100, 1999)
    rows.gap(at(99), at(104), 1001, 1050)
    rows.gap(at(104), at(2000), 1051, 20000)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert [gap.open_ids for gap in account.gaps] == [50, 18950]


async def test_a_gap_at_the_end_is_a_recorded_hole():
    rows = sound(10)
    rows.remove(590, 599)
    rows.gap(at(589), at(599), 5901, 6000)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert account.findings[0].count == 100
    assert verdicts(account) == ["hole"]


async def test_of_two_gaps_at_the_end_each_tells_its_own_ids():
    rows = sound(10)
    rows.gap(at(599), at(601), 6001, 6010)
    rows.gap(at(602), at(604), 6021, 6030)
    account = await rows.audit()
    holes = [(each.kind, each.from_update_id, each.to_update_id, each.count) for each in account.findings]
    assert holes == [(Kind.RECORDED_HOLE, 6001, 6010, 10), (Kind.RECORDED_HOLE, 6021, 6030, 10)]


async def test_a_gap_that_rows_behind_the_period_may_fill_is_neither_open_nor_filled():
    rows = sound(10)
    rows.gap(at(599), at(620), 6001, 6100)
    account = await rows.audit(stop=at(620))
    assert wrong(account) == {}
    assert (account.open_gaps, account.filled_gaps, account.gaps[0].open_ids) == (0, 0, None)


async def test_ids_that_begin_anew_are_a_hole_where_a_gap_tells_it():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.gap(at(1799), at(1800), 18001, 4)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert verdicts(account) == ["hole"]
    assert (account.open_gaps, account.gaps[0].open_ids) == (1, 1)
    assert account.last_update_id == 5 + 18000 - 1


async def test_two_crawlers_may_tell_of_one_new_numbering():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.gap(at(1799), at(1800), 18001, 4)
    rows.gap(at(1798), at(1801), 17991, 14)
    rows.prices[at(1800) + 5] = rows.prices[at(1800)]
    rows.prices[at(1810) + 5] = rows.prices[at(1810)]
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 1, Kind.DOUBLED: 2}


async def test_a_claim_up_to_a_new_numbering_leaves_what_another_crawler_claims_from_the_same_book_on():
    rows = sound(60)
    rows.remove(1500, 1509)
    restart(rows, 1800, first_id=5)
    claims = [Gap(*KEY, 15001, 15100, at(1499), at(1510), "lost"), Gap(*KEY, 15001, 4, at(1499), at(1800), "id_reset")]
    for point in map(gap_point, claims):
        rows.gaps[point.time] = dict(point.fields)
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 2}


async def test_a_crawler_killed_before_it_has_noted_the_new_numbering_tells_what_it_misses_there():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.remove(1810, 1819)
    rows.gap(at(1799), at(1800), 18001, 4)
    rows.gap(at(1798), at(1820), 17991, 204)
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 2}
    rows.gap(at(1798), at(1820), 17991, 203)
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 2, Kind.UNRECORDED_HOLE: 1}


async def test_a_gap_from_the_numbering_before_the_last_on_tells_of_both():
    rows = Rows()
    for numbering, first_id in enumerate((2001, 1001, 5)):
        for second in range(5):
            rows.price(at(5 * numbering + second), first_id + 10 * second, first_id + 10 * second + 9)
    rows.gap(at(4), at(5), 2051, 1000)
    rows.gap(at(3), at(10), 2041, 4)
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 2}
    del rows.gaps[at(3)]
    assert wrong(await rows.audit()) == {Kind.RECORDED_HOLE: 1, Kind.UNRECORDED_HOLE: 1}


async def test_the_parts_of_two_diffs_that_another_crawler_got_in_one_under_an_earlier_time_are_no_new_numbering():
    """The first one's time was ahead: who had it counted on from there, the other one goes by the second one's."""
    rows = sound(60)
    rows.remove(1800, 1801)
    rows.price(at(1800), 18001, 18020)
    rows.price(at(1800) + SECOND // 2, 18001, 18010)
    rows.price(at(1800) + SECOND // 2 + 1, 18011, 18020)
    account = await rows.audit()
    assert (wrong(account), account.overlapping) == ({}, 2)
    rows.price(at(1800) + SECOND // 2, 17996, 18010)
    assert wrong(await rows.audit()) == {}, "it may have been sent in one with the diff before"


async def test_a_row_whose_ids_another_one_has_runs_against_time_where_no_clock_explains_it():
    rows = sound(60)
    rows.price(at(1802) + 1, 18001, 18005)
    assert wrong(await rows.audit()) == {Kind.CONTRADICTING: 1}


async def test_rows_that_are_missing_before_ids_begin_anew_are_not_recorded_by_that():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.gap(at(1799), at(1800), 18001, 4)
    rows.remove(1799, 1799)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1, Kind.UNRECORDED_HOLE: 1}
    assert max(each.count for each in account.findings) == 10


async def test_rows_that_are_missing_where_ids_begin_anew_are_not_recorded_by_that():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.gap(at(1799), at(1800), 18001, 4)
    rows.remove(1800, 1800)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1, Kind.UNRECORDED_HOLE: 1}
    hole = account.findings[-1]
    assert (hole.from_update_id, hole.to_update_id, hole.count) == (5, 14, 10)


async def test_ids_that_begin_anew_without_a_gap_are_one_hole_and_the_new_ones_are_followed():
    rows = sound(60)
    restart(rows, 1800, first_id=5)
    rows.remove(2000, 2000)
    account = await rows.audit()
    assert wrong(account) == {Kind.UNRECORDED_HOLE: 2}
    restarted, hole = account.findings
    assert (restarted.from_time, restarted.to_time) == (at(1799), at(1800))
    assert hole.count == 10


async def test_ids_that_begin_anew_with_the_last_row_are_told_by_the_gap_alone():
    rows = sound(10)
    rows.gap(at(599), at(602), 6001, 4)
    account = await rows.audit()
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert verdicts(account) == ["hole"]


@pytest.mark.parametrize("first_id", [5, 1, 9001])
async def test_runs_of_a_made_up_market_each_have_their_own_ids(first_id):
    rows = sound(60)
    restart(rows, 1800, first_id=first_id)
    account = await rows.audit(runs_begin_anew=True)
    assert wrong(account) == {}
    assert account.runs == 2
    rows.remove(2000, 2000)
    assert wrong(await rows.audit(runs_begin_anew=True)) == {Kind.UNRECORDED_HOLE: 1}


async def test_a_double_is_found_in_a_made_up_market_too():
    rows = sound(60)
    rows.prices[at(100) + 5] = rows.prices[at(100)]
    rows.prices[at(3599) + 5] = rows.prices[at(3599)]
    assert wrong(await rows.audit(runs_begin_anew=True)) == {Kind.DOUBLED: 2}


async def test_streams_that_cut_diffs_at_other_ids_overlap_and_nothing_is_wrong():
    rows = sound()
    for second in range(100, 200):
        rows.price(at(second) + SECOND // 2, 10 * second + 6, 10 * second + 15)
    account = await rows.audit()
    assert wrong(account) == {}
    assert account.overlapping == 200
    assert verdicts(account) == ["verified"]


@pytest.mark.parametrize(
    ("changes", "found"), [({}, {}), ({"ask": 7.25, "spread": 0.25, "bid": 7.0}, {Kind.CONTRADICTING: 1})]
)
async def test_two_diffs_that_begin_at_other_ids_and_end_at_one_tell_the_same_state(changes, found):
    rows = sound()
    rows.prices[at(100) + 5] = rows.prices[at(100)] | {"first_update_id": 998} | changes
    account = await rows.audit()
    assert wrong(account) == found
    assert account.overlapping == (not found)


async def test_rows_of_a_clock_that_went_back_are_in_disorder_and_none_is_missing():
    rows = sound()
    moved = {time: rows.prices.pop(time) for time in [at(second) for second in range(100, 160)]}
    rows.prices |= {time - 5 * SECOND - 7: row for time, row in moved.items()}
    rows.books.clear()
    account = await rows.audit()
    assert wrong(account) == {}
    assert account.disordered > 0


async def test_the_first_row_of_all_is_where_the_proof_begins():
    rows = sound()
    rows.remove(0, 99)
    account = await rows.audit()
    assert wrong(account) == {}
    assert account.first_update_id == 1001


async def test_a_crawler_that_joins_late_writes_the_same_rows():
    """The same keys: nothing that an audit could see, but for a first row that begins before its snapshot."""
    rows = sound()
    rows.prices[at(100)]["first_update_id"] -= 4
    account = await rows.audit()
    assert wrong(account) == {}
    assert account.overlapping == 1


async def test_a_hole_that_reaches_into_the_period_is_found():
    rows = sound(180)
    rows.remove(3590, 3700)
    account = await rows.audit(start=START + HOUR)
    assert wrong(account) == {Kind.UNRECORDED_HOLE: 1}
    assert verdicts(account) == ["unrecorded_hole", "unrecorded_hole", "verified"]


@pytest.mark.parametrize("silence", [MINUTE // 2, 30 * MINUTE, 20 * HOUR, 20 * 24 * HOUR])
async def test_the_last_row_before_the_period_is_found_however_long_ago(silence):
    rows = sound(60)
    later = START + HOUR - SECOND + silence
    rows.price(later, 36021, 36030)
    account = await rows.audit(start=later - 1)
    assert account.counts[Kind.UNRECORDED_HOLE] == 1
    assert account.findings[0].count == 20


async def test_a_period_that_begins_inside_a_gap_is_taken_from_its_begin_on():
    rows = sound(180)
    rows.remove(3590, 3599)
    rows.gap(at(3300), at(3400), 33001, 33990)  # leads to the next
    rows.gap(at(3399), at(3800), 34000, 38000)
    account = await rows.audit(start=START + HOUR)
    assert wrong(account) == {Kind.RECORDED_HOLE: 1}
    assert [gap.open_ids for gap in account.gaps] == [0, 100]


async def test_gaps_and_holes_before_the_period_are_none_of_its_business():
    rows = sound(180)
    rows.remove(100, 110)
    rows.remove(200, 210)
    rows.gap(at(99), at(111), 1001, 1110)
    account = await rows.audit(start=START + HOUR)
    assert wrong(account) == {}
    assert account.gaps == []
    assert verdicts(account) == ["verified"] * 2


async def test_what_retention_has_deleted_is_not_missed():
    rows = sound(180)
    rows.remove(0, 3650)
    assert wrong(await rows.audit(start=0)) == {}


async def test_a_hole_over_the_full_hour_belongs_to_both_hours():
    rows = sound(120)
    rows.remove(3600, 3600)
    account = await rows.audit()
    assert verdicts(account) == ["unrecorded_hole", "unrecorded_hole"]
    rows = sound(120)
    rows.remove(3598, 3598)
    assert verdicts(await rows.audit()) == ["unrecorded_hole", "verified"]


async def test_a_hole_of_hours_is_in_each_of_them():
    rows = sound(300)
    rows.remove(1800, 1800 + 3 * 3600)
    rows.gap(at(1799), at(1801 + 3 * 3600), 18001, 18010 + 3 * 36000)
    assert verdicts(await rows.audit()) == ["hole"] * 4 + ["verified"]


async def test_an_hour_without_books_and_without_a_hole_is_not_judged():
    """A symbol that does not trade for hours, and one that is followed no longer."""
    rows = sound(60)
    for second in range(60 * 180, 60 * 240):
        rows.price(at(second), 36001 + second - 60 * 180, 36001 + second - 60 * 180)
    rows.compared(180, 239)
    account = await rows.audit()
    assert [hour.time for hour in account.hours] == [START, START + 3 * HOUR]
    assert wrong(account) == {}


async def test_an_hour_with_a_minute_that_nothing_was_compared_in_is_not_verified():
    rows = sound(120)
    del rows.audits[START + 7 * MINUTE]
    rows.compared(67, 67, tops=None)
    account = await rows.audit()
    assert verdicts(account) == ["unverified", "unverified"]
    assert not account.is_wrong
    assert not account.is_verified


async def test_the_newest_minute_may_still_be_compared():
    rows = sound(90)
    del rows.audits[START + 89 * MINUTE]
    assert verdicts(await rows.audit()) == ["verified", "verified"]
    del rows.audits[START + 88 * MINUTE]
    assert verdicts(await rows.audit()) == ["verified", "unverified"]


async def test_books_that_nothing_was_ever_compared_with_are_not_verified():
    rows = sound(1)
    rows.audits.clear()
    assert verdicts(await rows.audit()) == ["unverified"]


@pytest.mark.parametrize(("name", "kind"), [("wrong", Kind.WRONG_TOPS), ("levels_wrong", Kind.WRONG_LEVELS)])
async def test_what_a_crawler_found_wrong_makes_the_hour_suspect(name, kind):
    rows = sound(120)
    rows.compared(3, 3, **{name: 2.0})
    account = await rows.audit()
    assert wrong(account) == {kind: 1}
    assert account.findings[0].count == 2
    assert verdicts(account) == ["suspect", "verified"]


async def test_sampled_books_without_a_price_of_their_time_are_counted_and_those_ahead_are_not():
    rows = sound(10)
    rows.books[at(33) + 7] = {"update_id": 1, "bid_price_00": 5.0, "ask_price_00": 6.0}
    rows.books[at(40)]["update_id"] = 7
    rows.books[at(900)] = {"update_id": 1, "bid_price_00": 5.0, "ask_price_00": 6.0}
    account = await rows.audit()
    assert wrong(account) == {}
    assert account.unpriced == 2


async def test_a_sampled_book_whose_price_has_no_range_of_ids_is_not_compared():
    rows = sound(10)
    rows.prices[at(0)]["update_id"] = None
    account = await rows.audit()
    assert wrong(account) == {Kind.CONTRADICTING: 1}
    assert (account.books, account.unpriced) == (60, 1)


async def test_a_side_that_is_gone_from_the_book_disagrees_with_a_price_that_has_it():
    rows = sound(10)
    rows.books[at(60)]["bid_price_00"] = None
    assert wrong(await rows.audit()) == {Kind.DISAGREEING: 1}


async def test_gaps_without_any_price_are_told():
    rows = sound(1)
    rows.prices.clear()
    rows.books.clear()
    rows.gap(at(5), at(9), 5, 14)
    account = await rows.audit()
    assert (account.rows, account.open_gaps) == (0, 1)
    assert account.hours == []


async def test_findings_are_counted_beyond_those_that_are_kept_and_their_hours_judged():
    rows = sound(60)
    for second in range(1, 3600, 2):
        rows.remove(second, second)
    rows.price(at(3 * 3600), 90_000, 90_001)
    account = await rows.audit()
    assert account.counts[Kind.UNRECORDED_HOLE] == 1800
    assert len(account.findings) == 1000
    assert verdicts(account) == ["unrecorded_hole"] * 4


async def test_gaps_are_counted_beyond_those_that_are_kept(monkeypatch):
    monkeypatch.setattr("storer.audit.account.MOST_FINDINGS", 100)
    rows = sound(2)
    for second in range(110):
        rows.gap(at(second), at(second), 10 * second + 1, 10 * second + 10, open_ids=0)
    account = await rows.audit()
    assert (account.filled_gaps, account.open_gaps, len(account.gaps)) == (110, 0, 100)


async def test_nothing_behind_the_end_of_the_period_is_looked_at():
    rows = sound(10)
    rows.remove(500, 510)
    assert wrong(await rows.audit(stop=at(505))) == {}


def restart(rows, second: int, first_id: int) -> None:
    """Let the ids of all rows from that second on begin with `first_id`."""
    for time in [time for time in rows.prices if time >= at(second)]:
        row = rows.prices[time]
        shift = first_id - (10 * second + 1)
        rows.prices[time] = row | {name: row[name] + shift for name in ("first_update_id", "update_id")}
        if time in rows.books:
            rows.books[time] |= {"update_id": rows.books[time]["update_id"] + shift}
