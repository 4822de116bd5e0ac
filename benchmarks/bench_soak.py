"""The whole chain for a long time at 1,000 books a second: does anything grow?"""

import tempfile
from collections.abc import Iterator

from benchmarks import crowd
from benchmarks.chain import PER_SECOND, QUEUES, Sample, chain, thirds
from benchmarks.servers import room

SYMBOLS = 10
TIME_SCALE = 10
"""The exchange lives so much faster than the clock. What is bounded by design, its own past of ten minutes, the
gateway's of fifteen, the levels of a book that the crawler comes to know within half an hour, is then full soon, and
what still grows is a leak."""

EVERY = 5.0


def report(minutes: float) -> Iterator[str]:
    """Yield the figures, a line each: medians of the first and of the last third of the time."""
    names = crowd.symbols(SYMBOLS)
    with room() as servers, tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        options = ("--symbols", ",".join(names), "--time-scale", str(TIME_SCALE))
        servers.declare()
        with chain(servers, folder, names, *options) as whole:
            samples = whole.samples(minutes * 60, EVERY)
            gaps = whole.processes["crawler"].counter("crawler_gaps_total")
            yield f"soak, {SYMBOLS} symbols at {PER_SECOND * TIME_SCALE}/s: {_rates(samples)}, {gaps:.0f} gaps"
            for name in whole.processes:
                memory = thirds([sample.megabytes[name] for sample in samples])
                yield f"  {name}: {memory} MB, first third -> last third"
            for queue in QUEUES:
                depths = [sample.depths[queue] for sample in samples]
                yield f"  {queue}: {thirds(depths)} messages, at most {max(depths)}"
            whole.stop()


def _rates(samples: list[Sample]) -> str:
    first, last = samples[0], samples[-1]
    seconds = last.time - first.time
    return f"{(last.stored - first.stored) / seconds:,.0f} books/s priced and stored over {seconds / 60:.1f} minutes"
