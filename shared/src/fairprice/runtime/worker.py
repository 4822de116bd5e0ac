"""A thread for what would keep the event loop waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """Does one thing after the other in a thread of its own.

    Unlike a `ThreadPoolExecutor` it never keeps the process from ending: a disk that does not answer (a frozen or
    remote file system) holds the thread for as long as it likes.
    """

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        Thread(target=self._work, name=name, daemon=True).start()

    async def do(self, task: Callable[[], Result]) -> Result:
        """Return what the task returns, or raise what it raises; cancelled, one that has not begun is never done."""
        future: Future[Result] = Future()
        self._tasks.put((future, task))
        return await asyncio.wrap_future(future)

    def end(self) -> None:
        """End the thread when all that it was given is done."""
        self._tasks.put(None)

    def _work(self) -> None:
        while entry := self._tasks.get():
            future, task = entry
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:  # noqa: BLE001  whoever waits gets it
                    future.set_exception(error)
