"""The whole chain at 3,000 books a second: does it keep up, and what does it cost?"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import crowd
from benchmarks.chain import PER_SECOND, QUEUES, Chain, Sample, chain, thirds
from benchmarks.servers import room

SYMBOLS = 300
EVERY = 2.5
SETTLE = 5.0
"""Seconds after the start that are left out."""

MARGIN = 30.0
"""Seconds of the recording that starting, settling and looking may take."""


def report(seconds: float) -> Iterator[str]:
    """Yield the figures, a line each."""
    names = crowd.symbols(SYMBOLS)
    with room() as servers, tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        recording = Path(folder, "recording")
        crowd.write(recording, names, seconds + MARGIN)
        options = ("--capture", str(recording), "--speed", "1")
        servers.declare()
        with chain(servers, folder, names, *options) as whole:
            time.sleep(SETTLE)
            samples = whole.samples(seconds, EVERY)
            yield from _rate(whole, samples)
            yield from _costs(whole, samples[0], samples[-1])


def _rate(whole: Chain, samples: list[Sample]) -> Iterator[str]:
    first, last = samples[0], samples[-1]
    seconds = last.time - first.time
    rate = (last.stored - first.stored) / seconds
    gaps = whole.processes["crawler"].counter("crawler_gaps_total")
    yield (
        f"chain, {SYMBOLS} symbols at {PER_SECOND}/s: {rate:,.0f} books/s priced and stored over {seconds:.0f} s, "
        f"{gaps:.0f} gaps"
    )
    depths = (f"{queue} {thirds([sample.depths[queue] for sample in samples])}" for queue in QUEUES)
    yield f"  messages in queues, first third -> last third: {', '.join(depths)}"


def _costs(whole: Chain, first: Sample, last: Sample) -> Iterator[str]:
    seconds, stored, peaks = last.time - first.time, last.stored - first.stored, whole.peaks()
    for name in whole.processes:
        cpu = last.cpu[name] - first.cpu[name]
        yield (
            f"  {name}: {cpu / stored * 100_000:.1f} CPU s per 100,000 books ({cpu / seconds:.0%} of a core), "
            f"{peaks[name]:.0f} MB peak"
        )
    busy = (last.machine_cpu - first.machine_cpu) / seconds
    yield f"  the whole machine, servers included: {busy:.1f} cores busy"
