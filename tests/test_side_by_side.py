"""What runs side by side is shown one after the other, and whatever fails is shown last."""

import os
import signal
import subprocess
import sys

import pytest

from scripts import side_by_side

MAKE = """#!/bin/sh
cd {folder}
case $1 in
    good) echo '.....s.. [ 99%]'; echo; echo 'sent 7, lost 0'; echo '8 passed' ;;
    bad) echo '..F.. [100%]'; echo 'left is not right' >&2; exit 2 ;;
    giver) echo given > pipe ;;
    taker) read what < pipe; echo "was $what" ;;
    first) echo done > first ;;
    second) cat first ;;
    endless) while :; do sleep 0.1; done ;;
    long) trap 'echo tidied up; exit 1' INT; echo up > pipe; while :; do sleep 0.1; done ;;
esac
"""


@pytest.fixture
def options(tmp_path):
    make = tmp_path / "make"
    make.write_text(MAKE.format(folder=tmp_path))
    make.chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    return ["--make", str(make), "--logs", str(tmp_path / "logs")]


async def test_what_has_passed_is_shown_without_dots_and_what_has_failed_is_shown_whole_and_last(options, capsys):
    assert await side_by_side.main([*options, "--at-once", "1", "bad", "good"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" after")[0] for line in told if line.startswith("===")] == [
        "=== bad: FAILED with 2",
        "=== good: passed",
        "=== bad: FAILED with 2",
    ]
    assert told.index("8 passed") == told.index("sent 7, lost 0") + 1
    assert told[-4:] == ["..F.. [100%]", "left is not right", "", "Failed: bad (whole output above)"]
    assert not any("99%" in line for line in told)


async def test_all_that_pass_are_a_success(options, tmp_path):
    assert await side_by_side.main([*options, "good"]) == 0
    assert (tmp_path / "logs" / "good.log").read_text().startswith(".....s..")


async def test_targets_run_at_once(options, capsys):
    """Each of the two waits for the other."""
    assert await side_by_side.main([*options, "--at-once", "2", "taker", "giver"]) == 0
    assert "was given" in capsys.readouterr().out


async def test_no_more_run_at_once_than_may(options, capsys):
    assert await side_by_side.main([*options, "--at-once", "1", "first", "second"]) == 0
    assert "done" in capsys.readouterr().out


async def test_what_hangs_is_interrupted_and_shown(options, capsys):
    assert await side_by_side.main([*options, "--limit", "0.1", "endless"]) == 1
    told = capsys.readouterr().out
    assert "=== endless: OUT OF TIME after" in told
    assert told.endswith("Failed: endless (whole output above)\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_interrupts_what_runs_and_waits_until_that_has_tidied_up(options, tmp_path, number):
    runner = subprocess.Popen([sys.executable, "-m", "scripts.side_by_side", *options, "long"])
    try:
        assert (tmp_path / "pipe").read_text() == "up\n"
        runner.send_signal(number)
        assert runner.wait(30) == 130
    finally:
        runner.kill()
        runner.wait()
    assert (tmp_path / "logs" / "long.log").read_text() == "tidied up\n"
