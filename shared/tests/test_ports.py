"""No port that was handed out is handed out again, whichever process asks."""

import subprocess
import sys
from pathlib import Path

import ports

ELSEWHERE = """
import ports, sys
ports.PORTS = range({0}, {1})
print(*(ports.free_port() for _ in range(20)), flush=True)
sys.stdin.read()
"""


def test_a_port_that_another_process_has_and_does_not_use_yet_is_not_free(monkeypatch):
    few = range(ports.PORTS.stop, ports.PORTS.stop + 40)
    monkeypatch.setattr(ports, "PORTS", few)
    other = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE.format(few.start, few.stop)],
        cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = {ports.free_port() for _ in range(15)}
        other.stdin.close()
    assert len(theirs) == 20
    assert len(ours) == 15
    assert not theirs & ours
