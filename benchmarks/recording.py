"""What the benchmarks run on: the real recording, or one made by the simulator where that is absent."""

import gzip
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import orjson

from simulator import Exchange, Frame

FILE = "binance_spot_btcusdt_20240808.ndjson.gz"
FOLDER = Path(os.environ.get("FAIRPRICE_TEST_DATA") or Path(__file__).parents[1] / "var" / "recordings")
MADE_UP = Path(__file__).parents[1] / "tests" / "recordings" / "binance_spot_made_up.ndjson.gz"
SYMBOL = "BTCUSDT"
DEPTH = b'{"stream":"btcusdt@depth@100ms"'
SNAPSHOT = b'{"lastUpdateId"'
ID = re.compile(rb'"([Uu])":([0-9]+)')
EVENT_TIME = re.compile(rb'"E":([0-9]+)')
PAUSE_MS = 100

SIMULATED_WINDOWS = 3000
SNAPSHOT_AFTER = 10
"""Windows, so that a snapshot of a replica that lags is not older than the first of them."""

Line = tuple[int, bytes]
"""Receive time in nanoseconds and the frame or the snapshot's body."""


@dataclass(frozen=True)
class Recording:
    """Diffs and tickers of one symbol, and one snapshot among them."""

    source: str
    lines: list[Line]

    @cached_property
    def snapshot(self) -> bytes:
        """The body of the snapshot."""
        return next(text for _, text in self.lines if text.startswith(SNAPSHOT))

    @cached_property
    def frames(self) -> list[bytes]:
        """The depth frames."""
        return depth_frames(self.lines)

    def head(self, diffs: int) -> list[Line]:
        """Return the lines up to that many diffs."""
        ends = [number for number, (_, text) in enumerate(self.lines, 1) if text.startswith(DEPTH)]
        return self.lines[: ends[diffs - 1]]

    def repeated(self, number: int) -> list[Line]:
        """Return the recording once more, to be played right after its `number - 1`-th repetition.

        A diff that brings the last book back to the snapshot comes first; ids and times go on from there.
        """
        bridge, shift, shift_ms = self._seam
        return [
            (time + number * shift_ms * 1_000_000, _shifted(text, number, shift, shift_ms)) for time, text in bridge
        ]

    @cached_property
    def _seam(self) -> tuple[list[Line], int, int]:
        """The lines to repeat, with ids and times that a shift by the two numbers beside them puts in their place."""
        snapshot = orjson.loads(self.snapshot)
        first_id = snapshot["lastUpdateId"]
        last_diff_id = orjson.loads(self.frames[-1])["data"]["u"]
        shift = max(_last_id(text) for _, text in self.lines) + 1 - first_id
        kept = [(time, text) for time, text in self.lines if _last_id(text) > first_id]
        began, event = kept[0][0], orjson.loads(depth_frames(kept)[0])
        event["data"] |= {"E": event["data"]["E"] - PAUSE_MS, "U": last_diff_id + 1 - shift, "u": first_id}
        event["data"] |= self._way_back(snapshot)
        (bid, bid_size), (ask, ask_size) = snapshot["bids"][0], snapshot["asks"][0]
        top = {"u": first_id, "s": SYMBOL, "b": bid, "B": bid_size, "a": ask, "A": ask_size}
        bridge = [orjson.dumps(event), orjson.dumps({"stream": "btcusdt@bookTicker", "data": top})]
        shift_ms = (kept[-1][0] - began) // 1_000_000 + 2 * PAUSE_MS
        return [(began, text) for text in bridge] + kept, shift, shift_ms

    def _way_back(self, snapshot: dict[str, list[list[str]]]) -> dict[str, list[list[str]]]:
        """Return the changes that lead from the last book to the snapshot."""
        changes = {}
        for side, name in (("b", "bids"), ("a", "asks")):
            start = dict(snapshot[name])
            end = start | dict(level for frame in self.frames for level in orjson.loads(frame)["data"][side])
            back = dict.fromkeys(end, "0.00000000") | start
            changes[side] = [[price, size] for price, size in back.items() if end[price] != size]
        return changes


def depth_frames(lines: list[Line]) -> list[bytes]:
    """Return the depth frames among these lines."""
    return [text for _, text in lines if text.startswith(DEPTH)]


def load() -> Recording:
    """Return the real recording, or a simulated one."""
    path = FOLDER / FILE
    return Recording(path.name, list(_read(path))) if path.exists() else Recording("simulator, seed 1", _simulated())


def made_up() -> Recording:
    """Return half a minute of a market that was made up, the same everywhere."""
    return Recording(MADE_UP.name, list(_read(MADE_UP)))


def write(path: Path, lines: list[Line]) -> None:
    """Append lines to a recording."""
    with path.open("ab") as file, gzip.open(file, "wb", compresslevel=1) as compressed:
        compressed.writelines(b"%d %b\n" % line for line in lines)


def _read(path: Path) -> Iterator[Line]:
    with gzip.open(path) as file:
        for line in file:
            time, _, text = line.rstrip().partition(b" ")
            yield int(time), text


def _simulated() -> list[Line]:
    exchange = Exchange((SYMBOL,), seed=1)
    lines: list[Line] = []
    for window in range(SIMULATED_WINDOWS):
        sent = exchange.advance(exchange.now_us + PAUSE_MS * 1000)
        lines += [(frame.time_us * 1000, frame.on_wire(combined=True)) for frame in sent if isinstance(frame, Frame)]
        if window == SNAPSHOT_AFTER:
            lines.append((exchange.now_us * 1000, exchange.snapshot(SYMBOL, 5000).body))
    return lines


def _last_id(text: bytes) -> int:
    """Return the last id of a diff or ticker, 0 for what has none."""
    return max((int(match[2]) for match in ID.finditer(text)), default=0)


def _shifted(text: bytes, number: int, shift: int, shift_ms: int) -> bytes:
    text = ID.sub(lambda match: b'"%b":%d' % (match[1], int(match[2]) + number * shift), text)
    return EVENT_TIME.sub(lambda match: b'"E":%d' % (int(match[1]) + number * shift_ms), text, count=1)
