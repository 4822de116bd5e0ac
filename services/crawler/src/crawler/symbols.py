"""Whether the exchange lists the symbols that are followed and whether they trade, as of its last list."""

from collections.abc import Iterable, Mapping

import structlog

from crawler.venues.port import SymbolStatus
from fairprice.errors import StartupError

UNLISTED = SymbolStatus(is_trading=False, word="UNLISTED")
"""Of a symbol that the exchange does not know, or knows no more."""

UNKNOWN_YET = SymbolStatus(is_trading=True, word="")

log = structlog.get_logger(__name__)


class SymbolBoard:
    """The status of each symbol of the settings, as of the last list.

    What is not on the first list has no stream: it stays unlisted until the crawler is started again.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._left_out: set[str] = set()
        self._statuses = dict.fromkeys(symbols, UNKNOWN_YET)

    def __getitem__(self, symbol: str) -> SymbolStatus:
        return self._statuses[symbol]

    def begin(self, listed: Mapping[str, SymbolStatus], url: str) -> tuple[str, ...]:
        """Take the first list and return the symbols that are on it; raises `StartupError` when none is."""
        self.update(listed)
        followed = tuple(symbol for symbol, status in self._statuses.items() if status != UNLISTED)
        if not followed:
            raise StartupError(
                f"{url} lists none of {', '.join(self._statuses)}; correct FAIRPRICE_SYMBOLS (like BTCUSDT)"
            )
        self._left_out = set(self._statuses) - set(followed)
        return followed

    def update(self, listed: Mapping[str, SymbolStatus]) -> None:
        """Take a later list; each change is logged."""
        for symbol in self._left_out & set(listed):
            log.warning("the exchange lists this symbol now; start the crawler again to follow it", symbol=symbol)
        for symbol, before in self._statuses.items():
            if symbol in self._left_out:
                continue
            status = listed.get(symbol, UNLISTED)
            if status != before:
                self._statuses[symbol] = status
                _log_change(symbol, before, status)

    def not_trading(self) -> list[str]:
        """Return the symbols that do not trade."""
        return [symbol for symbol, status in self._statuses.items() if not status.is_trading]

    def describe(self) -> str | None:
        """Describe which symbols do not trade and why; None if all do."""
        return "; ".join(f"{symbol}: {self._statuses[symbol].word}" for symbol in self.not_trading()) or None


def _log_change(symbol: str, before: SymbolStatus, now: SymbolStatus) -> None:
    if now == UNLISTED:
        log.error("the exchange does not list this symbol; correct FAIRPRICE_SYMBOLS", symbol=symbol)
    elif not now.is_trading:
        log.warning("the exchange says that this symbol does not trade", symbol=symbol, status=now.word)
    elif before != UNKNOWN_YET:
        log.info("the exchange says that this symbol trades", symbol=symbol, status=now.word)
