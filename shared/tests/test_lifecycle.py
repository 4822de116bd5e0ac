"""How a process ends, seen from outside: each test runs a small service as a child process."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest

SERVICE = """
import asyncio, sys
from fairprice.errors import FatalError, SettingsError, StartupError
from fairprice.runtime.lifecycle import run

async def main(stop):
{body}

sys.exit(run(main))
"""

DRAINS = """
    print("ready", flush=True)
    await stop.wait()
    print("draining", flush=True)
    await asyncio.sleep(0.05)
    print("drained", flush=True)
    return 0
"""

DRAINS_FOR_EVER = """
    print("ready", flush=True)
    await stop.wait()
    print("draining", flush=True)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(60))
    finally:
        print("cancelled", flush=True)
    return 0
"""


@contextmanager
def service(body):
    code = SERVICE.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def finish(child):
    out, err = child.communicate(timeout=10)
    return child.returncode, out.split(), err


def run(body):
    with service(body) as child:
        return finish(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_drain_and_the_exit_code_is_the_services(number):
    with service(DRAINS) as child:
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, number)
        assert finish(child) == (0, ["draining", "drained"], "")


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)],
    ids=["SIGTERM twice", "SIGINT twice", "one of each"],
)
def test_a_second_signal_ends_at_once(numbers):
    with service(DRAINS_FOR_EVER) as child:
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, numbers[0])
        assert child.stdout.readline() == "draining\n"
        os.kill(child.pid, numbers[1])
        code, out, err = finish(child)
        assert (code, out) == (2, ["cancelled"])
        assert err == "stopped at once by a second signal; what was not confirmed comes again\n"


@pytest.mark.parametrize("code", [0, 1, 7])
def test_a_service_that_ends_by_itself_gives_its_exit_code(code):
    assert run(f"return {code}") == (code, [], "")


def test_a_fatal_error_is_one_line_and_exit_code_2():
    code, out, err = run("raise SettingsError('FAIRPRICE_X is no setting')")
    assert (code, out, err) == (2, [], "error: FAIRPRICE_X is no setting\n")


def test_a_fatal_error_out_of_nested_task_groups_is_one_line_too():
    code, _, err = run("""
        async def fail():
            async with asyncio.TaskGroup() as inner:
                inner.create_task(asyncio.sleep(60))
                inner.create_task(refuse())
        async def refuse():
            raise StartupError("port 1 is taken")
        async with asyncio.TaskGroup() as outer:
            outer.create_task(asyncio.sleep(60))
            outer.create_task(fail())
    """)
    assert (code, err) == (2, "error: port 1 is taken\n")


def test_several_fatal_errors_are_a_line_each():
    code, _, err = run("""
        raise ExceptionGroup("both", [FatalError("one"), ExceptionGroup("more", [FatalError("two")])])
    """)
    assert (code, err) == (2, "error: one\nerror: two\n")


def test_a_bug_shows_its_traceback():
    code, _, err = run("raise ZeroDivisionError('a bug')")
    assert code == 1
    assert "Traceback" in err
    assert "ZeroDivisionError: a bug" in err


def test_a_bug_beside_a_fatal_error_is_not_hidden_by_it():
    code, _, err = run("raise ExceptionGroup('both', [FatalError('one'), ZeroDivisionError('a bug')])")
    assert code == 1
    assert "error: one\n" in err
    assert "ZeroDivisionError: a bug" in err


def test_a_fatal_error_while_draining_is_told():
    with service(DRAINS.replace("return 0", "raise FatalError('the disk is full')")) as child:
        child.stdout.readline()
        os.kill(child.pid, signal.SIGTERM)
        code, _, err = finish(child)
        assert (code, err) == (2, "error: the disk is full\n")
