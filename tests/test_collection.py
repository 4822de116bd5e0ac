"""Tests are found whatever a person names, and in whichever order."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tests/e2e/test_draining.py", "tests/deploy/test_alerts.py", "services/storer/tests/test_line_protocol.py")
"""A file of each room whose conftest imports what another room shares, or is imported by one."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "rooms",
    [ROOMS, ROOMS[::-1], *(pytest.param(rooms, marks=pytest.mark.rounds) for rooms in permutations(ROOMS, 2))],
    ids=" then ".join,
)
def test_rooms_may_be_named_in_any_order(rooms):
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *rooms]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(room in done.stdout for room in rooms)
