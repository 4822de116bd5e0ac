import os
import signal
from pathlib import Path

import preloaded
import pytest

pytestmark = pytest.mark.slow

OWN = """
import json, os, sys, time, warnings
if sys.argv[1] == "tell":
    print(json.dumps([sys.argv[2:], os.environ["SAID"], os.getcwd(), __name__]))
    print("and this", file=sys.stderr)
    sys.exit(3)
if sys.argv[1] == "warn":
    warnings.warn("what a warning", stacklevel=1)
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture
def environ(tmp_path):
    """An environment in which `own` is a program."""
    (tmp_path / "own.py").write_text(OWN)
    return os.environ | {"PYTHONPATH": str(tmp_path), "SAID": "so"}


def test_a_program_has_its_arguments_environment_folder_outputs_and_exit_code(environ, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = preloaded.run("own", "tell", 1, "two", environ=environ)

    assert done.stdout == f'[["1", "two"], "so", "{tmp_path}", "__main__"]\n'
    assert (done.stderr, done.returncode) == ("and this\n", 3)


def test_a_warning_ends_a_strict_one(environ):
    done = preloaded.run("own", "warn", environ=environ, strict=True)

    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.endswith("UserWarning: what a warning\n")


def test_a_program_runs_until_a_signal_ends_it(environ):
    program = preloaded.start("own", "wait", environ=environ)
    assert program.stdout.readline() == "waiting\n"
    assert program.poll() is None
    program.send_signal(signal.SIGTERM)
    program.wait()
    assert (program.poll(), program.stdout.read()) == (-signal.SIGTERM, "")
    program.stdout.close()
    program.kill()  # which is nobody's any more


def test_one_output_can_be_read_alone(environ):
    program = preloaded.start("own", "tell", environ=environ, piped="stderr")

    assert program.communicate() == (None, "and this\n")
    assert program.returncode == 3


def test_both_outputs_can_be_read_apart(environ):
    program = preloaded.start("own", "tell", environ=environ, piped="apart")

    assert program.communicate() == (f'[[], "so", "{Path.cwd()}", "__main__"]\n', "and this\n")


def test_what_cannot_be_run_says_so(environ):
    done = preloaded.run("nowhere", environ=environ)

    assert done.returncode == 1
    assert "No module named nowhere" in done.stderr


def test_our_programs_are_run_from_what_was_loaded_before(environ):
    """The second run finds the modules of the first, of which it takes nothing else."""
    for _ in range(2):
        done = preloaded.run("storer", "audit", "--nothing", environ=environ)
        assert done.returncode == 2
        assert "unrecognized arguments: --nothing" in done.stderr
