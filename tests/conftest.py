"""What tests across services share: running the embedded pipeline as a person does."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import preloaded
import pytest

HERE = Path(__file__).parent
SLOW = {HERE / "e2e", HERE / "faults"}
"""Folders of tests that run whole processes, or hours of an exchange."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Load nothing of what `make test-fast` leaves out as a whole."""
    return True if collection_path in SLOW and "not slow" in config.option.markexpr else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes seconds out of `make test-fast`."""
    for item in items:
        if not SLOW.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.slow(seconds=1))


@pytest.fixture(scope="session")
def standalone() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m standalone` to its end."""

    def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
        return preloaded.run("standalone", "--port", "0", *arguments, environ=clean | environ)

    return run


Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], Rows]:
    """Read a database: its rows by table, in order of their keys."""

    def read(database: Path) -> Rows:
        connection = sqlite3.connect(database)
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {
            table: [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY symbol, time')]
            for table in tables
        }
        connection.close()
        return rows

    return read


def _summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what a recording that was played once, and well, was summed up in."""
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


Play = Callable[..., tuple[dict[str, Any], Rows]]


@pytest.fixture(scope="session")
def play_into(standalone: Callable[..., subprocess.CompletedProcess[str]], rows_of: Callable[[Path], Rows]) -> Play:
    """Play a recording once into a database; return the summary and the rows by measurement."""

    def play(database: Path, capture: Path, speed: str, **environ: str) -> tuple[dict[str, Any], Rows]:
        options = ("--capture", capture, "--speed", speed, "--once", "--database", database)
        return _summary(standalone(*options, **environ)), rows_of(database)

    return play


Replay = Callable[[Path], tuple[dict[str, Any], Path]]


@pytest.fixture(scope="session")
def replay(
    standalone: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Replay:
    """Play a recording at full speed, once for all; return the summary and the database, which nobody changes."""

    @cache
    def play(capture: Path) -> tuple[dict[str, Any], Path]:
        database = tmp_path_factory.mktemp("replay") / "max.db"
        options = ("--capture", capture, "--speed", "max", "--once", "--database", database)
        return _summary(standalone(*options)), database

    return play


@pytest.fixture
def played(play_into: Play, tmp_path: Path) -> Play:
    """As `play_into`, into a database of the test's own for each speed."""

    def play(capture: Path, speed: str, **environ: str) -> tuple[dict[str, Any], Rows]:
        return play_into(tmp_path / f"{speed}.db", capture, speed, **environ)

    return play
