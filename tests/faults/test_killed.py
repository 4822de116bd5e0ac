"""What a kill leaves behind: the next run does not pass over what it does not know."""

import shutil

from tests.faults.test_crawler_on_the_wire import clock, crawling, exchange, logged, running

__all__ = ["clock", "logged"]


def require_start(run):
    start, book = run.starts["BTCUSDT"], run.books()[0]
    assert (start.first_update_id, start.update_id) == (book.first_update_id, book.update_id)
    assert (start.event_time, start.crawler) == (book.event_time, "test")


async def test_who_is_killed_right_after_the_first_book_of_all_says_again_where_it_starts(clock, tmp_path):
    """Nothing is known to be kept by then, but a row may be stored: the storer looks what is missing behind it."""
    at_work, left = tmp_path / "at work", tmp_path / "left"
    async with exchange(clock) as server:
        async with running(server, clock, state_dir=at_work) as first:
            await first.until(first.books)
            shutil.copytree(at_work, left)  # what the disk holds when the process is gone
        async with crawling(server, clock, state_dir=left) as second:
            await second.for_books(5)
        async with crawling(server, clock, state_dir=left) as third:
            await third.for_books(5)
    require_start(first)
    require_start(second)
    assert third.starts == {}, "it knows where the second one ended"
