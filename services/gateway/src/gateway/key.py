"""What a symbol is called where several venues may have one of that name."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

_SEPARATOR = re.compile(r"[:.]")


MOST_TOLD = 20
"""Names in a sentence."""


class Key(NamedTuple):
    """A symbol at a venue; an empty venue stands for every venue that has the symbol."""

    venue: str
    symbol: str

    def __str__(self) -> str:
        """Return `venue/symbol`, or the symbol alone."""
        return f"{self.venue}/{self.symbol}" if self.venue else self.symbol


def usual(venue: str, symbol: str) -> Key:
    """Return the key in the usual case: the venue in lower, the symbol in upper."""
    return Key(venue.strip().lower(), symbol.strip().upper())


def read_key(text: str) -> Key:
    """Read `SYMBOL`, `venue:SYMBOL` or `venue.SYMBOL`, in upper or lower case."""
    first, *rest = _SEPARATOR.split(text, maxsplit=1)
    return usual(first, rest[0]) if rest else usual("", first)


def told_names(keys: Iterable[Key]) -> str:
    """Return the first names, each once, and how many more there are."""
    each_once = dict.fromkeys(keys)
    names = ", ".join(map(str, islice(each_once, MOST_TOLD)))
    more = len(each_once) - MOST_TOLD
    return f"{names} and {more} more, see /api/prices" if more > 0 else names or "none yet"
