"""What a kill leaves behind: the next run records as a gap whatever is not known to be kept."""

import shutil

from tests.faults.test_crawler_on_the_wire import clock, crawling, exchange, logged, require_true, running

__all__ = ["clock", "logged"]


async def test_a_kill_right_after_the_first_book_of_all_leaves_no_hole(clock, tmp_path):
    """Nothing has been confirmed by then, but a row may be stored."""
    at_work, left = tmp_path / "at work", tmp_path / "left"
    async with exchange(clock) as server:
        async with running(server, clock, state_dir=at_work) as first:
            await first.until(first.books)
            shutil.copytree(at_work, left)  # what the disk holds when the process is gone
            before = first.books()
        async with crawling(server, clock, state_dir=left) as second:
            await second.for_books(5)
        events = second.events["BTCUSDT"]
        assert events[0].reason == "restart"
        assert events[0].from_update_id <= before[-1].update_id + 1
        require_true(server.source, "BTCUSDT", events)
