"""An exchange that keeps the true book at the end of each diff, for comparisons that come late."""

from collections.abc import Collection, Sequence

from simulator import Book, Exchange, Frame, Knobs

LEVELS = 20
"""Levels of a side that are kept."""

KEPT = 20_000
"""Books that are kept, of all symbols together; older ones are looked up."""


class Remembered(Exchange):
    """To look up an old book costs as much as has changed since: whoever is late would come later with each book."""

    def __init__(self, symbols: Sequence[str], seed: int, *, start_us: int, knobs: Knobs) -> None:
        super().__init__(symbols, seed, start_us=start_us, knobs=knobs)
        self._books: dict[tuple[str, int], Book] = {}

    def frames(self, now_us: int, wanted: Collection[str] | None = None) -> list[Frame]:
        """See `Exchange`."""
        frames = super().frames(now_us, wanted)
        for frame in frames:
            if frame.kind == "depth":
                self._books[frame.symbol, frame.last_id] = super().book_at(frame.symbol, frame.last_id, LEVELS)
        while len(self._books) > KEPT:
            del self._books[next(iter(self._books))]
        return frames

    def book_at(self, symbol: str, update_id: int, limit: int | None = None) -> Book:
        """See `Exchange`; of a book that is kept there are `LEVELS` levels a side."""
        for shift in (0, *self.board.id_shifts.get(symbol, ())):
            if book := self._books.get((symbol, update_id + shift)):
                return book
        return super().book_at(symbol, update_id, limit)
