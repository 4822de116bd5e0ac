"""The whole embedded pipeline in a process of its own, simulator and database included."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from benchmarks.recording import Line, Recording, write
from benchmarks.rounds import cpu_seconds, ratio

SHORT = 300
"""Diffs of the recording that is played to know what a run costs that grows with no book: start, imports, end."""

BOOKS = 100_000
LOADS_REPEATED = 10

LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(code)
"""
"""Starts a command and tells its CPU seconds and peak kilobytes. Linux counts the memory of whoever starts a process
into its peak, and the benchmark itself holds more than the pipeline."""


@dataclass(frozen=True)
class Run:
    """One run of `standalone`: CPU seconds of its process, the most memory it held, and what it says it did."""

    cpu: float
    megabytes: float
    books: int
    seconds: float


def report(recording: Recording, rounds: int) -> Iterator[str]:
    """Yield the figures, a line each."""
    with tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        whole = _written(Path(folder, "whole.gz"), recording.lines)
        short = _written(Path(folder, "short.gz"), recording.head(SHORT))
        costs, loads = [], []
        for _ in range(rounds):
            loads.append(_loads(recording.frames))
            least, most = _play(short), _play(whole)
            costs.append((most.cpu - least.cpu) / (most.books - least.books))
        cost = median(costs) * 1e6
        spread = f"[{min(costs) * 1e6:.0f}-{max(costs) * 1e6:.0f}]"
        yield f"pipeline: {cost:.0f} us {spread} CPU/book, {ratio(costs, loads)} orjson.loads alone"
        passes = -(-BOOKS // most.books)
        for number in range(1, passes):
            write(whole, recording.repeated(number))
        long = _play(whole)
        rate, cpu = long.books / long.seconds, long.cpu / long.books * BOOKS
        yield f"pipeline, {passes} times the recording: {rate:,.0f} books/s, {cpu:.1f} CPU s per {BOOKS:,} books"
        peak = f"{long.megabytes:.0f} MB for {long.books:,} books, {most.megabytes:.0f} MB for {most.books:,}"
        yield f"pipeline, peak memory: {peak}"


def _written(path: Path, lines: list[Line]) -> Path:
    write(path, lines)
    return path


def _loads(frames: list[bytes]) -> float:
    """Return the CPU seconds of decoding one frame's JSON, over a time that is not too short beside the pipeline's."""

    def work() -> None:
        for frame in frames:
            orjson.loads(frame)

    return sum(cpu_seconds(work) for _ in range(LOADS_REPEATED)) / LOADS_REPEATED / len(frames)


def _play(path: Path) -> Run:
    """Play a recording as fast as it goes into a database that is thrown away."""
    command = [sys.executable, "-m", "standalone", "--capture", str(path), "--speed", "max", "--once", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    with tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        command += ["--database", str(Path(folder, "db"))]
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, *command], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    *_, summary, usage = done.stdout.splitlines()
    told, (cpu, kilobytes) = orjson.loads(summary), usage.split()
    if told["prices"] != told["books"] or told["gaps"]:
        raise AssertionError(f"not every book was priced and stored: {told}")
    return Run(float(cpu), int(kilobytes) / 1024, told["books"], told["seconds"])
