"""What a symbol is called where several venues may have one of that name."""

import re
from typing import NamedTuple

_SEPARATOR = re.compile(r"[:.]")


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
