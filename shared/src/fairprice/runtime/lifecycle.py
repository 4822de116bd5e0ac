"""How a process starts, stops and ends.

SIGINT or SIGTERM asks for a drain; a second one ends at once.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine

import uvloop

from fairprice.errors import FatalError

EXIT_OK = 0
EXIT_FATAL = 2

Main = Callable[[asyncio.Event], Coroutine[None, None, int]]
"""A service's life: drains and returns an exit code soon after the event is set."""


def run(main: Main) -> int:
    """Run a service to its end and return the exit code; a `FatalError` becomes one line on standard error."""
    exit_code = EXIT_FATAL
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            exit_code = runner.run(_with_signals(main))
    except* FatalError as errors:
        for error in _leaves(errors):
            sys.stderr.write(f"error: {error}\n")
    except* asyncio.CancelledError:
        sys.stderr.write("stopped at once by a second signal; what was not confirmed comes again\n")
    return exit_code


async def _with_signals(main: Main) -> int:
    stop = asyncio.Event()
    this = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and this:
            this.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await main(stop)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
