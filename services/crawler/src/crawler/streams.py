"""The connections to an exchange: opens, subscribes, pings, replaces them, and pushes what they bring into a sink.

Events go one way, out of here. Several connections carry the same streams and are merged by update id, so losing one
loses nothing; they are made due at different ages, and a new one is complete before the one that it replaces is closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

import structlog

from crawler.allowance import Allowance
from crawler.group import Group, room, split
from crawler.intake import Intake
from crawler.link import Link, OpenWebsocket
from crawler.proxy import ProxyFor
from crawler.stalls import LAG, Probe, StallWatch, silence_watch
from crawler.stream_events import Disconnected, StreamEvent
from crawler.tap import Tap
from crawler.venues.port import Venue
from crawler.websocket import open_websocket
from fairprice.errors import ExchangeUnavailable, FatalError
from fairprice.runtime.clock import Clock, timeout

AGE_PART = 0.95
"""Part of the age at which the exchange cuts a connection when it is made due."""
STEADY = 10.0
"""Seconds after which a connection has proved itself: the next failure is the first of another outage."""
LONGEST_PATIENCE = 600.0

log = structlog.get_logger(__name__)


class Pause(Protocol):
    """Says when there is no room for what follows from the events; reading stops so long."""

    @property
    def is_full(self) -> bool:
        """Whether to stop reading."""

    async def room(self) -> None:
        """Return when there is room again."""


class Streams:
    """All connections of a crawler, to one address.

    What they say is pushed into `sink`, and reading stops while `pause` is full. `connections` of them carry the same
    streams. `probe` proves a stall; without one a long silence makes connections due. `tap` is
    shown the connections and their frames. With `reconnect=False` the run
    ends when the exchange has closed all: the end of a recording, in which nobody is judged. `address_share` is the
    part of the address's attempts that may be used; times are in seconds.

    Raises `SettingsError` for a proxy that cannot be used.
    """

    def __init__(
        self,
        venue: Venue,
        url: str,
        symbols: Iterable[str],
        *,
        sink: Callable[[StreamEvent], None],
        pause: Pause,
        clock: Clock,
        back_off: Callable[[], Iterator[float]],
        connections: int = 2,
        silence_timeout: float = 10.0,
        address_share: float = 1.0,
        reconnect: bool = True,
        probe: Probe | None = None,
        tap: Tap | None = None,
        proxy: ProxyFor = lambda _address: None,
        open_timeout: float = 10.0,
        reply_timeout: float = 10.0,
        overlap: float = 10.0,
        probes_at_once: int = 4,
        open_websocket: OpenWebsocket = open_websocket,
    ) -> None:
        self._venue = venue
        self._sink = sink
        self._pause = pause
        self._clock = clock
        self._tap = tap
        self._back_off = back_off
        self._connections = min(connections, venue.limits.connections)
        self._silence_timeout = silence_timeout
        self._reconnect = reconnect
        self._open_timeout = open_timeout
        self._reply_timeout = reply_timeout
        self._overlap = overlap
        self._open_websocket = open_websocket
        self._address = venue.stream_address(url)
        self._proxy = proxy(self._address)
        self._has_probe = probe is not None
        self._groups: list[Group] = []
        self._group_of: dict[str, Group] = {}
        self._keepers: dict[Group, list[asyncio.Task[None]]] = {}
        for part in split(venue, tuple(symbols)):
            self._make_group(part)
        self._intake = Intake(
            venue.decoder(self._group_of), self._group_of, sink=sink, push=self._push, fail=self._fail, clock=clock
        )
        self.receive = self._receive_tapped if tap else self._intake.receive
        """See `Owner.receive`: straight to the intake, unless somebody is shown all frames."""
        self._attempts = Allowance(venue.limits.attempts, share=address_share)
        self._stalls = StallWatch(self._groups, probe, suspect=self._push, clock=clock, probes_at_once=probes_at_once)
        self._is_paused = False
        self.reconnects = 0

    @property
    def open(self) -> int:
        """Connections that have all that they asked for."""
        return sum(len(group.complete) for group in self._groups)

    @property
    def repeats(self) -> int:
        """Events that another connection had brought already."""
        return self._intake.repeats

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Symbols that no connection has all streams of."""
        return tuple(symbol for group in self._groups if not group.complete for symbol in group.symbols)

    async def run(self) -> None:
        """Keep the connections until cancelled, or until the exchange has closed them all if not to reconnect.

        Raises a `FatalError` when the exchange refuses for good, and whatever the sink raises.
        """
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._proxy:
            log.info("the stream goes through a proxy", address=self._address, proxy=str(self._proxy))
        try:
            await self._keep_all()
        except* FatalError as errors:
            fatal = _first(errors)
        else:
            return
        finally:
            await asyncio.gather(*(link.abort() for link in self._links()))
        raise fatal

    def renew(self, reason: str, symbols: Iterable[str] | None = None) -> None:
        """Replace the connections that carry these symbols, all by default, as soon as their successors stand."""
        wanted = self._groups if symbols is None else {self._group_of[symbol] for symbol in symbols}
        for group in wanted:
            self._intake.forget(group.symbols, diffs=False)
            group.renew(reason)

    def follow(self, symbols: Iterable[str]) -> None:
        """Carry these symbols from now on, and no others; what is carried already goes on undisturbed.

        Who is new goes where there is room, on the connections that stand. Who is let go is not asked for any more.
        """
        wanted = dict.fromkeys(symbols)
        added = [symbol for symbol in wanted if symbol not in self._group_of]
        removed = [symbol for symbol in self._group_of if symbol not in wanted]
        self._let_go(removed)
        for group in list(self._groups):
            free = max(0, room(self._venue, added) - len(group.symbols))
            self._extend(group, tuple(added[:free]))
            del added[:free]
        for part in split(self._venue, tuple(added)) if added else ():
            self._keep_group(self._make_group(part))
        self._intake.forget(removed)
        self._intake.use(self._venue.decoder(self._group_of))

    def set_quiet(self, symbols: Iterable[str]) -> None:
        """Take the symbols that do not trade now: nobody misses them."""
        self._stalls.quiet = frozenset(symbols)

    # What a connection brings

    def _receive_tapped(self, link: Link, frame: bytes) -> None:
        self._intake.receive(link, frame)
        if self._tap:
            self._tap.frame(link, frame)

    def receive_complete(self, link: Link) -> None:
        """See `Owner.receive_complete`."""
        group = self._group_with(link)
        if group.complete == [link]:
            group.restart(link.since)
        link.carries = True
        if self._tap:
            self._tap.opened(link)
        log.info("stream opened", address=self._address, symbols=len(link.symbols), open=self.open)

    def receive_end(self, link: Link) -> None:
        """See `Owner.receive_end`."""
        group = self._group_with(link)
        group.links.remove(link)
        if self._tap:
            self._tap.ended(link)
        if link.carries and group.symbols and not any(other.carries for other in group.links):
            group.lose(self._clock.monotonic())
            self._intake.forget(group.symbols)
            try:
                self._push(Disconnected(group.symbols, link.end_reason))
            except Exception as error:  # noqa: BLE001  as above
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _push(self, event: StreamEvent) -> None:
        self._sink(event)
        if self._pause.is_full and not self._is_paused:
            self._is_paused = True
            self._tasks.create_task(self._read_on())
            for link in self._links():
                link.pause()

    async def _read_on(self) -> None:
        await self._pause.room()
        self._is_paused = False
        for group in self._groups:
            group.restart(self._clock.monotonic())  # who does not read hears nothing
        for link in self._links():
            if not self._is_paused:  # the first of them may have filled it again
                link.resume()

    def _links(self) -> list[Link]:
        return [link for group in self._groups for link in group.links]

    def _group_with(self, link: Link) -> Group:
        return next(group for group in self._groups if link in group.links)

    # Who is followed

    def _make_group(self, symbols: tuple[str, ...]) -> Group:
        group = Group(symbols, silence_watch(symbols, self._silence_timeout, has_probe=self._has_probe))
        self._groups.append(group)
        self._group_of |= dict.fromkeys(symbols, group)
        return group

    def _extend(self, group: Group, symbols: tuple[str, ...]) -> None:
        if symbols:
            group.follow((*group.symbols, *symbols), self._clock.monotonic())
            self._group_of |= dict.fromkeys(symbols, group)
            for link in group.links:
                self._tasks.create_task(link.add(symbols))

    def _let_go(self, symbols: Iterable[str]) -> None:
        """Forget symbols; a group that has none left ends."""
        for group in {self._group_of.pop(symbol) for symbol in symbols}:
            group.follow(filter(self._group_of.__contains__, group.symbols), self._clock.monotonic())
        for group in [group for group in self._groups if not group.symbols]:
            for keeper in self._keepers.pop(group):
                keeper.cancel()
            for link in list(group.links):
                link.end("its symbols are not followed any more")
            self._groups.remove(group)

    # Who keeps the connections

    async def _keep_all(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            for number, group in enumerate(self._groups):
                self._keep_group(group, number / len(self._groups))
            watch = self._tasks.create_task(self._stalls.run(lambda: self._is_paused)) if self._reconnect else None
            ended = self._tasks.create_task(self._until_all_have_ended())
            await asyncio.wait({ended, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                await self._failure
            if watch:
                watch.cancel()

    async def _until_all_have_ended(self) -> None:
        """Wait until the exchange has closed all connections; for ever where they are opened again."""
        while keepers := [keeper for kept in self._keepers.values() for keeper in kept if not keeper.done()]:
            await asyncio.wait(keepers)
        if self._reconnect:
            await asyncio.wait({self._failure})

    def _keep_group(self, group: Group, phase: float = 0.0) -> None:
        """Keep the connections of a group, which grow old one after the other; `phase` tells groups apart."""
        age = self._venue.max_age * AGE_PART
        ages = (age * (number + 1 - phase) / self._connections for number in range(self._connections))
        self._keepers[group] = [self._tasks.create_task(self._keep(group, first, age)) for first in ages]

    async def _keep(self, group: Group, first_age: float, age: float) -> None:
        """Keep one place of a group: open a connection, replace it when it is due, open it again when it is lost."""
        waits, patience, max_age = self._back_off(), self._silence_timeout, first_age
        before: Link | None = None
        while True:
            link = await self._open(group, waits, patience, max_age)
            if before:
                self._tasks.create_task(self._retire(before))
            before, max_age = None, age
            await self._until_due_or_over(link)
            lived = self._clock.monotonic() - link.since
            waits = self._back_off() if lived >= STEADY else waits
            patience = _next_patience(link, lived, self._silence_timeout)
            if not link.over.is_set():
                before = self._replaced(link)
            elif self._reconnect:
                log.warning("stream lost, reconnecting", reason=link.end_reason, open=self.open)
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
        link = Link(self, self._venue, self._clock, group.symbols, patience=patience, reply_timeout=self._reply_timeout)
        group.links.append(link)
        if self._is_paused:
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
            log.info("stream replaced", reason=link.due_reason, open=self.open - 1)
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
            log.warning("no stream, trying until there is one", reason=reason, open=self.open)
        group.is_down = True


def _next_patience(link: Link, lived: float, usual: float) -> float:
    """Return how far behind the next connection in its place may be: a symbol may come late on each of them."""
    if link.due_reason != LAG or lived >= LONGEST_PATIENCE:
        return usual
    return min(LONGEST_PATIENCE, 2 * link.patience)


def _first(errors: BaseExceptionGroup[FatalError]) -> FatalError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
