"""Fetches the real recordings that tests and benchmarks play: `make recordings`.

They were published with nkaz001/hftbacktest (MIT licence) and are taken as they were at one commit of it; what has
another SHA-256 is thrown away. `FAIRPRICE_TEST_RECORDINGS_URL` may name a mirror that serves the same paths.
"""

import hashlib
import os
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "var" / "recordings"
URL = "https://raw.githubusercontent.com/nkaz001/hftbacktest/c4183c646c744222812405fb3618a39ab75a4a8d"
TIMEOUT = 60.0
"""Seconds without a byte."""


class Recording(NamedTuple):
    """One file: its name here, its path there, and the SHA-256 of its bytes."""

    file: str
    path: str
    sha256: str


RECORDINGS = (
    Recording(
        "binance_spot_btcusdt_20240808.ndjson.gz",
        "examples/spot/btcusdt_20240808.gz",
        "5d263f4c5379cfc27379ef0e22779aa33804463d1b69c292e9c0714e31f2e1b4",
    ),
    Recording(
        "binance_usdm_btcusdt_20240808.ndjson.gz",
        "examples/usdm/btcusdt_20240808.gz",
        "0ad7b3a0f5cff220761ea890cfd6e3c15f6899edc7f94637ec915043d7a72251",
    ),
)


def fetch(recording: Recording, url: str, folder: Path) -> str:
    """Fetch a recording unless it is there already, and return what was done.

    Raises `OSError` when it cannot be had and `ValueError` when it is not what it should be; nothing is left then.
    """
    target = folder / recording.file
    if target.is_file() and _sha256(target.read_bytes()) == recording.sha256:
        return f"{target}: is there"
    with urllib.request.urlopen(f"{url.rstrip('/')}/{recording.path}", timeout=TIMEOUT) as reply:
        content = reply.read()
    if _sha256(content) != recording.sha256:
        raise ValueError(f"{url}/{recording.path}: its SHA-256 is {_sha256(content)}, not {recording.sha256}")
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_bytes(content)
    part.replace(target)
    return f"{target}: fetched, {len(content):,} bytes"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    """Fetch all; return 2 when one could not be had."""
    url = os.environ.get("FAIRPRICE_TEST_RECORDINGS_URL") or URL
    try:
        for recording in RECORDINGS:
            print(fetch(recording, url, FOLDER))
    except (OSError, ValueError) as problem:
        print(f"recordings: none from {url}: {problem}; tests go on with made-up ones", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
