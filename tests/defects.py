"""Defects that somebody might make, and the tests that catch each: a suite that lets one pass proves nothing.

`tests/faults/test_defects.py` puts each into a copy of the code and sees its tests fail. `README.md` has the table.
"""

from typing import NamedTuple

SYNC = "services/crawler/src/crawler/book/depth_sync.py"
BUFFER = "services/crawler/src/crawler/book/buffer.py"
BOOK = "services/crawler/src/crawler/book/order_book.py"
PUBLICATION = "services/crawler/src/crawler/book/publication.py"
GAPS = "shared/src/fairprice/gaps.py"
MODEL = "services/crawler/src/crawler/book/model.py"
PAIRS = "services/crawler/src/crawler/book/pairs.py"
FEED = "services/crawler/src/crawler/book/feed.py"
QUOTE = "services/crawler/src/crawler/book/quote.py"
CASTING = "shared/src/fairprice/broker/amqp_casting.py"
COPIES = "services/converter/src/converter/copies.py"
AUDIT = "services/storer/src/storer/audit/chain.py"

SYNC_TESTS = "services/crawler/tests/book/test_depth_sync.py::"
BOOK_TESTS = "services/crawler/tests/book/test_order_book.py::"
PUBLICATION_TESTS = "services/crawler/tests/book/test_publication.py::"
MODEL_TESTS = "services/crawler/tests/book/test_model.py::"
GAP_TESTS = "shared/tests/test_gaps.py::"
FEED_TESTS = "services/crawler/tests/book/test_feed.py::"
QUOTE_TESTS = "services/crawler/tests/book/test_quote.py::"
AUDIT_TESTS = "services/storer/tests/test_audit.py::"
COPIES_TESTS = "services/converter/tests/test_copies.py::"
FAULTS = "tests/faults/test_books_survive_faults.py::"
TWO_FEEDS = "tests/faults/test_two_feeds.py::test_any_mixture_of_faults_on_two_feeds"


