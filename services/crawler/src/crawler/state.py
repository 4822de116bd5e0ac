"""The last confirmed update id of each symbol, in a small file, so that a restarted crawler can tell its gap.

It may lag behind what was published, never run ahead: a gap may overlap what is stored, no hole goes unrecorded.
Several crawlers may share a folder: each locks the lowest number that is free. Each begins where any of them came last,
so what one published while another was away is no gap.
"""

import fcntl
import os
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import BinaryIO

import orjson

from crawler.book.publication import Confirmed
from crawler.venues.table import VENUES
from fairprice.errors import StartupError

MAX_NUMBER = 1000
EARLIER_NAME = "confirmed.json"
"""The file of versions that knew the first venue only."""


class StateFile:
    """`<venue>.<n>.json` in a folder, n the lowest number that no other process holds; held until `release`."""

    def __init__(self, path: Path, lock: BinaryIO) -> None:
        self.path = path
        self._lock = lock
        self._saved: bytes | None = None

    @classmethod
    def claim(cls, folder: Path, venue: str) -> "StateFile":
        """Take the first file that is free; raises `StartupError` where the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(MAX_NUMBER):
                lock = (folder / f"{venue}.{number}.lock").open("ab")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                else:
                    path = folder / f"{venue}.{number}.json"
                    _inherit(path, venue)
                    return cls(path, lock)
        except OSError as error:
            raise StartupError(
                f"cannot keep the last confirmed update ids in {folder}: {error.strerror or error}; "
                "make it writable, or name another folder in FAIRPRICE_STATE_DIR"
            ) from error
        raise StartupError(f"{MAX_NUMBER} crawlers share {folder}; name another folder in FAIRPRICE_STATE_DIR")

    def load(self) -> dict[str, Confirmed]:
        """Return of each symbol the last id that any file of the venue has.

        Raises `StartupError` for a file that cannot be read.
        """
        confirmed: dict[str, Confirmed] = {}
        for path in self.path.parent.glob(f"{self.path.name.rsplit('.', 2)[0]}.*.json"):
            for symbol, last in _read(path).items():
                confirmed[symbol] = max(confirmed.get(symbol, last), last, key=lambda each: each.event_time)
        return confirmed

    def save(self, confirmed: Mapping[str, Confirmed]) -> None:
        """Replace the file at once, if anything has changed: after a crash it holds the old or the new state, whole."""
        body = orjson.dumps({symbol: last._asdict() for symbol, last in confirmed.items()})
        if body == self._saved:
            return
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        self._saved = body

    def release(self) -> None:
        """Let another process have the number."""
        self._lock.close()


def _inherit(path: Path, venue: str) -> None:
    """Take over the file of an earlier version, once."""
    earlier = path.with_name(EARLIER_NAME)
    if venue == next(iter(VENUES)) and earlier.exists() and not path.exists():
        earlier.rename(path)


def _read(path: Path) -> dict[str, Confirmed]:
    try:
        saved = orjson.loads(path.read_bytes())
        return {
            symbol: Confirmed(index(entry["update_id"]), index(entry["event_time"])) for symbol, entry in saved.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise StartupError(
            f"cannot read the last confirmed update ids in {path}: {error!r}; "
            "delete the file to go on without recording the gap since the last run"
        ) from error
