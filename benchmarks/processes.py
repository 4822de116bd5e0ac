"""Processes of their own: services and workers, and what Linux says they cost.

A worker says `ready`, waits for a line, does its part and prints one JSON object: when it began and ended (seconds of
the monotonic clock, which is the same for all processes) and the CPU seconds in between.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0
STOP_PATIENCE = 20.0


@dataclass(frozen=True)
class Result:
    """When a worker began and ended, and the CPU seconds in between."""

    began: float
    ended: float
    cpu: float


@dataclass(frozen=True)
class Running:
    """A Python module that runs as a process; `port` is where it answers about its health, if it does."""

    name: str
    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> float:
        """Return the CPU seconds that all its threads have used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self, *, peak: bool = False) -> float:
        """Return the memory that it holds, or the most that it ever held."""
        name = "VmHWM:" if peak else "VmRSS:"
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(name)[2].split()[0]) / 1024

    def counter(self, name: str, label: str = "") -> float:
        """Return a metric, summed over the rows whose labels hold this text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            rows = [
                line.split() for line in answer.read().decode().splitlines() if line.startswith(f"fairprice_{name}")
            ]
        return sum(float(value) for key, value in rows if label in key)

    def is_ready(self) -> bool:
        """Return whether it says that it is; raises when it has ended instead."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return True
        except OSError:
            return False

    def line(self) -> bytes:
        """Return the next line of its standard output; raises when it has ended instead."""
        text = _stream(self.process.stdout).readline()
        if not text:
            raise AssertionError(f"{self.name} ended with {self.process.wait()}")
        return text

    def ready(self) -> None:
        """Wait until a worker is ready."""
        assert self.line() == b"ready\n"

    def go(self) -> None:
        """Let a worker that is ready begin."""
        stdin = _stream(self.process.stdin)
        stdin.write(b"go\n")
        stdin.flush()

    def result(self) -> "Result":
        """Return what a worker found, when it is done."""
        return Result(**orjson.loads(self.line()))

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=STOP_PATIENCE):
            raise AssertionError(f"{self.name} ended with {self.process.returncode}")


def machine_cpu() -> float:
    """Return the CPU seconds that everything on this machine has used since it started."""
    _, *ticks = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *interrupts = map(int, ticks[:7])
    return (user + nice + system + sum(interrupts)) / TICKS


@contextmanager
def measured() -> Iterator[None]:
    """A worker's part."""
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.monotonic(), time.process_time()
    yield
    told = {"began": began, "ended": time.monotonic(), "cpu": time.process_time() - cpu}
    print(orjson.dumps(told).decode(), flush=True)


@contextmanager
def running(name: str, *arguments: str, environ: Mapping[str, str]) -> Iterator[Running]:
    """Run `python -m name arguments` with no other settings than these; it is killed if it still runs at the end."""
    port = _free_port()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FAIRPRICE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        env={**clean, "FAIRPRICE_HTTP_PORT": str(port), **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Running(name, process, port)
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool], what: str, *, every: float = 0.2, seconds: float = PATIENCE) -> None:
    """Wait until it is so; raises when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        time.sleep(every)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream
    return stream
