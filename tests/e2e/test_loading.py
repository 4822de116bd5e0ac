"""What a program does that is interrupted before it has begun."""

import os
import signal
import sys
from subprocess import PIPE, Popen

import pytest

WAITS = "import threading; print('loading', flush=True); threading.Event().wait()"


@pytest.mark.parametrize("program", ["crawler", "converter", "storer", "gateway", "standalone"])
def test_ctrl_c_while_a_program_is_still_loading_ends_it_without_a_word(tmp_path, program):
    (tmp_path / "uvloop.py").write_text(WAITS)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", program]  # one that was forked has loaded everything
    with Popen(command, env=environ, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
        assert process.returncode == -signal.SIGINT
