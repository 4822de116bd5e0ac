"""How a process starts, stops and ends.

SIGINT or SIGTERM asks for a drain; a second one ends at once. Two within `ONE_STOP` are one: process managers and
terminals send them to a process and to its group. Whatever hangs, a thread in a frozen disk for instance, the process
ends some seconds after the drain should have.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from threading import Timer
from typing import Any, TypeVar

import structlog
import uvloop

from fairprice import __version__
from fairprice.errors import FatalError
from fairprice.runtime import logging, version
from fairprice.runtime.printing import NobodyReads
from fairprice.runtime.settings import ServiceSettings, remarks

EXIT_OK = 0
EXIT_INCOMPLETE = 1
EXIT_FATAL = 2

DRAIN_TIMEOUT = 10.0
"""Seconds after a stop signal for what was begun; wait longer before killing a service."""

HARD_STOP = 2.0
"""Seconds more for what was cancelled; then the process ends, whatever it does."""

ONE_STOP = 0.5

Main = Callable[[asyncio.Event], Coroutine[None, None, int]]
"""A service's life: drains and returns an exit code soon after the event is set."""

Settings = TypeVar("Settings", bound=ServiceSettings)

log = structlog.get_logger(__name__)


def start(settings: type[Settings], environ: Mapping[str, str], service: str, *, quiet: bool = False) -> Settings:
    """Load a service's settings and set up its log; that begins with the version and what was read in a way of its own.

    `quiet`, for commands that print what they found, logs errors only. Raises `SettingsError`.
    """
    loaded = settings.load(environ)
    begin_log("error" if quiet else loaded.log_level, loaded.log_format, service, environ)
    return loaded


def begin_log(level: logging.Level, log_format: logging.Format, service: str, environ: Mapping[str, str]) -> None:
    """Set up the log; its first line says which version starts."""
    logging.configure(level, log_format, service)
    log.info("starting", version=__version__, python=version.PYTHON)
    for remark in remarks(environ):
        log.info(remark)


def run(main: Main, *, unfinished: str = "what was not confirmed comes again") -> int:
    """Run a service to its end and return the exit code; a `FatalError` becomes one line on standard error.

    Where nobody reads what is printed any more, it ends in silence, as what could not be done.
    `unfinished` says, for a stop at once, what becomes of what was not done.
    """
    exit_code = EXIT_FATAL
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            exit_code = runner.run(_with_signals(main, unfinished))
    except* FatalError as errors:
        for text in dict.fromkeys(str(error) for error in _leaves(errors)):
            sys.stderr.write(f"error: {text}\n")
    except* NobodyReads:
        pass
    except* asyncio.CancelledError:
        sys.stderr.write(f"stopped at once by a second signal; {unfinished}\n")
    return exit_code


async def drain(
    work: Coroutine[Any, Any, None],
    stop: asyncio.Event,
    seconds: float = DRAIN_TIMEOUT,
    *,
    hard_stop: float = HARD_STOP,
) -> bool:
    """Await the work, which ends by `stop`, and cancel it if it has not ended so many seconds after that.

    What was cancelled is waited for, at most `hard_stop` seconds.

    Returns whether it has done all that it wanted, so that the caller can say what was not done.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({working}, timeout=seconds)
        if working.done():
            working.result()
            return True
        log.warning("not everything was done in time", seconds=seconds)
        return False
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping}, timeout=hard_stop)


async def _with_signals(main: Main, unfinished: str) -> int:
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    stops = _Stops(lambda: this.cancel() if this else None, loop.time, unfinished)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stops.signal)
    return await main(stops.asked)


class _Stops:
    """What the signals to this process mean: the first asks for a drain, the next one cancels, unless an echo."""

    def __init__(self, cancel: Callable[[], object], monotonic: Callable[[], float], unfinished: str) -> None:
        self.asked = asyncio.Event()
        self._cancel = cancel
        self._monotonic = monotonic
        self._unfinished = unfinished
        self._first = 0.0

    def signal(self) -> None:
        """Take a signal."""
        if not self.asked.is_set():
            self._first = self._monotonic()
            self.asked.set()
            self._end_by_force(DRAIN_TIMEOUT + 2 * HARD_STOP)
        elif self._monotonic() - self._first > ONE_STOP:
            self._cancel()
            self._end_by_force(HARD_STOP)

    def _end_by_force(self, seconds: float) -> None:
        """End the process if it has not ended by itself so many seconds later."""
        timer = Timer(seconds, self._exit)
        timer.daemon = True
        timer.start()

    def _exit(self) -> None:
        sys.stderr.write(f"ended by force, since something hangs; {self._unfinished}\n")
        sys.stderr.flush()
        os._exit(EXIT_INCOMPLETE)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
