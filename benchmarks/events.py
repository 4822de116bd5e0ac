"""Ready-made events: the books of the recording, and as many more as are wanted, no two with the same key."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count, islice

from benchmarks.bench_book_engine import Engine
from benchmarks.recording import Recording, load
from converter.pricing import Pricer
from fairprice.estimates import DEFAULT
from fairprice.messages import Book, Price

PAUSE = 100_000
"""Microseconds between the end of the recording and its repetition."""


def books(number: int, recording: Recording | None = None) -> list[Book]:
    """Return so many books, the recording's again and again, later each time."""
    recording = recording or load()
    once = list(Engine(recording.snapshot).books(recording.frames))
    return list(islice(_repeated(once), number))


def prices(number: int) -> list[Price]:
    """Return the prices of so many books, with the converter's usual settings."""
    pricer = Pricer(DEFAULT, map(Decimal, (1, 5, 10)), map(Decimal, (10_000, 100_000)))
    return [pricer.price(book, book.received_time) for book in books(number)]


def _repeated(once: list[Book]) -> Iterator[Book]:
    length = once[-1].event_time - once[0].event_time + PAUSE
    ids = once[-1].update_id - once[0].first_update_id + 1
    for times in count():
        for book in once:
            yield replace(
                book,
                first_update_id=book.first_update_id + times * ids,
                update_id=book.update_id + times * ids,
                event_time=book.event_time + times * length,
            )
