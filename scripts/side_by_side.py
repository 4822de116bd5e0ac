"""Runs targets of the Makefile side by side and shows the output of each in one piece.

    python -m scripts.side_by_side [--at-once 2] TARGET...

They start in the order in which they are named, each writes to `var/check/TARGET.log`, and what it said follows when it
has ended, without the lines that only count. What has failed is shown whole, and last. Exits with 1 if any has failed.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOGS = Path("var/check")
COUNTING = re.compile(r"[.sxXFE]+(\s+\[\s*\d+%\])?")
"""A line of pytest's dots."""

GRACE_SECONDS = 30
"""Until what was interrupted is killed: tests stop the servers that they have started."""


LIMIT_SECONDS = 1800
"""For a target: what hangs is interrupted and shown, instead of nothing at all."""

OUT_OF_TIME = 124
"""The exit code that `timeout` gives."""


@dataclass(frozen=True)
class Ended:
    """A target that has run: how long in seconds, and the seconds of processors that it and what it started took."""

    target: str
    code: int
    seconds: float
    processor_seconds: float
    log: Path

    def told(self) -> str:
        """Return its account in one line."""
        failed = "OUT OF TIME" if self.code == OUT_OF_TIME else f"FAILED with {self.code}"
        how = failed if self.code else "passed"
        times = f"{self.seconds:.0f} s, {self.processor_seconds:.0f} s of processors"
        return f"=== {self.target}: {how} after {times}"

    def said(self) -> str:
        """Return what it printed: all of it after a failure, else without the lines that only count."""
        lines = self.log.read_text(errors="replace").splitlines()
        if self.code == 0:
            lines = [line for line in lines if line.strip() and not COUNTING.fullmatch(line)]
        return "\n".join(lines)


async def run(target: str, make: Sequence[str], logs: Path, limit: float) -> Ended:
    """Make a target within `limit` seconds; what it started ends with it, also if this is cancelled."""
    log = logs / f"{target}.log"
    began = time.monotonic()
    pid = _start([*make, target], log)
    waiting = asyncio.create_task(asyncio.to_thread(os.wait4, pid, 0))
    try:
        in_time, _ = await asyncio.wait([waiting], timeout=limit)
    finally:
        if not waiting.done():
            await _end(pid, waiting)
    _, status, used = await waiting
    code = os.waitstatus_to_exitcode(status) if in_time else OUT_OF_TIME
    return Ended(target, code, time.monotonic() - began, used.ru_utime + used.ru_stime, log)


def _start(command: list[str], log: Path) -> int:
    """Start a command in a process group of its own, and return its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)],
            setpgroup=0,
            setsigdef=[signal.SIGINT],  # which is ignored by whatever a shell has put into the background
        )


async def _end(pid: int, waiting: "asyncio.Task[object]") -> None:
    """Interrupt a target as Ctrl-C does, and kill what is left of it after a while."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGINT)
        await asyncio.wait([waiting], timeout=GRACE_SECONDS)
        os.killpg(pid, signal.SIGKILL)


async def run_all(options: argparse.Namespace) -> list[Ended]:
    """Make the targets and show each that has ended; return those that have failed."""
    free = asyncio.Semaphore(options.at_once)
    failed = []

    async def one(target: str) -> None:
        async with free:
            ended = await run(target, options.make.split(), options.logs, options.limit)
        if ended.code:
            failed.append(ended)
            print(f"{ended.told()}; its output comes last", flush=True)
        else:
            print(f"{ended.told()}\n{ended.said()}", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for target in options.targets:
            tasks.create_task(one(target))
    return failed


async def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="side_by_side", description="Makes targets side by side.")
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--at-once", type=int, default=2, metavar="NUMBER")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, metavar="SECONDS", help="of each target")
    parser.add_argument("--make", default="make --no-print-directory", help="the command before a target")
    parser.add_argument("--logs", type=Path, default=LOGS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    running = asyncio.create_task(run_all(options))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    failed = await running
    for ended in failed:
        print(f"\n{ended.told()}\n{ended.said()}", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(ended.target for ended in failed)} (whole output above)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except asyncio.CancelledError:
        sys.exit(130)