class Defect(NamedTuple):
    """A wrong piece of code: `old`, which `file` holds once, becomes `new`; each of `tests` has to fail with it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


DEFECTS = (
    Defect(
        "a diff is applied over a hole",
        SYNC,
        "if diff.first_update_id <= self._update_id + 1:",
        "if True:",
        (
            SYNC_TESTS + "test_a_hole_gives_the_book_up_at_once_and_is_recorded_with_its_ids_and_times",
            FAULTS + "test_a_dropped_diff_is_recorded_with_its_ids_and_times",
            TWO_FEEDS + "[0]",
        ),
    ),
    Defect(
        "a diff that waits is applied over a hole",
        SYNC,
        "if diff.first_update_id > self._update_id + 1:",
        "if False:",
        (
            SYNC_TESTS + "test_a_hole_within_the_buffered_diffs_never_makes_a_book",
            SYNC_TESTS + "test_every_id_is_covered_exactly_once_and_every_book_is_true[1]",
        ),
    ),
    Defect(
        "the buffer is dropped when the snapshot comes",
        SYNC,
        "waiting = self._waiting.take()\n",
        "waiting = self._waiting.take()[:0]\n",
        (
            SYNC_TESTS + "test_buffered_diffs_are_replayed_on_the_snapshot_with_the_times_they_were_received",
            SYNC_TESTS + "test_every_id_is_covered_exactly_once_and_every_book_is_true[1]",
        ),
    ),
    Defect(
        "the sides are swapped",
        BOOK,
        "        self.bids.apply(bids)\n        self.asks.apply(asks)\n\n    def best",
        "        self.bids.apply(asks)\n        self.asks.apply(bids)\n\n    def best",
        (
            BOOK_TESTS + "test_a_book_is_published_as_it_was_received",
            SYNC_TESTS + "test_levels_are_removed_replaced_inserted_and_absent_ones_ignored",
            FAULTS + "test_a_dropped_diff_is_recorded_with_its_ids_and_times",
        ),
    ),
    Defect(
        "a snapshot one id too old is used",
        SYNC,
        "if snapshot.update_id < self.first_at_hand - 1:",
        "if snapshot.update_id < self.first_at_hand - 2:",
        (SYNC_TESTS + "test_a_snapshot_older_than_the_buffer_is_asked_for_again_and_the_buffer_kept",),
    ),
    Defect(
        "a snapshot right before the buffer is refused",
        SYNC,
        "if snapshot.update_id < self.first_at_hand - 1:",
        "if snapshot.update_id < self.first_at_hand:",
        (
            SYNC_TESTS + "test_a_usable_snapshot_brings_sync_at_every_boundary",
            SYNC_TESTS + "test_buffered_diffs_are_replayed_on_the_snapshot_with_the_times_they_were_received",
        ),
    ),
    Defect(
        "a hole of one id counts as contiguous",
        SYNC,
        "if diff.first_update_id <= self._update_id + 1:",
        "if diff.first_update_id <= self._update_id + 2:",
        (
            SYNC_TESTS + "test_a_hole_gives_the_book_up_at_once_and_is_recorded_with_its_ids_and_times",
            SYNC_TESTS + "test_every_id_is_covered_exactly_once_and_every_book_is_true[1]",
        ),
    ),
    Defect(
        "a contiguous diff counts as a hole",
        SYNC,
        "if diff.first_update_id <= self._update_id + 1:",
        "if diff.first_update_id <= self._update_id:",
        (
            SYNC_TESTS + "test_a_contiguous_diff_makes_a_book_and_is_no_hole",
            SYNC_TESTS + "test_a_crossed_or_locked_book_is_never_published",
        ),
    ),
    Defect(
        "a contiguous diff that waits counts as a hole",
        SYNC,
        "if diff.first_update_id > self._update_id + 1:",
        "if diff.first_update_id > self._update_id:",
        (
            SYNC_TESTS + "test_buffered_diffs_are_replayed_on_the_snapshot_with_the_times_they_were_received",
            SYNC_TESTS + "test_a_usable_snapshot_brings_sync_at_every_boundary",
        ),
    ),
    Defect(
        "a diff that ends at the snapshot's id is applied",
        SYNC,
        "            if update_id <= self._update_id:\n",
        "            if update_id < self._update_id:\n",
        (SYNC_TESTS + "test_a_usable_snapshot_brings_sync_at_every_boundary",),
    ),
    Defect(
        "a size of zero is ignored",
        BOOK,
        '        """Set or remove levels."""\n',
        '        """Set or remove levels."""\n        changes = [level for level in changes if level[1] > ZERO]\n',
        (
            BOOK_TESTS + "test_every_spelling_of_zero_removes_the_best_level_an_absent_one_and_one_of_a_snapshot",
            SYNC_TESTS + "test_levels_are_removed_replaced_inserted_and_absent_ones_ignored",
            FAULTS + "test_a_dropped_diff_is_recorded_with_its_ids_and_times",
        ),
    ),
    Defect(
        "a book claims the ids that are missing before it",
        PUBLICATION,
        "first = max(first, last.update_id + 1)",
        "first = last.update_id + 1",
        (
            TWO_FEEDS + "[0]",
            SYNC_TESTS + "test_a_hole_gives_the_book_up_at_once_and_is_recorded_with_its_ids_and_times",
            FAULTS + "test_a_dropped_diff_is_recorded_with_its_ids_and_times",
        ),
    ),
    Defect(
        "a late diff that joins nothing fills the hole",
        BUFFER,
        "return before < diff.update_id and diff.first_update_id < after and before + 1 < after",
        "return True",
        (SYNC_TESTS + "test_what_is_late_and_fills_nothing_is_ignored",),
    ),
    Defect(
        "a row behind a hole fills it",
        GAPS,
        "missing += max(0, first - reached - 1)",
        "missing += 0",
        (GAP_TESTS + "test_the_edges_belong_to_the_gap", TWO_FEEDS + "[0]"),
    ),
    Defect(
        "a row that ends right before a gap fills its first id",
        GAPS,
        "missing, reached = 0, from_update_id - 1",
        "missing, reached = 0, from_update_id",
        (GAP_TESTS + "test_the_edges_belong_to_the_gap",),
    ),
    Defect(
        "a gap that runs backwards is filled",
        GAPS,
        "return claimed(from_update_id, to_update_id)\n    missing",
        "return 0\n    missing",
        (GAP_TESTS + "test_a_gap_that_runs_backwards_is_never_filled", TWO_FEEDS + "[0]"),
    ),
    Defect(
        "a snapshot of ids that have begun anew is believed",
        SYNC,
        "if self._id_reset.is_left_behind(snapshot.update_id, self.newest_id):",
        "if False:",
        (SYNC_TESTS + "test_no_snapshot_of_the_old_ids_refreshes_a_book_of_the_new_ones",),
    ),
    Defect(
        "a row forgets the ids of the one that it replaces",
        COPIES,
        "first = min(first, before[0])",
        "first = max(first, before[0])",
        (COPIES_TESTS + "test_a_row_that_takes_the_place_of_one_that_ends_sooner_begins_where_that_one_does",),
    ),
    Defect(
        "a model learns across a gap",
        PUBLICATION,
        "if events:\n            self.model.restart()",
        "if False:\n            self.model.restart()",
        (PUBLICATION_TESTS + "test_behind_a_gap_it_takes_two_minutes_again",),
    ),
    Defect(
        "a model knows of a time before its two minutes",
        MODEL,
        "block.inner if age == BLOCKS else block.all",
        "block.all",
        (MODEL_TESTS + "test_who_joins_later_has_the_same_model_to_the_last_bit",),
    ),
    Defect(
        "an outcome is the mid of the book behind it",
        PAIRS,
        "found.append(mids[at - 1])",
        "found.append(mids[min(at, end - 1)])",
        (MODEL_TESTS + "test_a_model_is_what_its_definition_says",),
    ),
    Defect(
        "a copy without a model hides one that has it",
        COPIES,
        "row[1] == last and book.model and not row[2]",
        "False",
        (COPIES_TESTS + "test_a_copy_that_brings_a_model_where_the_row_has_none_is_none",),
    ),
    Defect(
        "what lies before a hole of one crawler is priced again when the other one brings it",
        COPIES,
        "self._runs = [*others[1 - RUNS :], run]",
        "self._runs = [run]",
        (COPIES_TESTS + "test_what_lies_before_a_hole_of_one_crawler_is_known_when_the_other_one_brings_it",),
    ),
    Defect(
        "a row that ends amid another one's ids is taken for a new numbering",
        AUDIT,
        "each.first_update_id <= row.update_id < each.update_id and",
        "False and",
        (
            AUDIT_TESTS
            + "test_the_parts_of_two_diffs_that_another_crawler_got_in_one_under_an_earlier_time_are_no_new_numbering",
        ),
    ),
    Defect(
        "a quote is made of a book that is not the present one",
        FEED,
        "if book is None or self._held or not self.in_sync or self.sync.update_id != book.update_id:",
        "if book is None:",
        (
            FEED_TESTS + "test_while_a_book_is_held_back_there_is_no_quote_of_the_one_before",
            FEED_TESTS + "test_out_of_sync_there_is_no_quote",
        ),
    ),
    Defect(
        "what is better than the new best stays in a quote",
        QUOTE,
        "return [best, *levels[first:]], bound",
        "return [best, *levels], bound",
        (QUOTE_TESTS + "test_what_is_better_than_the_new_best_is_gone",),
    ),
    Defect(
        "what is cast waits for the end of an alarm",
        CASTING,
        "if self._connection is None or is_blocked(self._connection):",
        "if self._connection is None:",
        ("shared/tests/test_amqp_casting.py::test_an_alarm_drops_what_is_cast_and_its_end_ends_that",),
    ),
)
