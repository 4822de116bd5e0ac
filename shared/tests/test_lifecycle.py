"""How a process ends, seen from outside: each test runs a small service as a child process."""

import asyncio
import json
import os
import signal
import textwrap
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import preloaded
import pytest
import structlog
from clocks import settle

from fairprice import __version__
from fairprice.runtime import lifecycle
from fairprice.runtime.lifecycle import drain

pytestmark = pytest.mark.slow

SERVICE = """
import asyncio, sys
from fairprice.errors import FatalError, SettingsError, StartupError
from fairprice.runtime import lifecycle
from fairprice.runtime.lifecycle import run

{preamble}

async def main(stop):
{body}

sys.exit(run(main, {options}))
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
def service(body, options="", *, preamble="lifecycle.DRAIN_TIMEOUT = lifecycle.HARD_STOP = 300"):
    """Run a service; no force ends one that is slow because the machine is, unless the preamble says so."""
    body = textwrap.indent(textwrap.dedent(body), "    ")
    code = SERVICE.format(body=body, options=options, preamble=preamble)
    with TemporaryDirectory() as folder:
        Path(folder, "own_service.py").write_text(code)
        environ = os.environ | {"PYTHONPATH": folder}
        child = preloaded.start("own_service", environ=environ, piped="apart", strict=True)
        try:
            yield child
        finally:
            child.kill()
            child.communicate()


def finish(child):
    out, err = child.communicate()
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
        time.sleep(lifecycle.ONE_STOP + 0.1)
        os.kill(child.pid, numbers[1])
        code, out, err = finish(child)
        assert (code, out) == (2, ["cancelled"])
        assert err == "stopped at once by a second signal; what was not confirmed comes again\n"


def test_two_signals_in_one_instant_are_one():
    with service(DRAINS) as child:
        assert child.stdout.readline() == "ready\n"
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # both wait when it goes on
            os.kill(child.pid, number)
        assert finish(child) == (0, ["draining", "drained"], "")


def test_a_stop_at_once_says_what_becomes_of_what_was_not_done():
    with service(DRAINS_FOR_EVER, 'unfinished="what was not stored is lost"') as child:
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, signal.SIGINT)
        assert child.stdout.readline() == "draining\n"
        time.sleep(lifecycle.ONE_STOP + 0.1)
        os.kill(child.pid, signal.SIGINT)
        assert finish(child)[2] == "stopped at once by a second signal; what was not stored is lost\n"


HANGS = """
    import threading
    print("ready", flush=True)
    await stop.wait()
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    return 0
"""
"""A thread hangs, as one does that writes to a frozen disk."""


def test_a_process_that_hangs_after_its_drain_is_ended_by_force():
    with service(HANGS, preamble="lifecycle.DRAIN_TIMEOUT = lifecycle.HARD_STOP = 0.1") as child:
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, signal.SIGTERM)
        assert finish(child) == (1, [], "ended by force, since something hangs; what was not confirmed comes again\n")


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


def test_one_fatal_error_of_several_tasks_is_told_once():
    code, _, err = run("""
        raise ExceptionGroup("both", [FatalError("refused"), FatalError("refused")])
    """)
    assert (code, err) == (2, "error: refused\n")


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


def test_a_command_whose_reader_goes_ends_in_silence_as_what_could_not_be_done():
    with service(
        """
        from fairprice.runtime.printing import print_line
        for number in range(100_000):
            print_line(f"line {number}")
        return 0
        """
    ) as child:
        assert child.stdout.readline() == "line 0\n"
        child.stdout.close()
        assert child.wait() == 2
        assert child.stderr.read() == ""


# ---- draining


async def test_work_that_is_told_to_stop_may_end_by_itself():
    stop, done = asyncio.Event(), []

    async def work():
        await stop.wait()
        await asyncio.sleep(0)
        done.append("all")

    draining = asyncio.create_task(drain(work(), stop))
    await settle()
    assert not draining.done()
    stop.set()
    assert await draining
    assert done == ["all"]


async def test_work_that_ends_before_any_stop_is_done():
    assert await drain(asyncio.sleep(0), asyncio.Event())


async def test_work_that_does_not_end_in_time_is_cancelled_and_said_to_be_undone():
    stop, cancelled = asyncio.Event(), []

    async def work():
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            cancelled.append("work")

    stop.set()
    with structlog.testing.capture_logs() as logs:
        assert not await drain(work(), stop, 0.02)
    assert cancelled == ["work"]
    assert [(line["event"], line["seconds"]) for line in logs] == [("not everything was done in time", 0.02)]


async def test_work_that_does_not_even_heed_its_cancellation_holds_nobody_up():
    stop, release = asyncio.Event(), asyncio.Event()

    async def stubborn():
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    stop.set()
    assert not await drain(stubborn(), stop, 0.02, hard_stop=0.02)
    release.set()
    await settle()


async def test_an_error_in_the_work_is_raised():
    async def work():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await drain(work(), asyncio.Event())


async def test_cancelling_the_drain_cancels_the_work():
    cancelled = []

    async def work():
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.append("work")

    draining = asyncio.create_task(drain(work(), asyncio.Event()))
    await settle()
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert cancelled == ["work"]


# ---- starting


def test_a_start_says_what_of_the_environment_it_read_in_a_way_of_its_own():
    code, _, err = run("""
        from fairprice.runtime.lifecycle import start
        from fairprice.runtime.settings import ServiceSettings
        environ = {"FAIRPRICE_CRAWLER_PORT": "tcp://10.0.0.1:8001", "FAIRPRICE_SYMBOLS": "btcusdt"}
        start(ServiceSettings, environ, "test")
        return 0
    """)
    lines = [json.loads(line) for line in err.splitlines()]
    assert code == 0
    assert lines[0]["version"] == __version__
    assert [(line["level"], line["service"], line["event"]) for line in lines] == [
        ("info", "test", "starting"),
        ("info", "test", "passed over, since Kubernetes sets them for a Service: FAIRPRICE_CRAWLER_PORT"),
        ("info", "test", "FAIRPRICE_SYMBOLS: btcusdt is read as BTCUSDT"),
    ]
