"""The members of a gzip file, one after the other, whole or as far as they can be believed.

Data that are damaged, or cut off with others behind them, may be unpacked without an error, into anything. So a member
is walked through to its checksum before it is believed; one that does not get there ends where the next one begins, and
is believed up to its first line that is no JSON.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import orjson

GZIP_MAGIC = b"\x1f\x8b\x08"
PIECE = 64 * 1024
LOOKED_AT = 4096
PRINTABLE = bytes(range(32, 127)) + b"\n\r\t"
CUT_OFF = "the compressed file is cut off here; was it copied whole, or its recorder killed?"


def unpacked(file: BinaryIO) -> Iterator[bytes | str]:
    """What the members hold, in pieces; a text says what is wrong behind those before it."""
    size = file.seek(0, 2)
    start = 0
    while start < size:
        end, problem = _walked(file, start)
        if not problem:
            yield from _decoded(file, start, end)
            start = end
            continue
        following = _next_member(file, start + 1)
        yield from _believed(_decoded(file, start, size if following is None else following))
        yield problem
        start = size if following is None else following


def _walked(file: BinaryIO, start: int) -> tuple[int, str]:
    """Where the member ends that begins here, and what is wrong with it."""
    unpacker = zlib.decompressobj(wbits=31)
    file.seek(start)
    end = start
    while packed := file.read(PIECE):
        if end == start and not packed.startswith(GZIP_MAGIC):
            return end, "something that is no gzip data"
        end += len(packed)
        while packed:
            try:
                unpacker.decompress(packed, PIECE)
            except zlib.error as error:
                return end, f"the compressed data is damaged ({error})"
            if unpacker.eof:
                return end - len(unpacker.unused_data), ""
            packed = unpacker.unconsumed_tail
    return end, CUT_OFF


def _decoded(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """What a member holds that is between these two places, up to an error."""
    unpacker = zlib.decompressobj(wbits=31)
    file.seek(start)
    while start < end and (packed := file.read(min(PIECE, end - start))):
        start += len(packed)
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
    """What can be unpacked before an error, nearly to the byte."""
    for start in range(0, len(packed), 16):
        try:
            yield unpacker.decompress(packed[start : start + 16])
        except zlib.error:
            return


def _believed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines up to the first one that is no JSON; of the last one what there is, if it has no end."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip() and not _is_json(line):
                return
            yield line + b"\n"
    if _is_json(rest):
        yield rest


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line.partition(b" ")[2])
    except orjson.JSONDecodeError:
        return False
    return True


def _next_member(file: BinaryIO, start: int) -> int | None:
    """Where the next member begins, from here on."""
    file.seek(start)
    tail = b""
    while piece := file.read(PIECE):
        piece = tail + piece
        found = piece.find(GZIP_MAGIC)
        while found >= 0:
            if _is_text(file, start - len(tail) + found):
                return start - len(tail) + found
            found = piece.find(GZIP_MAGIC, found + 1)
        start += len(piece) - len(tail)
        tail = piece[-len(GZIP_MAGIC) + 1 :]
        file.seek(start)
    return None


def _is_text(file: BinaryIO, start: int) -> bool:
    """Whether text is unpacked from here: three bytes like a member's first may stand anywhere."""
    file.seek(start)
    try:
        text = zlib.decompressobj(wbits=31).decompress(file.read(PIECE), LOOKED_AT)
    except zlib.error:
        return False
    return bool(text) and not text.translate(None, PRINTABLE)
