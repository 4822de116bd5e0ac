"""Compares every book's top with the ticker, an independent account of the same exchange. Pure.

After a diff that ends at id u, the top of the book equals the last ticker with an id of at most u. Tickers are matched
by id, never by arrival, because the order of two streams is not promised. Where the last one that has come differs, one
that is still on its way may be the right one: that is known as soon as a ticker beyond u has come. Frames are decoded
only when one is needed. What the tickers say is the truth only as long as none is missing.
"""

from bisect import bisect_right
from enum import Enum, auto
from operator import attrgetter

from crawler.book.market_data import Ticker, Top
from fairprice.messages import Level

KEPT_TICKERS = 2000
"""Tickers kept for a comparison: many seconds of a busy symbol."""

_UPDATE_ID = attrgetter("update_id")


class Verdict(Enum):
    """What the tickers say of a top."""

    MATCH = auto()
    CONTRADICTION = auto()
    UNDECIDED = auto()
    """The ticker that decides may still be on its way."""
    NOTHING = auto()
    """There is nothing to compare with."""


class TopAudit:
    """The audit of one symbol; tops have to come in the order of their ids."""

    def __init__(self, kept_tickers: int = KEPT_TICKERS) -> None:
        self.tickers = 0
        self.matches = 0
        self.mismatches = 0
        self._kept = kept_tickers
        self._tickers: list[Ticker] = []
        self._before: Ticker | None = None
        self._newest = 0

    def __len__(self) -> int:
        """Return the number of tickers that wait for a top."""
        return len(self._tickers)

    def receive(self, ticker: Ticker) -> None:
        """Keep a ticker, unless a connection that is ahead has brought it."""
        self.tickers += 1
        if ticker.update_id <= self._newest:
            return
        if len(self._tickers) >= self._kept:
            self._forget(self._kept // 2)
        self._newest = ticker.update_id
        self._tickers.append(ticker)

    def judge(self, update_id: int, top: Top) -> Verdict:
        """Compare a top with its ticker; raises `InvalidMarketData` for one that cannot be read."""
        if self._newest <= update_id:
            self._forget(len(self._tickers))
        else:
            self.forget_until(update_id)
        if self._before is None or self._before.update_id > update_id:
            return Verdict.NOTHING
        if _equal(self._before.top(), top):
            self.matches += 1
            return Verdict.MATCH
        if not self._tickers and self._before.update_id < update_id:
            return Verdict.UNDECIDED
        self.mismatches += 1
        return Verdict.CONTRADICTION

    def forget_until(self, update_id: int) -> None:
        """Drop what no top behind this id needs."""
        self._forget(bisect_right(self._tickers, update_id, key=_UPDATE_ID))

    def reset(self) -> None:
        """Start over, because ids restart or tickers may be missing."""
        self._tickers.clear()
        self._before = None
        self._newest = 0

    def _forget(self, count: int) -> None:
        """Drop the oldest tickers but keep the last of them: it is the one before the first that is left."""
        if count:
            self._before = self._tickers[count - 1]
            del self._tickers[:count]


def _equal(ticker: Top, top: Top) -> bool:
    return _same(ticker.bid, top.bid) and _same(ticker.ask, top.ask)


def _same(level: Level | None, other: Level | None) -> bool:
    if level is None or other is None:
        return level is other
    return level == other or list(map(float, level)) == list(map(float, other))
