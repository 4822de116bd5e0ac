"""The whole chain as processes: simulated exchange, crawler, converter, storer and gateway, over real servers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import TypeVar

from benchmarks.processes import Running, machine_cpu, running, until
from benchmarks.servers import Room
from fairprice.topology import BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER

SERVICES = ("storer", "converter", "gateway", "crawler")
QUEUES = (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER)
T = TypeVar("T")

PER_SECOND = 10
"""Diffs, and so books, of one symbol."""

SNAPSHOT_LEVELS = "100"
"""The exchange's request weight admits 96 snapshots of 1,000 levels a minute, and 960 of 100: with hundreds of symbols
the usual ones would take minutes to begin."""


@dataclass(frozen=True)
class Sample:
    """What was true at one moment of the monotonic clock; CPU seconds and megabytes by process, messages by queue.

    `machine_cpu` are the CPU seconds of everything on this machine, the servers included if they are here.
    """

    time: float
    stored: float
    machine_cpu: float
    cpu: Mapping[str, float]
    megabytes: Mapping[str, float]
    depths: Mapping[str, int]


@dataclass(frozen=True)
class Chain:
    """The processes by name, exchange included."""

    room: Room
    processes: dict[str, Running] = field(default_factory=dict)

    def sample(self) -> Sample:
        """Look at everything once."""
        return Sample(
            time.monotonic(),
            sum(storer.counter("storer_rows_total", "fair_price") for storer in self.all_of("storer").values()),
            machine_cpu(),
            {name: process.cpu() for name, process in self.processes.items()},
            {name: process.megabytes() for name, process in self.processes.items()},
            {queue: depth for queue, depth in self.room.depths().items() if queue in QUEUES},
        )

    def samples(self, seconds: float, every: float) -> list[Sample]:
        """Look at everything again and again for so long."""
        taken = [self.sample()]
        while (now := time.monotonic()) < taken[0].time + seconds:
            time.sleep(min(every, taken[0].time + seconds - now))
            taken.append(self.sample())
        return taken

    def all_of(self, service: str) -> dict[str, Running]:
        """Return the processes of a service by their names."""
        return of_service(self.processes, service)

    def until_ready(self, service: str) -> None:
        """Wait until each process of a service is ready."""
        for name, process in self.all_of(service).items():
            until(process.is_ready, f"{name} is ready")

    def peaks(self) -> dict[str, float]:
        """Return the most megabytes that each process ever held."""
        return {name: process.megabytes(peak=True) for name, process in self.processes.items()}

    def stop(self) -> None:
        """Drain: the services end one after the other, in the direction of the flow."""
        for name in reversed(SERVICES):
            for process in self.all_of(name).values():
                process.stop()


@contextmanager
def chain(
    servers: Room,
    folder: str,
    symbols: list[str],
    *exchange_options: str,
    modules: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    replicas: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Chain]:
    """Run the chain, from when its books are in sync and prices arrive; `modules` are commands in a service's place.

    Everything is as by default but the levels of a snapshot. Of `replicas` of the crawler each has its shard.
    """
    with ExitStack() as stack:
        exchange = stack.enter_context(running("simulator", "--port", "0", *exchange_options, environ={}))
        rest = exchange.line().split()[1].decode()
        environ = {
            **servers.environ,
            "FAIRPRICE_SYMBOLS": ",".join(symbols),
            "FAIRPRICE_EXCHANGE_REST_URL": rest,
            "FAIRPRICE_EXCHANGE_STREAM_URL": rest.replace("http", "ws"),
            "FAIRPRICE_SNAPSHOT_LEVELS": SNAPSHOT_LEVELS,
        }
        whole = Chain(servers, {"exchange": exchange})
        for name in SERVICES:
            count = replicas.get(name, 1)
            for number in range(1, count + 1):
                own = {
                    "FAIRPRICE_STATE_DIR": str(Path(folder, f"state {name} {number}")),
                    "FAIRPRICE_SHARD": f"{number}/{count}",
                    "FAIRPRICE_ADDRESS_SHARE": str(1 / count),
                }
                service = running(*modules.get(name, (name,)), environ=environ | own)
                whole.processes[name if count == 1 else f"{name} {number}"] = stack.enter_context(service)
            if name in {"storer", "converter"}:  # the others are ready when books flow
                whole.until_ready(name)
        for name in reversed(SERVICES):
            whole.until_ready(name)
        yield whole


def of_service(by_process: Mapping[str, T], service: str) -> dict[str, T]:
    """Return what belongs to the processes of a service, which are named after it, with a number if they are many."""
    return {name: value for name, value in by_process.items() if name.partition(" ")[0] == service}


def thirds(values: Sequence[float]) -> str:
    """Return the medians of the first and of the last third."""
    size = max(1, len(values) // 3)
    return f"{median(values[:size]):.0f} -> {median(values[-size:]):.0f}"
