"""A table that one test looks at hides no row from another, and whoever reads what failed finds the row."""

import pytest
from tables import each_row


def test_all_rows_are_looked_at_and_those_that_fail_are_named():
    seen = []

    @each_row(("number", "is_even"), [(1, True), (2, True), (3, True)])
    def of_table(number, is_even):
        seen.append(number)
        assert (number % 2 == 0) is is_even

    with pytest.raises(ExceptionGroup, match="2 of 3 rows") as raised:
        of_table()
    assert seen == [1, 2, 3]
    assert [failure.__notes__ for failure in raised.value.exceptions] == [["row: (1, True)"], ["row: (3, True)"]]


def test_rows_of_two_tables_are_combined_and_what_is_left_are_fixtures():
    seen = []

    @each_row("one", "ab")
    @each_row("two", [1, 2])
    def of_tables(one, two, fixture):
        seen.append((one, two, fixture))

    of_tables(fixture="given")
    assert seen == [(one, two, "given") for one in "ab" for two in (1, 2)]


@each_row("number", [1, 2])
def test_pytest_sees_only_what_is_no_column(number, tmp_path):
    assert (number, tmp_path.is_dir()) in {(1, True), (2, True)}


class TestOfAClass:
    seen = 0

    @each_row("number", [1, 2])
    def test_a_method_has_its_instance(self, number):
        self.seen += 1
        assert self.seen == number


def test_a_column_too_many_is_a_failure():
    @each_row(("one", "two"), [(1, 2), (1, 2, 3)])
    def of_table(one, two):
        pass

    with pytest.raises(ExceptionGroup, match="1 of 2 rows"):
        of_table()


def test_a_row_that_skips_is_a_failure_since_those_behind_it_would_not_be_looked_at():
    @each_row("number", [1, 2])
    def of_table(number):
        pytest.skip("not here")

    with pytest.raises(AssertionError, match="row 1 skips"):
        of_table()


def test_of_a_very_long_row_both_ends_are_told():
    @each_row(("text", "number"), [("x" * 10_000, 7)])
    def of_table(text, number):
        raise ValueError

    with pytest.raises(ExceptionGroup) as raised:
        of_table()
    (note,) = raised.value.exceptions[0].__notes__
    assert (note[:12], note[-4:], len(note)) == ("row: ('xxxxx", ", 7)", 410)


def test_a_table_without_rows_marks_and_a_coroutine_are_refused():
    with pytest.raises(ValueError, match="without rows"):
        each_row("number", [])
    with pytest.raises(TypeError, match="marks would count for nothing"):
        each_row("number", [1, pytest.param(2, marks=pytest.mark.skip)])

    async def test(number):
        pass

    with pytest.raises(TypeError, match="event loop"):
        each_row("number", [1])(test)
