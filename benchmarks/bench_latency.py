"""How long a book takes from the frame to the confirmation, to the confirmed price, to the stored row."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import orjson

from benchmarks import crowd
from benchmarks.chain import PER_SECOND, chain
from benchmarks.processes import running
from benchmarks.servers import room
from benchmarks.timed import PUBLISHED, STORED
from fairprice.topology import BOOKS

RATES = (10, 100, 1000)
STEPS = (*PUBLISHED.values(), STORED)
FLOOR_SAMPLES = 60
SETTLE = 3.0
"""Seconds after the start that are left out, and for the last books to get everywhere."""

Times = dict[str, list[float]]
"""Milliseconds by what took so long."""


def report(seconds: float) -> Iterator[str]:
    """Yield the figures, a line each; the floor of a rate is measured right before and right after it."""
    floors = [_floor()]
    for rate in RATES:
        times = _latencies(rate, seconds)
        floors.append(_floor())
        hops, writes = ([*floors[-2][name], *floors[-1][name]] for name in ("hop", "write"))
        floor = 2 * median(hops) + median(writes)
        told = ", ".join(f"{step} {_told(times[step])}" for step in STEPS)
        yield (
            f"latency at {rate:,} books/s ({len(times[STORED]):,} books): {told}; two hops {2 * median(hops):.1f} and "
            f"a write {median(writes):.1f} make {floor:.1f} ms, stored is {median(times[STORED]) / floor:.2f}x"
        )


def _floor() -> Times:
    with room() as servers, running("benchmarks.floor_worker", str(FLOOR_SAMPLES), environ=servers.environ) as worker:
        found: Times = orjson.loads(worker.line())
    return found


def _latencies(rate: int, seconds: float) -> Times:
    names = crowd.symbols(rate // PER_SECOND)
    with room() as servers, tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        servers.declare()
        files = {name: Path(folder, name) for name in ("crawler", "converter", "storer")}
        modules = {name: ("benchmarks.timed", name, str(file)) for name, file in files.items()}
        with chain(servers, folder, names, "--symbols", ",".join(names), modules=modules) as whole:
            time.sleep(SETTLE)
            began = time.time()
            time.sleep(seconds)
            ended = time.time()
            time.sleep(SETTLE)
            whole.stop()
        return _differences([*files.values()], began * 1e6, ended * 1e6)


def _differences(files: list[Path], began: float, ended: float) -> Times:
    """Return the milliseconds since the frame for each step, of books whose frame came in between.

    Raises `AssertionError` when a book did not take all of them.
    """
    notes = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    frames = {(note["symbol"], note["id"]): note["frame"] for note in notes if note["step"] == PUBLISHED[BOOKS]}
    times: Times = defaultdict(list)
    for note in notes:
        frame = frames[note["symbol"], note["id"]]
        if began <= frame <= ended:
            times[note["step"]].append((note["time"] - frame) / 1000)
    counts = {step: len(times[step]) for step in STEPS}
    if len(set(counts.values())) != 1:
        raise AssertionError(f"not every book got everywhere: {counts}")
    return times


def _told(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} ms (p99 {quantiles(milliseconds, n=100)[98]:.1f})"
