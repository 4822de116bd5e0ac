"""Our programs as processes that need not load their modules: forked from one process of the tests that has them.

A hundred tests look at what a program prints, stores and exits with; loading takes it longer than all the rest.
Arguments, environment, outputs, signals and exit code are as `python -m PROGRAM` has them; how programs load is tested
with real ones.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

CAN_FORK = sys.platform == "linux"
"""Elsewhere a fork of what has loaded the system's libraries may die."""


class Program:
    """A program that was started; the part of `subprocess.Popen` that tests need."""

    def __init__(self, arguments: Sequence[str], pid: int, told: int, stdout: IO[str] | None, stderr: IO[str] | None):
        self.args, self.pid, self.stdout, self.stderr = arguments, pid, stdout, stderr
        self.returncode: int | None = None
        self._told = told

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code, which is the negative number of a signal that killed it.

        Raises `subprocess.TimeoutExpired` where it has not ended within so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
            self.returncode = _number(self._told)
            os.close(self._told)
        return self.returncode

    def communicate(self) -> tuple[str | None, str | None]:
        """Read what is piped, which has to be little where there are two pipes, and wait for its end."""
        stdout, stderr = (
            None if output is None or output.closed else output.read() for output in (self.stdout, self.stderr)
        )
        self.wait()
        for output in (self.stdout, self.stderr):
            if output:
                output.close()
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.send_signal(signal.SIGKILL)


def run(*arguments: object, environ: Mapping[str, str], strict: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run `python -m` with these arguments to its end; `strict` makes its warnings errors."""
    texts = [str(argument) for argument in arguments]
    if not CAN_FORK:
        command = [sys.executable, *(("-W", "error") if strict else ()), "-m", *texts]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        pid, told = _forked(texts, environ, stdout.fileno(), stderr.fileno(), strict=strict)
        code = Program(texts, pid, told, None, None).wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(texts, code, stdout.read(), stderr.read())


def start(
    *arguments: object,
    environ: Mapping[str, str],
    piped: str = "both",
    other: IO[bytes] | None = None,
    strict: bool = False,
) -> "Program | subprocess.Popen[str]":
    """Start `python -m` with these arguments; `strict` makes its warnings errors.

    A pipe is `stdout` alone or `stderr` alone, or `both` are one, named `stdout`, or two, `apart`. What is no pipe goes
    to the `other` file, else nowhere.
    """
    texts = [str(argument) for argument in arguments]
    names = {"both": ("stdout",), "apart": ("stdout", "stderr")}.get(piped, (piped,))
    if not CAN_FORK:
        outputs = dict.fromkeys(("stdout", "stderr"), other or subprocess.DEVNULL) | dict.fromkeys(
            names, subprocess.PIPE
        )
        outputs |= {"stderr": subprocess.STDOUT} if piped == "both" else {}
        command = [sys.executable, *(("-W", "error") if strict else ()), "-m", *texts]
        return subprocess.Popen(command, env=environ, text=True, **outputs)
    nowhere = os.dup(other.fileno()) if other else os.open(os.devnull, os.O_WRONLY)
    pipes = {name: os.pipe() for name in names}
    ends = {name: writing for name, (_, writing) in pipes.items()}
    try:
        stdout = ends.get("stdout", nowhere)
        stderr = ends.get("stderr", stdout if piped == "both" else nowhere)
        pid, told = _forked(texts, environ, stdout, stderr, strict=strict)
    finally:
        for end in (nowhere, *ends.values()):
            os.close(end)
    files = {name: os.fdopen(reading) for name, (reading, _) in pipes.items()}
    return Program(texts, pid, told, files.get("stdout"), files.get("stderr"))


def _forked(arguments: list[str], environ: Mapping[str, str], *outputs: int, strict: bool = False) -> tuple[int, int]:
    """Return the process id and the pipe on which its exit code will come."""
    told, tell = os.pipe()
    request = {"arguments": arguments, "environ": dict(environ), "folder": str(Path.cwd()), "strict": strict}
    try:
        socket.send_fds(_server(), [json.dumps(request).encode()], [*outputs, tell])
    finally:
        os.close(tell)
    return _number(told), told


def _number(pipe: int) -> int:
    text = b""
    while not text.endswith(b"\n"):
        read = os.read(pipe, 1)
        if not read:
            raise RuntimeError("what forks programs has failed; its stderr tells why")
        text += read
    return int(text)


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def serve(requests: socket.socket) -> None:
    """Fork a program for each request until nobody can ask any more; return in the program as well."""
    while True:
        message, files, *_ = socket.recv_fds(requests, 1 << 20, 3)
        with suppress(ChildProcessError):  # none is left; the time of processors of those that have ended is ours
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not message:
            return
        request = json.loads(message)
        _load(request["arguments"][0])
        if os.fork() == 0:
            requests.close()
            _watched(request, files)
            return
        for file in files:
            os.close(file)


def _load(program: str) -> None:
    import_module("fairprice.runtime.lifecycle")
    with suppress(ModuleNotFoundError):  # one of a test's own
        import_module(f"{program}.program")
    gc.collect()
    gc.freeze()


def _watched(request: dict, files: list[int]) -> None:
    """Fork the program, tell its process id and later its exit code; return in the program."""
    *outputs, tell = files
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        _become(request, outputs)
        return
    for output in outputs:
        os.close(output)
    os.write(tell, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(tell, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict, outputs: list[int]) -> None:
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[0] = request["folder"]
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    if request["strict"]:
        warnings.simplefilter("error")
    program, *sys.argv[1:] = request["arguments"]
    gc.enable()
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    gc.disable()
    serve(socket.socket(fileno=int(sys.argv[1])))
