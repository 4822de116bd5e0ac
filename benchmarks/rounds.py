"""Interleaved rounds: A B C, A B C, ..., so that whatever else the machine does disturbs all alike."""

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median

Work = Callable[[], object]
Seconds = dict[str, list[float]]
"""CPU seconds by what was done, one for each round."""


def interleaved(rounds: int, preparations: Mapping[str, Callable[[], Work]]) -> Seconds:
    """Prepare and do each work once in every round; return the CPU seconds that doing it took this process."""
    seconds: Seconds = {name: [] for name in preparations}
    for _ in range(rounds):
        for name, prepare in preparations.items():
            seconds[name].append(cpu_seconds(prepare()))
    return seconds


def cpu_seconds(work: Work) -> float:
    """Do the work with no garbage left from before."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def each(values: list[float], count: int) -> str:
    """Return microseconds for each of so many: median [min-max]."""
    low, middle, high = (value / count * 1e6 for value in (min(values), median(values), max(values)))
    return f"{middle:.1f} us [{low:.1f}-{high:.1f}]"


def ratio(values: list[float], base: list[float]) -> str:
    """Return the ratio of the medians and, in brackets, the smallest and largest of a round."""
    singles = [value / other for value, other in zip(values, base, strict=True)]
    return f"{median(values) / median(base):.2f}x [{min(singles):.2f}-{max(singles):.2f}]"
