"""The recordings that tests play: where they are, and what is known of each.

Two are made by the simulator and committed beside this file (`make.py` makes them again). Two are of the exchange
itself; `make recordings` fetches them into `var/recordings`, and `FAIRPRICE_TEST_DATA` may name another folder. Tests
that need a recording run on each that is there: of a real one on its beginning, and on the whole of it in rounds.
"""

import gzip
import json
import os
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

HERE = Path(__file__).parent
FETCHED = HERE.parents[1] / "var" / "recordings"
FACTS = HERE / "facts.json"
"""What an independent reader finds in each recording: see `make.py`."""

BEGINNING_NS = 60_000_000_000
"""How long the beginning of a recording is."""


@dataclass(frozen=True)
class Recording:
    """One recording of BTCUSDT, or its beginning.

    `books` counts the diffs that end after its snapshot, `inside` those of their books whose top is within the prices
    of the snapshot; `snapshot_line` counts from 0, `depth_stream` is the name of its diffs' stream.
    """

    file: str
    market: str
    is_real: bool
    is_whole: bool
    lines: int
    diffs: int
    books: int
    inside: int
    snapshot_line: int
    depth_stream: str

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        whole = self.whole
        return whole if self.is_whole or not whole.is_file() else beginning(whole)

    @property
    def whole(self) -> Path:
        """Where the whole of it is, or would be."""
        return (real_folder() if self.is_real else HERE) / self.file

    @property
    def venue(self) -> str:
        """Return the venue as Fairprice names it."""
        return {"spot": "binance", "usdm": "binance-usdm"}[self.market]

    def __str__(self) -> str:
        return f"{'real' if self.is_real else 'made-up'}-{self.market}{'' if self.is_whole else '-beginning'}"


def real_folder() -> Path:
    """Return where the real recordings are looked for."""
    return Path(os.environ.get("FAIRPRICE_TEST_DATA") or FETCHED)


RECORDINGS = tuple(Recording(**facts) for facts in json.loads(FACTS.read_text()))
CUT = TemporaryDirectory(prefix="recordings-")
"""Beginnings, for as long as these tests run."""


@cache
def beginning(whole: Path) -> Path:
    """Return a recording that ends where the first minute of this one does."""
    path = Path(CUT.name) / whole.name
    with gzip.open(whole) as lines, gzip.open(path, "wb", compresslevel=1) as file:
        first = next(lines)
        end = _received(first) + BEGINNING_NS
        file.write(first)
        file.writelines(takewhile(lambda line: _received(line) < end, lines))
    return path


def _received(line: bytes) -> int:
    return int(line.partition(b" ")[0])


def parameters(*markets: str) -> list[Any]:
    """Return the recordings of these markets for `parametrize`; the real ones are skipped where they are absent."""
    return [
        pytest.param(recording, id=str(recording), marks=_marks(recording))
        for recording in RECORDINGS
        if recording.market in markets
    ]


def _marks(recording: Recording) -> list[pytest.MarkDecorator]:
    if not recording.is_real:
        return []
    reason = f"no real recordings in {real_folder()}: make recordings"
    rounds = [pytest.mark.rounds] if recording.is_whole else []
    skip = pytest.mark.skipif(not recording.whole.is_file(), reason=reason)
    return [pytest.mark.recording, pytest.mark.slow, skip, *rounds]
