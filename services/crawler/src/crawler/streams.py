"""The connections to an exchange: pushes what they bring into a sink.

Events go one way, out of here. Several connections carry the same streams and are merged by update id, so losing one
loses nothing; `keeper` keeps them.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import structlog

from crawler.group import Groups
from crawler.intake import Intake
from crawler.keeper import Keeper
from crawler.link import Link, OpenWebsocket
from crawler.proxy import ProxyFor
from crawler.stalls import Probe, StallWatch, silence_watch
from crawler.stream_events import Disconnected, StreamEvent
from crawler.tap import Tap
from crawler.venues.port import Venue
from crawler.websocket import open_websocket
from fairprice.errors import FatalError
from fairprice.runtime.clock import Clock

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
    streams. `probe` proves a stall; without one a long silence makes connections due. `tap` is shown the connections
    and their frames. With `reconnect=False` the run ends when the exchange has closed all: the end of a recording, in
    which nobody is judged. `address_share` is the part of the address's attempts that may be used. Times are seconds.

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
        self._address = venue.stream_address(url)
        self._proxy = proxy(self._address)
        self._reconnect = reconnect
        self._groups = Groups(
            venue, partial(silence_watch, silence_timeout=silence_timeout, has_probe=probe is not None)
        )
        self._groups.begin(symbols)
        self._intake = Intake(
            venue.decoder(self._groups.of), self._groups.of, sink=sink, push=self._push, fail=self._fail, clock=clock
        )
        self.receive = self._receive_tapped if tap else self._intake.receive
        """See `Owner.receive`: straight to the intake, unless somebody is shown all frames."""
        self._stalls = StallWatch(self._groups, probe, suspect=self._push, clock=clock, probes_at_once=probes_at_once)
        self._keeper = Keeper(
            self._groups,
            self,
            venue,
            self._address,
            self._proxy,
            clock=clock,
            back_off=back_off,
            connections=connections,
            patience=silence_timeout,
            address_share=address_share,
            reconnect=reconnect,
            open_timeout=open_timeout,
            reply_timeout=reply_timeout,
            overlap=overlap,
            open_websocket=open_websocket,
            is_paused=lambda: self._is_paused,
        )
        self._is_paused = False

    @property
    def open(self) -> int:
        """Connections that have all that they asked for."""
        return self._groups.open

    @property
    def reconnects(self) -> int:
        """Connections that were opened again, or did not come about."""
        return self._keeper.reconnects

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
            await self._run()
        except* FatalError as errors:
            fatal = _first(errors)
        else:
            return
        finally:
            await asyncio.gather(*(link.abort() for link in self._groups.links))
        raise fatal

    def renew(self, reason: str, symbols: Iterable[str] | None = None) -> None:
        """Replace the connections that carry these symbols, all by default, as soon as their successors stand."""
        wanted = self._groups if symbols is None else {self._groups.of[symbol] for symbol in symbols}
        for group in wanted:
            self._intake.forget(group.symbols, diffs=False)
            group.renew(reason)

    def follow(self, symbols: Iterable[str]) -> None:
        """Carry these symbols from now on, and no others; what is carried already goes on undisturbed.

        Who is new goes where there is room, on the connections that stand. Who is let go is not asked for any more.
        """
        wanted, now = dict.fromkeys(symbols), self._clock.monotonic()
        added = [symbol for symbol in wanted if symbol not in self._groups.of]
        removed = [symbol for symbol in self._groups.of if symbol not in wanted]
        for group in self._groups.let_go(removed, now):
            self._keeper.end(group)
            self._groups.remove(group)
        for group, part in self._groups.extend(added, now).items():
            self._keeper.add(group, part)
        for group in self._groups.begin(added):
            self._keeper.keep(group)
        self._intake.forget(removed)
        self._intake.use(self._venue.decoder(self._groups.of))

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
        group = self._groups.with_link(link)
        if group.complete == [link]:
            group.restart(link.since)
        link.carries = True
        if self._tap:
            self._tap.opened(link)
        log.info("stream opened", address=self._address, symbols=len(link.symbols), open=self.open)

    def receive_end(self, link: Link) -> None:
        """See `Owner.receive_end`."""
        group = self._groups.with_link(link)
        group.links.remove(link)
        if self._tap:
            self._tap.ended(link)
        if link.carries and group.symbols and not any(other.carries for other in group.links):
            group.lose(self._clock.monotonic())
            self._intake.forget(group.symbols)
            try:
                self._push(Disconnected(group.symbols, link.end_reason))
            except Exception as error:  # noqa: BLE001  it has to reach the caller of `run`, not the event loop
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _push(self, event: StreamEvent) -> None:
        self._sink(event)
        if self._pause.is_full and not self._is_paused:
            self._is_paused = True
            self._tasks.create_task(self._read_on())
            for link in self._groups.links:
                link.pause()

    async def _read_on(self) -> None:
        await self._pause.room()
        self._is_paused = False
        for group in self._groups:
            group.restart(self._clock.monotonic())  # who does not read hears nothing
        for link in self._groups.links:
            if not self._is_paused:  # the first of them may have filled it again
                link.resume()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            keeping = self._tasks.create_task(self._keeper.run())
            watch = self._tasks.create_task(self._stalls.run(lambda: self._is_paused)) if self._reconnect else None
            await asyncio.wait({keeping, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                await self._failure
            if watch:
                watch.cancel()


def _first(errors: BaseExceptionGroup[FatalError]) -> FatalError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
