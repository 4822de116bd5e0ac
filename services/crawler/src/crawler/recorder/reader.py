"""The lines of recordings for `verify`, in their order, as far as they can be read; what cannot is told."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crawler.recorder.index import ENDING
from crawler.recorder.members import GZIP_MAGIC, unpacked
from fairprice.errors import StartupError

PIECE = 256 * 1024
CONNECTION = b',"connection":'


class Line(NamedTuple):
    """A line: the receive time in nanoseconds, and the JSON without the number of a connection."""

    received_ns: int
    text: bytes


class Unread(NamedTuple):
    """What cannot be read: one line, or what a damaged part of a file held."""

    path: Path
    line: int
    problem: str


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the recordings: files as they stand, of a folder its files by their first lines' times.

    Raises `StartupError` where there is none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
            found += sorted((each for each in files if not each.name.endswith(ENDING)), key=_first_time)
        elif path.exists():
            found.append(path)
        else:
            raise StartupError(f"{path} does not exist")
    if not found:
        raise StartupError(f"no recordings in {', '.join(map(str, paths))}")
    return found


def read(path: Path) -> Iterator[Line | Unread]:
    """Yield the lines that are not blank; raises `StartupError` for what is no file."""
    number, rest = 0, b""
    for piece in _pieces(path):
        if isinstance(piece, str):
            yield Unread(path, number + 1, piece)
            continue
        *lines, rest = (rest + piece).split(b"\n")
        for text in lines:
            number += 1
            if text.strip():
                yield _line(path, number, text.strip())
    if rest.strip(b" \r\n\t\0"):
        yield _line(path, number + 1, rest.strip())


def _line(path: Path, number: int, text: bytes) -> Line | Unread:
    time, _, body = text.partition(b" ")
    if not time.isdigit():
        return Unread(path, number, "does not begin with a receive time in nanoseconds")
    if not body.endswith(b"}}"):
        at = body.rfind(CONNECTION, -40)
        if at > 0 and body.endswith(b"}") and body[at + len(CONNECTION) : -1].isdigit():
            body = body[:at] + b"}"
    return Line(int(time), body)


def _first_time(path: Path) -> int:
    return next((line.received_ns for line in read(path) if isinstance(line, Line)), 0)


def _pieces(path: Path) -> Iterator[bytes | str]:
    """Yield what a file holds, unpacked, in pieces; a text says what is wrong at its place."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GZIP_MAGIC))
            file.seek(0)
            yield from unpacked(file) if magic == GZIP_MAGIC else iter(partial(file.read, PIECE), b"")
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror or error}") from error
