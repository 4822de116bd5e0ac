"""What a program does that is interrupted before it has begun."""

import os
import signal
import sys

import pytest
from processes import spawn

WAITS = "import threading; print('loading', flush=True); threading.Event().wait()"


@pytest.mark.parametrize("program", ["crawler", "converter", "storer", "gateway", "standalone"])
def test_ctrl_c_while_a_program_is_still_loading_ends_it_without_a_word(tmp_path, program):
    (tmp_path / "uvloop.py").write_text(WAITS)
    log = tmp_path / "errors"
    with spawn([program], {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}, log) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait() == -signal.SIGINT
    assert log.read_text() == ""
