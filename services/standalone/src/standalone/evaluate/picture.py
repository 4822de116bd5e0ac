"""A picture of a few colours, and its PNG: rectangles and letters are all that it needs. Pure.

PNG: W3C Recommendation "Portable Network Graphics", second edition.
"""

import zlib
from enum import IntEnum

from standalone.evaluate.glyphs import WIDTH, points

SCALE = 2
"""Pixels a point of a letter."""

LETTER = (WIDTH + 1) * SCALE
"""Pixels from a letter to the next one."""


class Colour(IntEnum):
    """A place in the palette."""

    WHITE = 0
    BLACK = 1
    GREY = 2
    PALE = 3
    GREEN = 4
    RED = 5


PALETTE = bytes.fromhex("ffffff 222222 777777 dddddd 1a7f37 c0392b")
"""Red, green and blue of each colour."""


class Picture:
    """White at first; `x` and `y` are pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._rows = [bytearray(width) for _ in range(height)]

    def colour(self, x: int, y: int) -> Colour:
        """Return the colour of a pixel."""
        return Colour(self._rows[y][x])

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Fill a rectangle; what lies outside of the picture is left out."""
        left, right = max(0, left), min(self.width, left + width)
        for row in self._rows[max(0, top) : max(0, top + height)]:
            row[left:right] = bytes([colour]) * max(0, right - left)

    def write(self, left: int, top: int, text: str, colour: Colour = Colour.BLACK) -> None:
        """Write a line of text."""
        for place, letter in enumerate(text):
            for x, y in points(letter):
                self.fill(left + place * LETTER + x * SCALE, top + y * SCALE, SCALE, SCALE, colour)

    def png(self) -> bytes:
        """Return it as a file."""
        size = self.width.to_bytes(4, "big") + self.height.to_bytes(4, "big")
        lines = b"".join(b"\0" + row for row in self._rows)  # a line begins with its filter: none
        return b"".join(
            [
                b"\x89PNG\r\n\x1a\n",
                _chunk(b"IHDR", size + bytes([8, 3, 0, 0, 0])),  # eight bits, which are places in the palette
                _chunk(b"PLTE", PALETTE),
                _chunk(b"IDAT", zlib.compress(lines, 9)),
                _chunk(b"IEND", b""),
            ]
        )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
