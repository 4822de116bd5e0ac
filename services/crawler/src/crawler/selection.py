"""Which symbols a crawler follows: names and patterns against what the exchange lists, and its share of them. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import translate
from hashlib import blake2b
from typing import NamedTuple

from crawler.venues.port import SymbolStatus


class Shard(NamedTuple):
    """The share `number` of so many, from 1 on.

    Rendezvous hashing (Thaler, Ravishankar 1998): a symbol belongs to the share that scores highest with it. So it
    stays where it is whatever other symbols come or go, and one more share takes its part evenly from all others.
    """

    number: int = 1
    shares: int = 1

    def owns(self, symbol: str) -> bool:
        """Return whether the symbol belongs to this share."""
        return max(range(1, self.shares + 1), key=lambda number: _score(symbol, number)) == self.number


ALL = Shard()


class Selection:
    """Names, patterns with `*` and `?`, and patterns behind `!` that take out what other patterns match."""

    def __init__(self, texts: Iterable[str], shard: Shard = ALL) -> None:
        parts = self._texts = tuple(texts)
        self._shard = shard
        self._wanted = _matcher(each for each in parts if is_pattern(each) and each[0] != "!")
        self._unwanted = _matcher(each[1:] for each in parts if each[0] == "!")
        self.names = tuple(each for each in parts if not is_pattern(each) and shard.owns(each))
        """Symbols that were named, as far as they are of this share: they are followed whatever the exchange lists."""

    def __str__(self) -> str:
        return ", ".join(self._texts)

    def choose(self, listed: Mapping[str, SymbolStatus], followed: Collection[str] = ()) -> tuple[str, ...]:
        """Return the symbols to follow: those named, and of those listed what a pattern matches and what trades.

        What is followed already stays while it is listed, whether it trades or not.
        """
        matched = (symbol for symbol, status in listed.items() if status.is_trading or symbol in followed)
        return tuple(dict.fromkeys((*self.names, *filter(self._is_matched, matched))))

    def _is_matched(self, symbol: str) -> bool:
        return self._wanted(symbol) is not None and not self._unwanted(symbol) and self._shard.owns(symbol)

    def without_shard(self) -> "Selection":
        """Return what all shares together choose."""
        return Selection(self._texts)


def is_pattern(text: str) -> bool:
    """Return whether a text of the settings is more than a symbol's name."""
    return not {"*", "?", "!"}.isdisjoint(text)


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match


def _score(symbol: str, number: int) -> bytes:
    return blake2b(f"{number}/{symbol}".encode(), digest_size=8).digest()
