"""The files of a recording: compressed while written, begun anew by time and size, each with its index.

Lines wait in memory, less than a second, then leave together as one gzip member in one write, in a thread: a process
that is killed leaves whole members, and a damage costs the second that it is in. gzip, because every tool reads it:
zstd at its sixth level made 12 % less of real recordings at two thirds of the work, which is 0.05 % of a core a symbol.
"""

import asyncio
import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from crawler.recorder.index import ENDING, FileIndex
from fairprice.errors import FatalError, StartupError
from fairprice.runtime.clock import Clock

FLUSH_INTERVAL = 0.9
"""Seconds that a line waits: with the time to write it, no more than a second is lost."""

INDEX_INTERVAL = 10.0
"""Seconds between two writes of an index."""

LEVEL = 6
MOST_WAITING = 64 * 1024 * 1024
"""Bytes of lines that may wait for a slow disk before reading stops."""


class RecordingEnded(FatalError):
    """Nothing more can be written; what was, is readable."""


class RecordingFiles:
    """Files in a folder that is made if need be, new ones each `seconds` of the wall clock and `size` bytes.

    Raises `StartupError` for a folder that
    cannot be written.
    """

    def __init__(self, folder: Path, venue: str, clock: Clock, *, seconds: float, size: int) -> None:
        self.lines = 0
        self.paths: list[Path] = []
        self.index = FileIndex(venue)
        self._folder = folder
        self._venue = venue
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._stored = asyncio.Event()
        self._writing = asyncio.Lock()
        self._file: BinaryIO | None = None
        self._indexed_at = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}.tmp"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StartupError(f"cannot record into {folder}: {error.strerror or error}; name a folder") from error

    @property
    def is_full(self) -> bool:
        """Whether the disk is so slow that nothing more should be read."""
        return self._waiting_bytes >= MOST_WAITING

    async def room(self) -> None:
        """Return when the disk has taken what waited."""
        while self.is_full:
            self._stored.clear()
            await self._stored.wait()

    def write(self, text: bytes) -> None:
        """Add a line, received now."""
        received_ns = self._clock.wall() * 1000
        line = b"%d %b\n" % (received_ns, text)
        self.index.note_line(received_ns)
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    async def run(self, begin: Callable[[], None]) -> None:
        """Store what was written until cancelled; raises `RecordingEnded` when the disk takes no more.

        `begin` is called when another file has begun, to write into it what it needs to stand alone.
        """
        while True:
            await self._clock.sleep(FLUSH_INTERVAL)
            await self._flush(begin if self._is_over() else None)

    async def end(self) -> None:
        """Store what is left and end the last file."""
        await self._flush(lambda: None)

    def close(self) -> None:
        """Close the file that is open, whatever waits; it is as readable as one whose recorder was killed."""
        if self._file:
            self._file.close()
            self._file = None

    async def _flush(self, begin: Callable[[], None] | None) -> None:
        """Store what waits; the file ends with it if another one is to begin."""
        async with self._writing:
            lines, size, index = self._waiting, self._waiting_bytes, self.index
            self._waiting = []
            if begin and index.lines:
                self.index = FileIndex(self._venue)
                begin()
            now = self._clock.monotonic()
            if must_index := begin or now - self._indexed_at >= INDEX_INTERVAL:
                self._indexed_at = now
            await asyncio.to_thread(self._store, lines, index, must_index=bool(must_index), is_last=bool(begin))
            self.lines += len(lines)
            self._waiting_bytes -= size
            self._stored.set()

    def _is_over(self) -> bool:
        begun, now = self.index.first_received_ns / 1e9, self._clock.wall() / 1e6
        return bool(begun) and (begun // self._seconds != now // self._seconds or self.index.size >= self._size)

    def _store(self, lines: list[bytes], index: FileIndex, *, must_index: bool, is_last: bool) -> None:
        """Write lines, and the index if it is due; what cannot be written whole is taken back."""
        if not index.lines:
            return
        try:
            file = self._file = self._file or self._open(index.first_received_ns)
            if lines:
                self._append(file, gzip.compress(b"".join(lines), LEVEL), index)
            if is_last:
                file.close()
                self._file = None
            if must_index:
                index.is_complete = is_last
                self._write_index(index)
        except OSError as error:
            where = self.paths[-1] if self.paths else self._folder
            raise RecordingEnded(f"cannot write {where}: {error.strerror or error}") from error

    def _open(self, received_ns: int) -> BinaryIO:
        begun = datetime.fromtimestamp(received_ns // 1_000_000_000, UTC)
        name, number = f"{self._venue}-{begun:%Y%m%dT%H%M%SZ}", 1
        while (path := self._folder / f"{name}{f'-{number}' if number > 1 else ''}.ndjson.gz").exists():
            number += 1
        file = path.open("xb", buffering=0)
        self.paths.append(path)
        return file

    def _append(self, file: BinaryIO, member: bytes, index: FileIndex) -> None:
        try:
            rest = memoryview(member)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(index.size)
            if not index.size:
                self.paths.pop().unlink()
            raise
        index.size += len(member)

    def _write_index(self, index: FileIndex) -> None:
        path = self.paths[-1]
        path = path.with_name(path.name.removesuffix(".ndjson.gz") + ENDING)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(index.to_json())
        temporary.replace(path)
