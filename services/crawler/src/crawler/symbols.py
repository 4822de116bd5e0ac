"""Which symbols are followed, and what the exchange says of each, as of its last list."""

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from crawler.selection import Selection
from crawler.venues.port import SymbolStatus
from fairprice.errors import StartupError

UNLISTED = SymbolStatus(is_trading=False, word="UNLISTED")
"""Of a symbol that the exchange does not know, or knows no more."""

UNKNOWN_YET = SymbolStatus(is_trading=True, word="")

log = structlog.get_logger(__name__)


class Changes(NamedTuple):
    """Symbols to be followed from now on, and those to let go."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


class SymbolBoard:
    """The status of each symbol that is followed or named, as of the last list.

    One that two lists in a row lack is let go: a single list may be incomplete. What was named stays on the board, as
    unlisted, and is followed when it is listed (again).
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._statuses = dict.fromkeys(selection.names, UNKNOWN_YET)
        self._followed: dict[str, None] = {}

    def __getitem__(self, symbol: str) -> SymbolStatus:
        return self._statuses[symbol]

    @property
    def followed(self) -> tuple[str, ...]:
        """The symbols that are followed."""
        return tuple(self._followed)

    @property
    def unfollowed(self) -> tuple[str, ...]:
        """The symbols that were named and are not listed."""
        return tuple(symbol for symbol in self._statuses if symbol not in self._followed)

    def begin(self, listed: Mapping[str, SymbolStatus], url: str) -> Changes:
        """Take the first list; raises `StartupError` when nothing on it was meant."""
        changes = self.update(listed)
        if not changes.added and listed.keys().isdisjoint(self._selection.without_shard().choose(listed)):
            raise StartupError(f"{url} lists none of {self._selection}; correct FAIRPRICE_SYMBOLS (like BTCUSDT)")
        if not changes.added:
            log.warning("no symbol is of this share (FAIRPRICE_SHARD): there is nothing to do until one is listed")
        return changes

    def update(self, listed: Mapping[str, SymbolStatus]) -> Changes:
        """Take a list; each change is logged."""
        chosen = self._selection.choose(listed, self._followed)
        removed = tuple(each for each in self._followed if each not in listed and self._statuses[each] == UNLISTED)
        for symbol in dict.fromkeys((*self._statuses, *chosen)):
            before, now = self._statuses.get(symbol, UNKNOWN_YET), listed.get(symbol, UNLISTED)
            self._statuses[symbol] = now
            if now != before:
                _log_change(symbol, before, now)
        added = tuple(each for each in chosen if each in listed and each not in self._followed)
        self._followed |= dict.fromkeys(added)
        for symbol in removed:
            del self._followed[symbol]
            if symbol not in self._selection.names:
                del self._statuses[symbol]
        return Changes(added, removed)

    def not_trading(self) -> list[str]:
        """Return the symbols that do not trade."""
        return [symbol for symbol, status in self._statuses.items() if not status.is_trading]

    def describe(self) -> str | None:
        """Describe which symbols do not trade and why; None if all do."""
        return "; ".join(f"{symbol}: {self._statuses[symbol].word}" for symbol in self.not_trading()) or None


def _log_change(symbol: str, before: SymbolStatus, now: SymbolStatus) -> None:
    if now == UNLISTED and before == UNKNOWN_YET:
        log.error("the exchange does not list this symbol; correct FAIRPRICE_SYMBOLS", symbol=symbol)
    elif now == UNLISTED:
        log.warning("the exchange does not list this symbol any more", symbol=symbol)
    elif not now.is_trading:
        log.warning("the exchange says that this symbol does not trade", symbol=symbol, status=now.word)
    elif before != UNKNOWN_YET:
        log.info("the exchange says that this symbol trades", symbol=symbol, status=now.word)
