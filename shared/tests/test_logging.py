"""Logs on standard error, seen from outside: lines of JSON for machines, text for a person at a terminal."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import preloaded
import pytest

pytestmark = pytest.mark.slow

SPEAKS = """
import asyncio, logging, structlog
from fairprice.runtime.logging import configure

configure({level!r}, {format!r}, "crawler")
log = structlog.get_logger("test")
{body}
"""

SAYS_EVERYTHING = """
log.debug("fine"); log.info("good"); log.warning("odd"); log.error("bad")
"""

FAILS = """
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a bug", symbol="BTCUSDT")
"""

SPEAKS_IN_A_TASK = """
async def main():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(log.info, "from a thread"))

asyncio.run(main())
"""

LIBRARY_FAILS = """
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("aiohttp.server").exception("Error handling %s", "request")
"""


def program(body, level="info", log_format="auto"):
    return SPEAKS.format(body=body, level=level, format=log_format)


def said(body, **options):
    with TemporaryDirectory() as folder:
        Path(folder, "own_program.py").write_text(program(body, **options))
        done = preloaded.run("own_program", environ=os.environ | {"PYTHONPATH": folder}, strict=True)
    assert (done.stdout, done.returncode) == ("", 0)
    return done.stderr


def lines(body, **options):
    return [json.loads(line) for line in said(body, **options).splitlines()]


def said_to_terminal(body, **options):
    primary, secondary = pty.openpty()
    try:
        command = [sys.executable, "-W", "error", "-c", program(body, **options)]
        subprocess.run(command, stderr=secondary, check=True)
        return os.read(primary, 100_000).decode()
    finally:
        os.close(primary)
        os.close(secondary)


def test_what_is_no_terminal_gets_a_json_object_a_line():
    (line,) = lines("log.info('gap recorded', symbol='BTCUSDT', update_ids=4, price=None)")
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - written).total_seconds() < 30
    assert line == {
        "event": "gap recorded",
        "level": "info",
        "service": "crawler",
        "symbol": "BTCUSDT",
        "update_ids": 4,
        "price": None,
    }


def test_an_exception_stays_inside_its_line():
    (line,) = lines(FAILS)
    assert (line["event"], line["level"], line["symbol"]) == ("a bug", "error", "BTCUSDT")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_text_with_line_ends_and_values_that_json_does_not_know_stay_in_one_line():
    (line,) = lines(r"log.info('two\nlines', body=b'\xff', kind=ValueError('x'), path={'a'})")
    assert line["event"] == "two\nlines"
    assert "xff" in line["body"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["fine", "good", "odd", "bad"]),
        ("warning", ["odd", "bad"]),
    ],
)
def test_the_level_bounds_what_is_logged(level, expected):
    assert [line["event"] for line in lines(SAYS_EVERYTHING, level=level)] == expected


def test_tasks_and_threads_tell_their_service_too():
    (line,) = lines(SPEAKS_IN_A_TASK)
    assert (line["event"], line["service"]) == ("from a thread", "crawler")


def test_what_a_library_logs_is_a_json_line_too():
    (line,) = lines(LIBRARY_FAILS)
    assert (line["event"], line["level"], line["service"]) == ("Error handling request", "error", "crawler")
    assert "ZeroDivisionError" in line["exception"]


def test_libraries_are_heard_from_warning_on():
    body = "logging.getLogger('aio').info('chatter'); logging.getLogger('aio').warning('blocked')"
    assert [line["event"] for line in lines(body, level="debug")] == ["blocked"]
    assert lines(body, level="error") == []


def test_a_terminal_gets_text():
    text = said_to_terminal(SAYS_EVERYTHING)
    assert "good" in text
    assert "{" not in text


def test_a_terminal_gets_json_when_told_so():
    assert json.loads(said_to_terminal("log.info('good')", log_format="json"))["event"] == "good"


def test_anything_gets_text_when_told_so():
    text = said(FAILS, log_format="console")
    assert "a bug" in text
    assert "ZeroDivisionError" in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.splitlines()[0])


def test_a_line_from_a_bare_thread_names_its_service_too():
    [line] = lines("import threading; threading.Thread(target=log.info, args=('bare',)).start()")
    assert (line["event"], line["service"]) == ("bare", "crawler")
