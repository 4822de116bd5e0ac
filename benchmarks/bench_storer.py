"""The storer emptying its queues into InfluxDB, beside writes of lines that are ready."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.processes import Running, running, until
from benchmarks.rounds import ratio
from benchmarks.servers import room
from fairprice.topology import BOOKS, PRICES

WORKER = "benchmarks.store_worker"
EVENTS = {PRICES: 100_000, BOOKS: 30_000}
MEASUREMENTS = {PRICES: "fair_price", BOOKS: "order_book"}
GLANCE = 0.02
"""Seconds between two looks at the storer's counters."""


@dataclass(frozen=True)
class Drain:
    """Rows a second between the first and the last acknowledged batch, and what the storer needed for all of them."""

    rate: float
    cpu: float
    megabytes: float


def report(rounds: int) -> Iterator[str]:
    """Yield the figures, a line each."""
    for kind, count in EVENTS.items():
        ready: list[float] = []
        drains: list[Drain] = []
        for _ in range(rounds):
            ready.append(_raw(kind, count))
            drains.append(_drain(kind, count))
        rates = [drain.rate for drain in drains]
        cpu, peak = median(drain.cpu for drain in drains), max(drain.megabytes for drain in drains)
        yield (
            f"storer, {count:,} {kind}: {median(rates):,.0f} rows/s, raw writes {median(ready):,.0f} lines/s, "
            f"{ratio(rates, ready)}; {cpu:.2f} CPU s per 100,000, {peak:.0f} MB peak"
        )


def _raw(kind: str, count: int) -> float:
    with room() as servers, running(WORKER, "raw", kind, str(count), environ=servers.environ) as worker:
        worker.ready()
        worker.go()
        result = worker.result()
        return count / (result.ended - result.began)


def _drain(kind: str, count: int) -> Drain:
    with room() as servers:
        servers.declare()
        with running(WORKER, "backlog", kind, str(count), environ=servers.environ) as worker:
            worker.ready()
            worker.go()
            worker.result()
        every_book = {"FAIRPRICE_STORE_BOOK_INTERVAL": "0s"}
        with running("storer", environ={**servers.environ, **every_book}) as storer:
            until(storer.is_ready, "the storer is ready", every=GLANCE)
            began = storer.cpu()
            rate = _rate(storer, MEASUREMENTS[kind], count)
            return Drain(rate, (storer.cpu() - began) / count * 100_000, storer.megabytes(peak=True))


def _rate(storer: Running, measurement: str, count: int) -> float:
    """Follow the storer's own counter, which moves with each batch that is written and acknowledged."""
    rows = 0.0
    first: tuple[float, float] | None = None
    while rows < count:
        time.sleep(GLANCE)
        rows, now = storer.counter("storer_rows_total", measurement), time.monotonic()
        if rows and not first:
            first = now, rows
    assert first
    return (rows - first[1]) / (now - first[0])
