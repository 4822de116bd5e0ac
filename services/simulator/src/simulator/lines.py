"""The lines of a file, gzip or plain, as far as they can be read: what is damaged is told, and reading goes on behind.

Read in pieces, never held whole. They are read more than once, so they have to be files. A byte order mark of UTF-8 is
passed over.
"""

import codecs
import re
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from simulator.members import GZIP_MAGIC, unpacked

LONGEST_LINE = 64 * 1024 * 1024
PIECE = 256 * 1024
NULS = re.compile(rb"\0+")


class RecordingError(Exception):
    """A recording cannot be read; the message names file, line and what is wrong."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}: {problem}" if line else f"{path}: {problem}")
        self.path = path
        self.line = line


class Broken(NamedTuple):
    """What stands behind a line cannot be read, or not be trusted; why is for people. `line` is the next one."""

    line: int
    problem: str


def lines_of(path: Path) -> Iterator[tuple[int, bytes] | Broken]:
    """The lines that are not blank, with their numbers, and where something is broken.

    Raises:
        RecordingError: the file cannot be opened, is of another kind, or a line has no end.
    """
    number, rest = 0, b""
    try:
        for piece in _without_nuls(_pieces(path)):
            if isinstance(piece, str):
                lines, rest = [rest] if rest else [], b""  # what was cut off is a line of its own
            else:
                *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                number += 1
                if text := line.strip():
                    yield number, text
            if isinstance(piece, str):
                yield Broken(number + 1, piece)
            if len(rest) > LONGEST_LINE:
                raise RecordingError(path, number + 1, f"longer than {LONGEST_LINE} bytes; is this a recording?")
    except OSError as problem:
        raise RecordingError(path, number, f"cannot be read: {problem.strerror or problem}") from None
    if text := rest.strip():
        yield number + 1, text


def _without_nuls(pieces: Iterator[bytes | str]) -> Iterator[bytes | str]:
    """The pieces, with a text in the place of each block of NULs."""
    for piece in pieces:
        if isinstance(piece, str):
            yield piece
            continue
        for number, part in enumerate(NULS.split(piece) if b"\0" in piece else (piece,)):
            if number:
                yield "a block of NULs, as in a file that a power cut kept from being written"
            yield part


def _pieces(path: Path) -> Iterator[bytes | str]:
    """What a file holds, unpacked, in pieces; a text says what is wrong where the pieces do not join."""
    if stat.S_ISFIFO(path.stat().st_mode):
        raise RecordingError(path, 0, "is a pipe; a recording is read more than once, so write it to a file first")
    with path.open("rb") as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        pieces = unpacked(file) if magic == GZIP_MAGIC else iter(partial(file.read, PIECE), b"")
        first = next(pieces, b"")
        if isinstance(first, bytes):
            if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise RecordingError(path, 1, "is written in UTF-16; write it in UTF-8")
            first = first.removeprefix(codecs.BOM_UTF8)
        yield first
        yield from pieces
