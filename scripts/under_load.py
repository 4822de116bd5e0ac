"""Proof that no test fails because the machine is slow: runs a pytest command beside busy processes, and on one core.

python -m scripts.under_load --rounds 10 --busy 8 -- python -m pytest -q -n 8     1 if anything failed

Prints a row for each run: its number, tests that passed, tests that failed, seconds, the load (mean of the last minute,
in processes), names of what failed. The output of each run is kept in `var/under-load`.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))"
"""Uses one core until whoever started it is gone, however that one ended."""

ONE_CORE = ("taskset", "-c", "0")
COLUMNS = "{:<6}{:>8}{:>8}{:>9}{:>7}  {}"


@dataclass(frozen=True)
class Run:
    """What came of one run; `names` are those of failed tests, `seconds` how long it took, `load` in processes."""

    passed: int
    names: Sequence[str]
    seconds: float
    load: float


@contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep so many processes busy beside the block.

    They stay in its session: Linux shares cores among sessions first (`sched_autogroup_enabled`), so eight sessions
    would leave a ninth of the machine to all workers of pytest together.
    """
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603  ours
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(command: Sequence[str], report: Path) -> Run:
    """Run pytest once; its results are in `report`, its output beside it."""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}"
    began = time.monotonic()
    with report.with_suffix(".log").open("wb") as log:
        environ = os.environ | {"PYTEST_ADDOPTS": options}
        code = subprocess.run(  # noqa: S603  whoever gave the command runs it
            command, env=environ, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    passed, names = results(report)
    if code and not names:
        names = [f"(exit code {code}: {report.with_suffix('.log')})"]
    return Run(passed, names, time.monotonic() - began, os.getloadavg()[0])


def results(report: Path) -> tuple[int, list[str]]:
    """Return how many tests of a JUnit report passed, and the names of those that failed."""
    if not report.exists():
        return 0, []
    passed, names = 0, []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest wrote it a moment ago
        if case.find("failure") is not None or case.find("error") is not None:
            names.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is None:
            passed += 1
    return passed, sorted(set(names))


def row(label: str, done: Run) -> str:
    """Return the line of the table that tells of a run."""
    numbers = (done.passed, len(done.names), f"{done.seconds:.0f}", f"{done.load:.1f}")
    return COLUMNS.format(label, *numbers, " ".join(done.names) or "-")


def main(arguments: Sequence[str], folder: Path = Path("var/under-load")) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="under_load", description="Run pytest on a busy machine, and on one core.")
    parser.add_argument("--rounds", type=int, default=10, help="runs beside the busy processes (10)")
    parser.add_argument("--busy", type=int, default=8, help="busy processes beside them (8)")
    parser.add_argument("command", nargs="+", help="runs pytest, whatever selection of tests")
    options = parser.parse_args(arguments)
    print(COLUMNS.format("run", "passed", "failed", "seconds", "load", "names of failures"), flush=True)
    failed = 0
    with busy(options.busy):
        for number in range(1, options.rounds + 1):
            done = run(options.command, folder / f"{number}.xml")
            failed += len(done.names)
            print(row(str(number), done), flush=True)
    if shutil.which(ONE_CORE[0]):
        done = run([*ONE_CORE, *options.command], folder / "one-core.xml")
        failed += len(done.names)
        print(row("core 0", done), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what runs is ended, too
    sys.exit(main(sys.argv[1:]))
