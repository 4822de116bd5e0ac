"""The script that shows that no test fails because the machine is slow."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import under_load

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
pytestmark = pytest.mark.slow  # seven runs of pytest, and busy processes

SUITE = """
import pathlib

def test_passes(): pass

def test_fails_on_its_second_run():
    seen = pathlib.Path(__file__).with_name("seen")
    seen.write_text(seen.read_text() + "x" if seen.exists() else "x")
    assert seen.read_text() != "xx"
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Return a file of two tests, one of which fails in the second round."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # plugins take longer to load than these tests
    path = tmp_path / "test_suite.py"
    path.write_text(SUITE)
    return path


def test_each_run_has_a_row_and_what_failed_in_one_of_them_is_named(suite, tmp_path, capsys):
    code = under_load.main(["--rounds", "2", "--busy", "1", "--", *PYTEST, str(suite)], tmp_path / "reports")
    first, second, *others = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert first[:3] == ["1", "2", "0"]
    assert second[:3] == ["2", "1", "1"]
    assert second[-1].endswith("test_suite::test_fails_on_its_second_run")
    assert all(other[:4] == ["core", "0", "2", "0"] for other in others)
    assert code == 1


def test_runs_without_a_failure_end_well(suite, tmp_path, capsys):
    command = [*PYTEST, str(suite), "-k", "passes"]
    assert under_load.main(["--rounds", "1", "--busy", "0", "--", *command], tmp_path / "reports") == 0
    assert "FAILED" not in capsys.readouterr().out


def test_a_run_that_ends_before_its_tests_has_failed(suite, tmp_path, capsys):
    command = [*PYTEST, str(suite.with_name("nothing_here.py"))]
    assert under_load.main(["--rounds", "1", "--busy", "0", "--", *command], tmp_path / "reports") == 1
    assert "(exit code 4: " in capsys.readouterr().out


def test_busy_processes_end_with_the_block():
    with under_load.busy(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert None not in [process.poll() for process in processes]


KILLED = "import os\nfrom scripts.under_load import busy\nwith busy(1): os.kill(os.getpid(), 9)"


def test_busy_processes_end_when_whoever_started_them_was_killed():
    process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.communicate() == (b"", None)  # at the end of both, who share a pipe
    assert process.returncode == -signal.SIGKILL
