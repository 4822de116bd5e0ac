"""The lines of a file, gzip or plain, as far as they can be read: what is damaged is told, and reading goes on behind.

Read in pieces, never held whole. They are read more than once, so they have to be files. A byte order mark of UTF-8 is
passed over.
"""

import codecs
import re
import stat
import zlib
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

GZIP_MAGIC = b"\x1f\x8b\x08"
LONGEST_LINE = 64 * 1024 * 1024
PIECE = 256 * 1024
SALVAGED_AT_ONCE = 16
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
        for piece in _pieces(path):
            joined = piece if isinstance(piece, bytes) else b"\n"  # what was cut off is a line of its own
            if isinstance(piece, str):
                yield Broken(number + 1, piece)
            elif b"\0" in piece:
                yield Broken(number + 1, "a block of NULs, as in a file that a power cut kept from being written")
                joined = NULS.sub(b"\n", piece)
            *lines, rest = (rest + joined).split(b"\n") if rest or isinstance(piece, bytes) else (b"",)
            for line in lines:
                number += 1
                if text := line.strip():
                    yield number, text
            if len(rest) > LONGEST_LINE:
                raise RecordingError(path, number + 1, f"longer than {LONGEST_LINE} bytes; is this a recording?")
    except OSError as problem:
        raise RecordingError(path, number, f"cannot be read: {problem.strerror or problem}") from None
    if text := rest.strip():
        yield number + 1, text


def _pieces(path: Path) -> Iterator[bytes | str]:
    """What a file holds, unpacked, in pieces; a text says what is wrong where the pieces do not join."""
    if stat.S_ISFIFO(path.stat().st_mode):
        raise RecordingError(path, 0, "is a pipe; a recording is read more than once, so write it to a file first")
    with path.open("rb") as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        pieces = _unpacked(file) if magic == GZIP_MAGIC else iter(partial(file.read, PIECE), b"")
        first = next(pieces, b"")
        if isinstance(first, bytes):
            if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise RecordingError(path, 1, "is written in UTF-16; write it in UTF-8")
            first = first.removeprefix(codecs.BOM_UTF8)
        yield first
        yield from pieces


def _unpacked(file: BinaryIO) -> Iterator[bytes | str]:
    """The members of a gzip file, one after the other; behind a damage it goes on with the next one that is found."""
    packed = file.read(PIECE)
    while packed:
        if len(packed) < len(GZIP_MAGIC):
            packed += file.read(PIECE)
        start = file.tell() - len(packed)
        problem = "something that is no gzip data"
        if packed.startswith(GZIP_MAGIC):
            packed, problem = yield from _member(file, packed)
        if problem:
            yield problem
            packed = _next_member(file, start + 1)
        packed = packed or file.read(PIECE)


def _member(file: BinaryIO, packed: bytes) -> Generator[bytes, None, tuple[bytes, str]]:
    """One member; returns what was read behind it, and what is wrong with it."""
    unpacker = zlib.decompressobj(wbits=31)
    while packed:
        while packed:
            before = unpacker.copy()
            try:
                piece = unpacker.decompress(packed, PIECE)
            except zlib.error as error:
                yield _salvaged(before, packed)
                return b"", f"the compressed data is damaged ({error})"
            yield piece
            if unpacker.eof:
                return unpacker.unused_data, ""
            packed = unpacker.unconsumed_tail
        packed = file.read(PIECE)
    yield unpacker.flush()
    return b"", "the compressed file is cut off here; was it copied whole, or its recorder killed?"


def _salvaged(unpacker: "zlib._Decompress", packed: bytes) -> bytes:
    """What can be unpacked before an error."""
    salvaged = b""
    with suppress(zlib.error):
        for start in range(0, len(packed), SALVAGED_AT_ONCE):
            salvaged += unpacker.decompress(packed[start : start + SALVAGED_AT_ONCE])
    return salvaged


def _next_member(file: BinaryIO, start: int) -> bytes:
    """What is read from here on where the next member may begin; nothing if there is none."""
    file.seek(start)
    tail = b""
    while piece := file.read(PIECE):
        piece = tail + piece
        if (found := piece.find(GZIP_MAGIC)) >= 0:
            return piece[found:]
        tail = piece[-len(GZIP_MAGIC) + 1 :]
    return b""
