"""Fetches the snapshots that synchronisations ask for: a few at a time, the hopeless behind the others."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from operator import attrgetter
from random import Random
from types import MappingProxyType
from typing import NamedTuple

import structlog

from crawler.book.market_data import Snapshot
from crawler.book.steps import SnapshotRequest
from crawler.venues.port import Rest
from fairprice.errors import InvalidMarketData, NoSnapshotLeft, TransientError
from fairprice.runtime.clock import Clock

SHALLOW_LEVELS = 100
"""Levels a side of a shallow snapshot: as many as the lowest weight buys."""

OLDEST_TURN = 4
"""One of so many requests is the one that has been due for longest, however often it was repeated."""

SHOWN_FAILURES = 5
"""Symbols whose failure has a log line of its own; more fail for one reason."""

log = structlog.get_logger(__name__)


class NoneLeft(NamedTuple):
    """There will be no further snapshot of this symbol."""

    symbol: str


class _Entry(NamedTuple):
    """A request that waits until `due`, monotonic seconds; see `SnapshotQueue` for who goes first."""

    attempts: int
    background: bool
    rank: int
    due: float
    number: int
    request: SnapshotRequest


class SnapshotQueue:
    """Requests by the time when they are due; `sink` takes each answer.

    A shallow request goes before every other one, since a book waits for it. Of new ones those go first that a book
    waits for, then those that `rank` names first: the most traded. Each symbol has one request at a time: a second one
    takes the place of the first.

    A request that is repeated lets new ones go first, three times of four: were what is due served by its time,
    hundreds of symbols that fail would use up all that the address may ask; had it no turn of its own, hundreds of
    books that move fast, each refreshed again and again, would keep a lost one from coming back. Each symbol has a
    back-off of its own, from `first_delay` to `longest_delay` seconds with jitter, that grows with whatever went wrong:
    requests that failed as well as snapshots that led to no sound book.
    """

    def __init__(
        self,
        rest: Rest,
        levels: int,
        sink: Callable[[Snapshot | NoneLeft], None],
        *,
        clock: Clock,
        random: Random,
        at_once: int = 4,
        first_delay: float = 0.5,
        longest_delay: float = 60.0,
        rank: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.fetched = 0
        self.failed = 0
        self._rest = rest
        self._levels = levels
        self._sink = sink
        self._clock = clock
        self._random = random
        self._slots = asyncio.Semaphore(at_once)
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._rank = rank
        self._numbers = count()
        self._entries: list[_Entry] = []
        self._changed = asyncio.Event()
        self._turn = 0
        self._under_way: dict[str, SnapshotRequest] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._failing: set[str] = set()

    def ask(self, request: SnapshotRequest) -> None:
        """Queue a request; the queue is bounded by the number of symbols."""
        self._idle.clear()
        if request.symbol in self._under_way:
            self._under_way[request.symbol] = request  # the answer is on its way; if it fails, this one is repeated
        else:
            self._entries = [entry for entry in self._entries if entry.request.symbol != request.symbol]
            self._push(request, request.attempt)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as fetches:
            while True:
                await self._slots.acquire()
                fetches.create_task(self._fetch(await self._next()))

    async def idle(self) -> None:
        """Wait until every request so far has been answered."""
        await self._idle.wait()

    def _push(self, request: SnapshotRequest, attempts: int) -> None:
        due = self._clock.monotonic() + self._delay(attempts)
        rank = self._rank.get(request.symbol, len(self._rank))
        self._entries.append(_Entry(attempts, request.background, rank, due, next(self._numbers), request))
        self._changed.set()

    def _delay(self, attempts: int) -> float:
        if not attempts:
            return 0.0
        ceiling = min(self._longest_delay, self._first_delay * 2.0 ** min(attempts - 1, 30))
        return self._random.uniform(ceiling / 2, ceiling)

    async def _next(self) -> _Entry:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            ready = [entry for entry in self._entries if entry.due <= now]
            if ready := [entry for entry in ready if entry.request.shallow] or ready:
                self._turn = (self._turn + 1) % OLDEST_TURN
                entry = min(ready) if self._turn else min(ready, key=attrgetter("due", "number"))
                self._entries.remove(entry)
                self._under_way[entry.request.symbol] = entry.request
                return entry
            if self._entries:
                await self._until_changed(min(entry.due for entry in self._entries) - now)
            else:
                await self._changed.wait()

    async def _until_changed(self, seconds: float) -> None:
        """Wait so long, or until a request has come."""
        tasks = [asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(self._changed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _fetch(self, entry: _Entry) -> None:
        symbol = entry.request.symbol
        try:
            levels = min(self._levels, SHALLOW_LEVELS) if entry.request.shallow else self._levels
            answer: Snapshot | NoneLeft = await self._rest.snapshot(symbol, levels)
        except NoSnapshotLeft:
            answer = NoneLeft(symbol)
        except (TransientError, InvalidMarketData) as error:
            self._note_failure(symbol, error)
            self._push(self._under_way.pop(symbol), entry.attempts + 1)
            return
        finally:
            self._slots.release()
        self.fetched += type(answer) is Snapshot
        self._failing.discard(symbol)
        del self._under_way[symbol]
        self._sink(answer)  # may ask again
        if not (self._under_way or self._entries):
            self._idle.set()

    def _note_failure(self, symbol: str, error: Exception) -> None:
        self.failed += 1
        if symbol not in self._failing and len(self._failing) < SHOWN_FAILURES:
            log.warning("no snapshot, asking again with growing pauses", symbol=symbol, error=str(error))
        self._failing.add(symbol)
