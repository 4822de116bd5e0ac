"""The members of a gzip file, one after the other; one that is damaged costs itself and none behind it.

Data that are cut off, or damaged, may be unpacked without an error, into lines that look right. So a member is walked
through to its checksum before it is believed. One that does not get there ends where the next one begins, and is
believed up to its first line that is no JSON.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import orjson

GZIP_MAGIC = b"\x1f\x8b\x08"
PIECE = 64 * 1024
FIRST_DIGITS = 10
"""A member of a recording begins with a receive time; its magic number alone may stand anywhere."""


def unpacked(file: BinaryIO) -> Iterator[bytes | str]:
    """Yield what the members hold, in pieces; a text says what is wrong at its place."""
    size = file.seek(0, 2)
    start = 0
    while start < size:
        end, problem = _end_of_member(file, start)
        if problem:
            end = _next_member(file, start + 1, size)
            yield from _believed(_decoded(file, start, end))
            yield problem
        else:
            yield from _decoded(file, start, end)
        start = end


def _end_of_member(file: BinaryIO, start: int) -> tuple[int, str]:
    """Return where the member ends that begins here, and what is wrong with it."""
    unpacker = zlib.decompressobj(wbits=31)
    file.seek(start)
    try:
        while packed := file.read(PIECE):
            while packed:
                unpacker.decompress(packed, PIECE)
                if unpacker.eof:
                    return file.tell() - len(unpacker.unused_data), ""
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        return start, f"the compressed data is damaged here ({error})"
    return start, "the compressed file is cut off here"


def _decoded(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield what the member between these two places holds, up to an error and nearly to the byte."""
    unpacker = zlib.decompressobj(wbits=31)
    file.seek(start)
    while packed := file.read(min(PIECE, end - file.tell())):
        while packed:
            before = unpacker.copy()
            try:
                yield unpacker.decompress(packed, PIECE)
            except zlib.error:
                yield from _up_to_the_error(before, packed)
                return
            packed = unpacker.unconsumed_tail
    yield unpacker.flush()


def _up_to_the_error(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    for start in range(0, len(packed), 16):
        try:
            yield unpacker.decompress(packed[start : start + 16])
        except zlib.error:
            return


def _believed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines up to the first one that is no JSON."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip() and not _is_json(line):
                return
            yield line + b"\n"


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line.partition(b" ")[2])
    except orjson.JSONDecodeError:
        return False
    return True


def _next_member(file: BinaryIO, start: int, size: int) -> int:
    """Return where the next member begins, from here on; the end of the file where there is none."""
    overlap = len(GZIP_MAGIC) - 1
    while start < size:
        file.seek(start)
        piece = file.read(PIECE + overlap)
        at = piece.find(GZIP_MAGIC)
        while at >= 0:
            if _is_recording(file, start + at):
                return start + at
            at = piece.find(GZIP_MAGIC, at + 1)
        start += PIECE
    return size


def _is_recording(file: BinaryIO, start: int) -> bool:
    """Whether a recording's line is unpacked from here: three bytes like a member's first may stand anywhere."""
    file.seek(start)
    try:
        text = zlib.decompressobj(wbits=31).decompress(file.read(PIECE), FIRST_DIGITS)
    except zlib.error:
        return False
    return len(text) == FIRST_DIGITS and text.isdigit()
