"""No port that was handed out is handed out again, whichever process asks."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import ports

ASKING = """
import ports, sys
ports.PORTS = range({0}, {1})
print(*(ports.free_port() for _ in range(15)), flush=True)
sys.stdin.read()
"""


def test_a_port_that_another_process_has_and_does_not_use_yet_is_not_free(tmp_path):
    """Among themselves: who else runs this test at the same time has claims of his own."""
    few = range(ports.PORTS.stop, ports.PORTS.stop + 40)
    command = [sys.executable, "-c", ASKING.format(few.start, few.stop)]
    options = {"cwd": Path(__file__).parent, "env": os.environ | {"TMPDIR": str(tmp_path)}, "text": True}
    with ExitStack() as stack:
        asking = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options),
            )
            for _ in range(2)
        ]
        theirs, others = ({int(port) for port in each.stdout.readline().split()} for each in asking)
        for each in asking:
            each.stdin.close()
    assert len(theirs) == len(others) == 15
    assert not theirs & others
