"""Compares every book's top with the ticker, an independent account of the same exchange. Pure.

After a diff that ends at id u, the top of the book equals the last ticker with an id of at most u. Tickers are matched
by id, never by arrival, because the order of two streams is not promised. Where the last one that has come differs, one
that is still on its way may be the right one: that is known as soon as a ticker beyond u has come. Frames are decoded
only when one is needed. What the tickers say is the truth only as long as none is missing; where the next one is the
first of its connection, some may be, and the one before was perhaps not the last.

A best level that lies beyond the reach of the book may not be the best: there may be better ones, up to the reach, that
nobody has told. A ticker that shows such a one contradicts nothing.
"""

from bisect import bisect_right
from enum import Enum, auto
from math import inf
from operator import attrgetter

from crawler.book.market_data import Ticker, Top
from crawler.book.reach import Reach
from fairprice.messages import Level

KEPT_TICKERS = 2000
"""Tickers kept for a comparison: many seconds of a busy symbol."""

EVERYTHING = Reach()

_UPDATE_ID = attrgetter("update_id")


class Verdict(Enum):
    """What the tickers say of a top."""

    MATCH = auto()
    CONTRADICTION = auto()
    BEYOND_REACH = auto()
    """The ticker shows a level that the book cannot know."""
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
        self.beyond_reach = 0
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

    @property
    def comparisons(self) -> int:
        """Tops that a ticker was there for."""
        return self.matches + self.mismatches + self.beyond_reach

    def judge(self, update_id: int, top: Top, reach: Reach = EVERYTHING) -> Verdict:
        """Compare a top with its ticker, as far as `reach` goes; raises `InvalidMarketData` for an unreadable one."""
        if self._newest <= update_id:
            self._forget(len(self._tickers))
        else:
            self.forget_until(update_id)
        if self._before is None or self._before.update_id > update_id:
            return Verdict.NOTHING
        ticker = self._before.top()
        if _equal(ticker, top):
            self.matches += 1
            return Verdict.MATCH
        if _may_be(ticker, top, reach):
            self.beyond_reach += 1
            return Verdict.BEYOND_REACH
        if self._before.update_id < update_id:
            if not self._tickers:
                return Verdict.UNDECIDED
            if self._tickers[0].is_first:
                return Verdict.NOTHING
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


def _may_be(ticker: Top, top: Top, reach: Reach) -> bool:
    """Return whether each side is as the ticker shows it, or better there behind the reach than what is known."""
    return _may_have(ticker.bid, top.bid, reach.floor, 1) and _may_have(ticker.ask, top.ask, reach.ceiling, -1)


def _may_have(ticker: Level | None, best: Level | None, bound: str | None, sign: int) -> bool:
    if _same(ticker, best):
        return True
    if ticker is None or bound is None:
        return False
    return (sign * float(best[0]) if best else -inf) < sign * float(ticker[0]) < sign * float(bound)


def _same(level: Level | None, other: Level | None) -> bool:
    if level is None or other is None:
        return level is other
    return level == other or list(map(float, level)) == list(map(float, other))
