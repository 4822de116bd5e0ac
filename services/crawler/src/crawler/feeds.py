"""Makes the feed of each symbol that is followed: what it waits for and compares depends on how many there are."""

from functools import partial

from crawler.book.depth import Depths
from crawler.book.feed import Feed
from crawler.book.refresh import COMPARE_SECONDS
from crawler.checkpoint import Checkpoint
from crawler.settings import CrawlerSettings
from crawler.snapshots import SHALLOW_LEVELS
from crawler.symbols import SymbolBoard

MANY_SYMBOLS = 40
"""With more symbols their books begin with shallow snapshots, the most traded first, and deep ones follow."""

SECONDS_A_COMPARISON = 5.0
"""A book is compared with a fresh snapshot at most so often, over all symbols: that costs a tenth of the weight."""

REPLAY_BUFFER_DIFFS = 6000
"""Diffs that may wait in a replay, whose recording may be played a thousand times as fast as snapshots are fetched."""


class Feeds:
    """The feeds of the symbols on the board, in `of`, each made for how many there are.

    The books of a `replay` depend on nothing but what was recorded.
    """

    def __init__(
        self, settings: CrawlerSettings, board: SymbolBoard, checkpoint: Checkpoint, *, crawler: str, replay: bool
    ) -> None:
        self.of: dict[str, Feed] = {}
        self._settings = settings
        self._venue = settings.the_venue()
        self._board = board
        self._checkpoint = checkpoint
        self._crawler = crawler
        self._replay = replay
        self._let_go: set[str] = set()
        self.complete()

    @property
    def are_many(self) -> bool:
        """Whether deep snapshots of all symbols would take more than a fraction of a minute's weight."""
        return not self._replay and self._symbols > MANY_SYMBOLS

    def complete(self) -> None:
        """Make the feeds that there are none of yet."""
        for symbol in (*self._board.followed, *self._board.unfollowed):
            if symbol not in self.of:
                self.of[symbol] = self._make(symbol)

    def let_go(self, symbol: str) -> Feed:
        """Return the feed of a symbol that is followed no more; the next one of it will know why ids are missing."""
        self._let_go.add(symbol)
        return self.of.pop(symbol)

    def _make(self, symbol: str) -> Feed:
        feed = partial(
            Feed,
            self._venue.name,
            symbol,
            self._crawler,
            levels=self._settings.book_levels,
            depths=self._depths(),
        )
        if self._replay:
            return feed(
                verify=self._venue.verify,
                buffer_diffs=REPLAY_BUFFER_DIFFS,
                buffer_seconds=1e9,
                refreshes=False,
                is_alone=True,
            )
        pause = max(COMPARE_SECONDS, self._symbols * SECONDS_A_COMPARISON)
        return feed(
            verify=self._venue.verify,
            confirmed=self._checkpoint.of(symbol),
            since="not_followed" if symbol in self._let_go else "restart",
            tells_start=self._checkpoint.is_kept,
            compare_seconds=None if self._venue.snapshots_in_stream else pause,
            shallow_first=self._are_shallow_first,
        )

    def _depths(self) -> Depths | None:
        distances = self._settings.depth_distances
        return Depths(distances, self._settings.depth_interval) if distances else None

    @property
    def _are_shallow_first(self) -> bool:
        """Whether books begin with shallow snapshots; where those are all that is asked for, nothing would follow."""
        has_deeper = self._settings.snapshot_levels > SHALLOW_LEVELS
        return self.are_many and has_deeper and not self._venue.snapshots_in_stream

    @property
    def _symbols(self) -> int:
        """How many symbols there are to follow, as far as that is known."""
        return len(self._board.followed) or len(self._board.unfollowed)
