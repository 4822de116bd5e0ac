"""The last confirmed update id of each symbol, in a small file, so that a restarted crawler can tell its gap.

It may lag behind what was published, never run ahead: a gap may overlap what is stored, no hole goes unrecorded.
"""

import os
from dataclasses import dataclass
from operator import index
from pathlib import Path

import orjson

from fairprice.errors import StartupError


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The last book of a symbol that the broker has confirmed; `event_time` in microseconds."""

    update_id: int
    event_time: int


def load(path: Path) -> dict[str, Confirmed]:
    """Return what was saved, nothing if there is no file; raises `StartupError` for a file that cannot be read."""
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


def save(path: Path, confirmed: dict[str, Confirmed]) -> None:
    """Replace the file at once: after a crash it holds the old or the new state, whole."""
    body = {symbol: {"update_id": last.update_id, "event_time": last.event_time} for symbol, last in confirmed.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(orjson.dumps(body))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
