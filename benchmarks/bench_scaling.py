"""One, two and four of each service at a fixed load: what does a book cost when more of them share the work?"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import crowd
from benchmarks.bench_chain import MARGIN
from benchmarks.chain import PER_SECOND, QUEUES, Sample, chain, of_service
from benchmarks.servers import room

SCALED = ("crawler", "converter", "storer")
COUNTS = (1, 2, 4)
SYMBOLS = 60
SETTLE = 5.0
"""Seconds after the start that are left out."""


def report(seconds: float, *, symbols: int = SYMBOLS, counts: Sequence[int] = COUNTS) -> Iterator[str]:
    """Yield the figures, a line each: of each service so many processes beside one of each other, for so long."""
    names = crowd.symbols(symbols)
    with tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        recording = Path(folder, "recording")
        crowd.write(recording, names, seconds + SETTLE + MARGIN)
        for service in SCALED:
            costs: list[float] = []
            for count in counts:
                first, last = _ends(recording, names, service, count, seconds)
                stored = last.stored - first.stored
                costs.append((_cpu(last, service) - _cpu(first, service)) / stored)
                yield (
                    f"scaling, {symbols} symbols at {PER_SECOND}/s, {count} x {service}: "
                    f"{stored / (last.time - first.time):,.0f} books/s stored, "
                    f"{costs[-1] * 1e6:.0f} us CPU a book in all of them, {costs[-1] / costs[0]:.2f}x, "
                    f"{_megabytes(last, service):.0f} MB each; "
                    f"{max(last.depths[queue] for queue in QUEUES)} messages in the fullest queue"
                )


def _ends(recording: Path, names: list[str], service: str, count: int, seconds: float) -> tuple[Sample, Sample]:
    with room() as servers, tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        servers.declare()
        options = ("--capture", str(recording), "--speed", "1")
        with chain(servers, folder, names, *options, replicas={service: count}) as whole:
            time.sleep(SETTLE)
            samples = whole.samples(seconds, seconds)
            return samples[0], samples[-1]


def _cpu(sample: Sample, service: str) -> float:
    return sum(of_service(sample.cpu, service).values())


def _megabytes(sample: Sample, service: str) -> float:
    return max(of_service(sample.megabytes, service).values())
