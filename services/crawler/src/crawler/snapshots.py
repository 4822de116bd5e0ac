"""Fetches the snapshots that synchronisations ask for: a few at a time, under the governor, until they are there."""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from crawler.book.depth_sync import SnapshotRequest
from crawler.book.market_data import Snapshot
from crawler.venues.binance.rest import RestClient
from fairprice.errors import InvalidMarketData, TransientError

WORKERS = 4

log = structlog.get_logger(__name__)


class SnapshotQueue:
    """Requests in order; `receive` is called with each answer. `back_off` makes a fresh series of delays."""

    def __init__(
        self,
        rest: RestClient,
        levels: int,
        receive: Callable[[str, Snapshot], None],
        back_off: Callable[[], Iterator[float]],
    ) -> None:
        self._rest = rest
        self._levels = levels
        self._receive = receive
        self._back_off = back_off
        self._requests: asyncio.Queue[SnapshotRequest] = asyncio.Queue()
        self.fetched = 0
        self.failed = 0

    def ask(self, request: SnapshotRequest) -> None:
        """Queue a request; each symbol has at most one at a time, so the queue is bounded by their number."""
        self._requests.put_nowait(request)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(self._work())

    async def answered(self) -> None:
        """Wait until every request so far has been answered."""
        await self._requests.join()

    async def _work(self) -> None:
        while True:
            request = await self._requests.get()
            self._receive(request.symbol, await self._fetch(request))
            self._requests.task_done()

    async def _fetch(self, request: SnapshotRequest) -> Snapshot:
        delays = self._back_off()
        for _ in range(request.attempt):
            delay = next(delays)
        if request.attempt:
            await asyncio.sleep(delay)
        for failures, delay in enumerate(delays):
            try:
                snapshot = await self._rest.depth(request.symbol, self._levels)
            except (TransientError, InvalidMarketData) as error:
                self.failed += 1
                if failures == 0:
                    log.warning("no snapshot, asking again until there is one", symbol=request.symbol, error=str(error))
                await asyncio.sleep(delay)
            else:
                break
        self.fetched += 1
        return snapshot
