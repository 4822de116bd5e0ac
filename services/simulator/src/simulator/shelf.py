"""A recording's snapshots of one symbol, given away one by one as depth requests come."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulator.clock import Clock

MOST_READY = 4


class Shelf:
    """Gives each snapshot once: the first at any time, a later one from its place in the recording on.

    Of those that nobody asks for only the newest are kept.
    `first` is None where the recording holds none; `later` is how many follow it.
    """

    def __init__(self, first: bytes | None, later: int) -> None:
        self._ready: deque[bytes] = deque([] if first is None else [first])
        self._later = later
        self._is_first_given = False
        self._asking = 0
        self._giving = 0
        self._event = asyncio.Event()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[bytes | None]:
        """Waits for the place of the next snapshot, and gives it; None where none is left.

        It is used up unless the block is left by an exception: whoever goes away has not had it.
        """
        self._asking += 1
        try:
            while not self._ready and self._later:
                await self._event.wait()
            body = self._ready.popleft() if self._ready else None
            self._giving += 1
            try:
                yield body
                self._is_first_given = True
            except BaseException:
                self.put_back(body)
                raise
            finally:
                self._giving -= 1
        finally:
            self._asking -= 1
            self._notify()

    def put_back(self, body: bytes | None) -> None:
        """A snapshot did not arrive as it is; it will be given again."""
        if body is not None:
            self._ready.appendleft(body)

    async def reach(self, body: bytes) -> None:
        """Playing has come to a later snapshot; returns when the request that waited for it has been answered."""
        self._ready.append(body)
        self._later -= 1
        if len(self._ready) > MOST_READY:
            del self._ready[not self._is_first_given]
        self._notify()
        while self._giving or (self._ready and self._asking):
            await self._event.wait()

    async def asked_for(self, clock: Clock, patience_s: float) -> None:
        """Waits until everything that can be asked for has been, or patience ends: some want no snapshot."""
        waits = [asyncio.create_task(wait) for wait in (self._empty(), clock.sleep(patience_s))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def miss(self) -> None:
        """The recording has a hole here: later snapshots that nobody asked for are too old from now on."""
        while len(self._ready) > (not self._is_first_given):
            self._ready.pop()

    async def _empty(self) -> None:
        while self._giving or self._ready:
            await self._event.wait()

    def _notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()
