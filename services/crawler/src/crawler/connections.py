"""Keeps stream connections alive: opens, replaces before they are cut, reconnects, notices silence.

Several connections carry the same streams. Their diffs are merged by update id, so losing one loses nothing; they
are made due at different ages.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
import structlog

from crawler.book.market_data import Diff
from crawler.silence import SilenceWatch
from crawler.venues.binance.governor import Governor
from crawler.venues.binance.stream import Connection, connect, stream_names
from crawler.venues.binance.wire import Frame, Reply, Shutdown
from fairprice.broker.outbox import Outbox
from fairprice.errors import ExchangeUnavailable

MAX_AGE = 23 * 3600.0
"""Seconds after which a connection is replaced; the exchange cuts it at 24 hours."""
OVERLAP = 10.0
"""Seconds that a connection goes on beside its successor."""
FIRST_FRAME_TIMEOUT = 10.0
"""Seconds within which anything at all has to come after a subscription."""
WATCH_INTERVAL = 0.5
ATTEMPTS_PER_MINUTE = 60
"""The exchange bans an address that opens more than 300 connections in five minutes."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Life:
    """What is known of one open connection; times are monotonic seconds."""

    connection: Connection
    watch: SilenceWatch
    opened: float
    due: float
    successor: bool = False
    heard: bool = False
    end: str = ""
    background: set[asyncio.Task[None]] = field(default_factory=set)


class Connections:
    """All connections of a crawler.

    `handle` takes each frame and returns what it says, None for nothing of interest here. Reading stops while `outbox`,
    where all that follows from the frames ends up, is full. `lost` is told why when the last connection is gone.
    """

    def __init__(
        self,
        url: str,
        symbols: tuple[str, ...],
        *,
        count: int,
        silence_timeout: float,
        handle: Callable[[bytes], Frame | None],
        outbox: Outbox,
        lost: Callable[[str], None],
        back_off: Callable[[], Iterator[float]],
        monotonic: Callable[[], float],
        reconnect: bool,
    ) -> None:
        self._url = url
        self._names = stream_names(symbols)
        self._count = count
        self._silence_timeout = silence_timeout
        self._handle = handle
        self._outbox = outbox
        self._lost = lost
        self._back_off = back_off
        self._monotonic = monotonic
        self._reconnect = reconnect
        self._attempts = Governor(ATTEMPTS_PER_MINUTE)
        self.open = 0
        self.reconnects = 0

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Keep the connections until cancelled, or until the exchange has closed them all if not to reconnect."""
        async with asyncio.TaskGroup() as keepers:
            for number in range(1, self._count + 1):
                keepers.create_task(self._keep(session, keepers, MAX_AGE * number / self._count))

    async def _keep(self, session: aiohttp.ClientSession, keepers: asyncio.TaskGroup, max_age: float) -> None:
        waits = self._back_off()
        failures = 0
        while True:
            while delay := self._attempts.delay(1, self._monotonic()):  # noqa: ASYNC110  no event marks the minute
                await asyncio.sleep(delay)
            try:
                async with connect(session, self._url) as connection:
                    log.info("stream connected", url=self._url, failures=failures)
                    now = self._monotonic()
                    life = _Life(connection, SilenceWatch(self._silence_timeout), now, now + max_age)
                    await self._live(life, lambda: keepers.create_task(self._keep(session, keepers, MAX_AGE)))
                if life.successor or not self._reconnect:
                    log.info("stream ended", reason=life.end or connection.ending)
                    return
                failures, waits = (0, self._back_off()) if life.heard else (failures + 1, waits)
                log.warning("stream lost, reconnecting", reason=life.end or connection.ending, open=self.open)
            except ExchangeUnavailable as error:
                if failures == 0:
                    log.warning("no stream, trying until there is one", error=str(error))
                failures += 1
            self.reconnects += 1
            await asyncio.sleep(next(waits))

    async def _live(self, life: _Life, successor: Callable[[], object]) -> None:
        self.open += 1
        guard = asyncio.create_task(self._guard(life, successor))
        try:
            await life.connection.subscribe(self._names)
            async for frame in life.connection.frames():
                event = self._handle(frame)
                life.heard = life.heard or not (type(event) is Reply and event.error)
                if event:
                    self._note(life, event)
                    if self._outbox.is_full:
                        life.watch = SilenceWatch(self._silence_timeout)  # who does not read hears nothing
                        await self._outbox.room()
        finally:
            guard.cancel()
            self.open -= 1
            if not self.open:
                self._lost(life.end or "disconnect")

    def _note(self, life: _Life, frame: Frame) -> None:
        if type(frame) is Diff:
            life.watch.heard(frame.symbol, self._monotonic())
        elif type(frame) is Shutdown:
            log.info("the exchange announced the end of a connection, opening its successor")
            life.due = self._monotonic() if not life.successor else life.due
        elif type(frame) is Reply and frame.error:
            log.error("the exchange refused a request on the stream", request=frame.id, error=frame.error)

    async def _guard(self, life: _Life, successor: Callable[[], object]) -> None:
        """Open a successor when the connection is old or silent, and close it some time later.

        A silence may be a pause of the market, so it must not cost the other symbols anything.
        """
        while not life.end:
            await asyncio.sleep(WATCH_INTERVAL)
            now = self._monotonic()
            if now >= life.due and not life.successor:
                life.successor = True
                life.due = now + OVERLAP
                successor()
            elif now >= life.due:
                life.end = "replaced" if self.open > 1 else ""
            elif not life.heard and now - life.opened > FIRST_FRAME_TIMEOUT:
                life.end = "no answer"
            elif not life.successor and (silent := life.watch.silent(now)):
                log.warning("stream is silent, opening its successor", symbols=silent[:10])
                self._lost("silence")
                life.due = now
        await life.connection.close()
