"""Keeps the connections of all groups: opens them, replaces them when they are due, opens them again when lost.

They are made due at different ages, and a new one is complete before the one that it replaces is closed.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import structlog

from crawler.allowance import Allowance
from crawler.group import Group, Groups
from crawler.link import Link, OpenWebsocket, Owner
from crawler.proxy import Proxy
from crawler.stalls import LAG
from crawler.venues.port import Venue
from fairprice.errors import ExchangeUnavailable
from fairprice.runtime.clock import Clock, timeout

AGE_PART = 0.95
"""Part of the age at which the exchange cuts a connection when it is made due."""
STEADY = 10.0
"""Seconds after which a connection has proved itself: the next failure is the first of another outage."""
LONGEST_PATIENCE = 600.0

log = structlog.get_logger(__name__)


class Keeper:
    """The connections to one address, which belong to `owner`: `connections` of them for each group.

    One may be `patience` seconds behind another. While `is_paused` a new one does not read. With `reconnect=False` none
    is opened again. Times are in seconds.
    """

    def __init__(
        self,
        groups: Groups,
        owner: Owner,
        venue: Venue,
        address: str,
        proxy: Proxy | None,
        *,
        clock: Clock,
        back_off: Callable[[], Iterator[float]],
        connections: int,
        patience: float,
        address_share: float,
        reconnect: bool,
        open_timeout: float,
        reply_timeout: float,
        overlap: float,
        open_websocket: OpenWebsocket,
        is_paused: Callable[[], bool],
    ) -> None:
        self.reconnects = 0
        self._groups = groups
        self._owner = owner
        self._venue = venue
        self._address = address
        self._proxy = proxy
        self._clock = clock
        self._back_off = back_off
        self._connections = min(connections, venue.limits.connections)
        self._patience = patience
        self._attempts = Allowance(venue.limits.attempts, share=address_share)
        self._reconnect = reconnect
        self._open_timeout = open_timeout
        self._reply_timeout = reply_timeout
        self._overlap = overlap
        self._open_websocket = open_websocket
        self._is_paused = is_paused
        self._places: dict[Group, list[asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keep the connections until the exchange has closed them all; until cancelled where they are opened again."""
        async with asyncio.TaskGroup() as self._tasks:
            for number, group in enumerate(self._groups):
                self.keep(group, number / len(self._groups))
            while places := [place for kept in self._places.values() for place in kept if not place.done()]:
                await asyncio.wait(places)
            if self._reconnect:
                await asyncio.Event().wait()

    def keep(self, group: Group, phase: float = 0.0) -> None:
        """Keep the connections of a group, which grow old one after the other; `phase` tells groups apart."""
        age = self._venue.max_age * AGE_PART
        ages = (age * (number + 1 - phase) / self._connections for number in range(self._connections))
        self._places[group] = [self._tasks.create_task(self._keep(group, first, age)) for first in ages]

    def add(self, group: Group, symbols: tuple[str, ...]) -> None:
        """Let the connections of a group carry more symbols."""
        for link in group.links:
            self._tasks.create_task(link.add(symbols))

    def end(self, group: Group) -> None:
        """End the connections of a group and open no more."""
        for place in self._places.pop(group):
            place.cancel()
        for link in list(group.links):
            link.end("its symbols are not followed any more")

    async def _keep(self, group: Group, first_age: float, age: float) -> None:
        """Keep one place of a group: open a connection, replace it when it is due, open it again when it is lost."""
        waits, patience, max_age = self._back_off(), self._patience, first_age
        before: Link | None = None
        while True:
            link = await self._open(group, waits, patience, max_age)
            if before:
                self._tasks.create_task(self._retire(before))
            before, max_age = None, age
            await self._until_due_or_over(link)
            lived = self._clock.monotonic() - link.since
            waits = self._back_off() if lived >= STEADY else waits
            patience = _next_patience(link, lived, self._patience)
            if not link.over.is_set():
                before = self._replaced(link)
            elif self._reconnect:
                log.warning("stream lost, reconnecting", reason=link.end_reason, open=self._groups.open)
                self.reconnects += 1
            else:
                log.info("stream ended", reason=link.end_reason)
                return
            if before is None or lived < STEADY:
                await self._clock.sleep(next(waits))

    async def _open(self, group: Group, waits: Iterator[float], patience: float, max_age: float) -> Link:
        """Return a connection that has all that it asked for, however long it takes."""
        while True:
            while delay := self._attempts.delay(1, self._clock.monotonic()):
                await self._clock.sleep(delay)
            link = await self._try(group, patience, max_age)
            if link.is_complete:
                group.is_down = False
                return link
            self._note_refusal(group, link.end_reason)
            await self._clock.sleep(next(waits))

    async def _try(self, group: Group, patience: float, max_age: float) -> Link:
        link = Link(
            self._owner, self._venue, self._clock, group.symbols, patience=patience, reply_timeout=self._reply_timeout
        )
        group.links.append(link)
        if self._is_paused():
            link.pause()
        try:
            await link.open(self._open_websocket, self._address, self._proxy, self._open_timeout)
        except ExchangeUnavailable as error:
            link.receive_end(str(error))
        else:
            self._tasks.create_task(link.live(max_age))
            await link.settled.wait()
        return link

    def _replaced(self, link: Link) -> Link | None:
        """Return the link to retire when its successor stands; end it now where two could not be merged."""
        if self._venue.limits.connections > 1:
            return link
        link.end(link.due_reason)
        return None

    async def _retire(self, link: Link) -> None:
        with suppress(TimeoutError):
            async with timeout(self._clock, self._overlap):
                await link.over.wait()
        if not link.over.is_set():
            log.info("stream replaced", reason=link.due_reason, open=self._groups.open - 1)
            link.end(link.due_reason)

    async def _until_due_or_over(self, link: Link) -> None:
        events = [link.over, link.due] if self._reconnect else [link.over]
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _note_refusal(self, group: Group, reason: str) -> None:
        self.reconnects += 1
        if not group.is_down:
            log.warning("no stream, trying until there is one", reason=reason, open=self._groups.open)
        group.is_down = True


def _next_patience(link: Link, lived: float, usual: float) -> float:
    """Return how far behind the next connection in its place may be: a symbol may come late on each of them."""
    if link.due_reason != LAG or lived >= LONGEST_PATIENCE:
        return usual
    return min(LONGEST_PATIENCE, 2 * link.patience)
