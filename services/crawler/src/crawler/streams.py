"""The connections to an exchange: opens, subscribes, pings, replaces them, and pushes what they bring into a sink.

Events go one way, out of here. Several connections carry the same streams and are merged by update id, so losing one
loses nothing; they are made due at different ages, and a new one is complete before the one that it replaces is closed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import structlog

from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.liveness import LagWatch, Merged, Newest, Progress, SilenceWatch
from crawler.proxy import Proxy, ProxyFor
from crawler.venues.port import DiffHead, Event, Reply, Shutdown, Venue
from crawler.websocket import Receiver, Websocket, open_websocket
from fairprice.errors import ExchangeUnavailable, FatalError, InvalidError, InvalidMarketData, TransientError
from fairprice.runtime.clock import Clock, timeout

WATCH_INTERVAL = 0.5
WINDOW = 60.0
SAFE_PART = 0.8
"""Part of the exchange's limits that is used: other programs may share the address."""
MAX_AGE_PART = 0.95
"""Part of the age at which the exchange cuts a connection when it is replaced."""
STEADY = 10.0
"""Seconds after which a connection has proved itself: the next failure is the first of another outage."""
CALM = 600.0
"""Seconds after which a connection that was replaced for its lag is forgiven."""
WITHOUT_PROBE = 6
"""Times the silence timeout, after which symbols that nobody can ask about make their connections due."""
LONGEST_WITHOUT_PROBE = 86400.0
EXCERPT_BYTES = 500

log = structlog.get_logger(__name__)


class Unreadable(NamedTuple):
    """A frame that cannot be read is as good as not received; `symbol` is whose it was, where that is known."""

    symbol: str | None
    error: str
    frame: str


class Disconnected(NamedTuple):
    """The last connection that carried these symbols is gone; what is sent now is missed."""

    symbols: tuple[str, ...]
    reason: str


class Suspected(NamedTuple):
    """These symbols' streams have stalled: updates may have been missed."""

    symbols: tuple[str, ...]
    reason: str


StreamEvent = Diff | Snapshot | Ticker | Unreadable | Disconnected | Suspected


class Pause(Protocol):
    """Says when there is no room for what follows from the events; reading stops so long."""

    @property
    def is_full(self) -> bool:
        """Whether to stop reading."""

    async def room(self) -> None:
        """Return when there is room again."""


class OpenWebsocket(Protocol):
    """Opens a connection; raises `ExchangeUnavailable` or `StartupError`."""

    async def __call__(self, address: str, receiver: Receiver, *, proxy: Proxy | None = None) -> Websocket:
        """Return the open connection."""


Probe = Callable[[str], Awaitable[int | None]]
"""Asks REST for the newest update id of a symbol; None when it cannot be asked now."""


class Attempts:
    """Says how long the next attempt to connect has to wait: no more than `limit` in any minute."""

    def __init__(self) -> None:
        self._made: deque[float] = deque()

    def delay(self, limit: float, now: float) -> float:
        """Return the seconds until an attempt may be made; 0 counts it as made."""
        while self._made and self._made[0] <= now - WINDOW:
            self._made.popleft()
        if len(self._made) >= max(1, int(limit)):
            return self._made[0] + WINDOW - now
        self._made.append(now)
        return 0.0


class Link:
    """One connection: what it asked for, what it was answered, how far it has come.

    It is `complete` when all that it asked for was granted, and `carries` from its first event or from then on.
    `due` is set when it should be replaced, `settled` when it is complete or over.
    """

    def __init__(self, streams: "Streams", group: "Group", patience: float) -> None:
        self._streams = streams
        self.group = group
        self.patience = patience
        self.websocket: Websocket | None = None
        self.update_ids: dict[str, int] = {}
        self.asked: dict[object, float] = {}
        self.has_asked_all = False
        self.is_complete = False
        self.carries = False
        self.since = 0.0
        self.has_ponged = True
        self.due = asyncio.Event()
        self.due_reason = ""
        self.settled = asyncio.Event()
        self.over = asyncio.Event()
        self.end_reason = ""

    def receive_frame(self, frame: bytes) -> None:
        """See `Receiver.receive_frame`."""
        self._streams.receive(self, frame)

    def receive_pong(self) -> None:
        """See `Receiver.receive_pong`."""
        self.has_ponged = True

    def receive_end(self, reason: str) -> None:
        """See `Receiver.receive_end`."""
        self._streams.end(self, reason)

    def make_due(self, reason: str) -> None:
        """Ask for a successor."""
        if not self.due.is_set():
            self.due_reason = reason
            self.due.set()


class Group:
    """Symbols whose streams fit on one connection, and the connections that carry them."""

    def __init__(self, symbols: tuple[str, ...], silence: SilenceWatch) -> None:
        self.symbols = symbols
        self.links: list[Link] = []
        self.newest: dict[str, Newest] = {}
        self.lag = LagWatch(symbols)
        self.silence = silence

    @property
    def complete(self) -> list[Link]:
        """The connections that have all that they asked for."""
        return [link for link in self.links if link.is_complete]

    @property
    def is_carried(self) -> bool:
        """Whether anybody brings these symbols."""
        return any(link.carries for link in self.links)


class Streams:
    """All connections of a crawler, to one address.

    Everything that they say is pushed into `sink`, and reading stops while `pause` is full. `connections` carry the same
    streams. `probe` proves a stall; without one a long silence makes connections due. With `reconnect=False` the run ends
    when the exchange has closed all: the end of a recording, in which nobody is judged. `address_share` is the part of
    the address's attempts that may be used; times are in seconds. Raises `SettingsError` for a proxy that cannot be used.
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
        proxy: ProxyFor = lambda _address: None,
        open_timeout: float = 10.0,
        reply_timeout: float = 10.0,
        overlap: float = 10.0,
        probes_at_once: int = 4,
        open_websocket: OpenWebsocket = open_websocket,
    ) -> None:
        self._venue = venue
        self._symbols = tuple(symbols)
        self._sink = sink
        self._pause = pause
        self._clock = clock
        self._back_off = back_off
        self._connections = min(connections, venue.limits.connections)
        self._silence_timeout = silence_timeout
        self._address_share = address_share
        self._reconnect = reconnect
        self._probe = probe
        self._open_timeout = open_timeout
        self._reply_timeout = reply_timeout
        self._overlap = overlap
        self._probes_at_once = probes_at_once
        self._open_websocket = open_websocket
        self._address = venue.stream_address(url)
        self._proxy = proxy(self._address)
        decoder = venue.decoder(self._symbols)
        self._peek, self._decode = decoder.peek, decoder.decode
        self._merged_diffs, self._merged_tickers = Merged(), Merged()
        self._groups = [Group(symbols, self._silence_watch(symbols)) for symbols in self._split()]
        self._attempts = Attempts()
        self._quiet: frozenset[str] = frozenset()
        self._probes = 0
        self._is_paused = False
        self._is_down = False
        self.reconnects = 0
        self.repeats = 0

    @property
    def open(self) -> int:
        """Connections that have all that they asked for."""
        return sum(len(group.complete) for group in self._groups)

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
        except BaseExceptionGroup as errors:
            fatal, others = errors.split(FatalError)
            if fatal is None or others is not None:
                raise
            raise _first(fatal) from None
        finally:
            await self._abort_all()

    def renew(self, reason: str, symbols: Iterable[str] | None = None) -> None:
        """Replace the connections that carry these symbols, all of them by default, as soon as their successors stand."""
        wanted = None if symbols is None else set(symbols)
        for group in self._groups:
            if wanted is None or not wanted.isdisjoint(group.symbols):
                self._merged_tickers.forget(group.symbols)
                for link in group.links:
                    link.make_due(reason)

    def set_quiet(self, symbols: Iterable[str]) -> None:
        """Take the symbols that do not trade now: nobody misses them."""
        self._quiet = frozenset(symbols)

    def receive(self, link: Link, frame: bytes) -> None:
        """Take a frame of a connection; what goes wrong in the sink ends the run."""
        try:
            self._take(link, frame)
        except Exception as error:  # noqa: BLE001  it has to reach the caller of `run`, not the event loop
            if not self._failure.done():
                self._failure.set_exception(error)

    def end(self, link: Link, reason: str) -> None:
        """End a connection, from whichever side."""
        if link.over.is_set():
            return
        was_carried = link.group.is_carried
        link.end_reason = reason
        link.is_complete = link.carries = False
        link.over.set()
        link.settled.set()
        link.group.links.remove(link)
        if link.websocket:
            link.websocket.close()
        if was_carried and not link.group.is_carried:
            self._leave(link.group, reason)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            keepers = [
                self._tasks.create_task(self._keep(group, self._first_age(number)))
                for number, group in enumerate(self._groups * self._connections, 1)
            ]
            background = [self._tasks.create_task(self._watch()), self._tasks.create_task(self._failed())]
            await asyncio.wait(keepers)
            for task in background:
                task.cancel()

    async def _failed(self) -> None:
        await self._failure

    async def _abort_all(self) -> None:
        websockets = [link.websocket for group in self._groups for link in group.links if link.websocket]
        for group in self._groups:
            for link in group.links:
                link.over.set()
            group.links.clear()
        for websocket in websockets:
            websocket.abort()
        for websocket in websockets:
            await websocket.closed

    # What is carried where

    def _split(self) -> list[tuple[str, ...]]:
        """Spread the symbols evenly over as many connections as their streams need."""
        widest = max((len(self._venue.streams(symbol)) for symbol in self._symbols), default=1)
        symbols_each = max(1, self._venue.limits.streams // widest)
        count = -(-len(self._symbols) // symbols_each)
        return [self._symbols[start::count] for start in range(count)]

    def _silence_watch(self, symbols: tuple[str, ...]) -> SilenceWatch:
        if self._probe:
            return SilenceWatch(symbols, self._silence_timeout)
        return SilenceWatch(symbols, self._silence_timeout * WITHOUT_PROBE, longest=LONGEST_WITHOUT_PROBE)

    def _first_age(self, number: int) -> float:
        return self._max_age * number / (len(self._groups) * self._connections)

    @property
    def _max_age(self) -> float:
        return self._venue.max_age * MAX_AGE_PART

    # Frames

    def _take(self, link: Link, frame: bytes) -> None:
        head = self._peek(frame)
        if type(head) is DiffHead:
            self._hear(link, head.symbol, head.update_id)
            if self._merged_diffs.is_repeat(head.symbol, head.update_id):
                self.repeats += 1
                return
        elif type(head) is Ticker:
            self._take_ticker(link, head)
            return
        try:
            event = self._decode(frame)
        except InvalidMarketData as error:
            symbol = error.symbol or (head.symbol if head else None)
            self._push(Unreadable(symbol, str(error), frame[:EXCERPT_BYTES].decode(errors="replace")))
            return
        self._handle(link, event, is_heard=head is not None)

    def _handle(self, link: Link, event: Event | None, *, is_heard: bool) -> None:
        kind = type(event)
        if kind is Diff:
            self._take_diff(link, event, is_heard=is_heard)
        elif kind is Ticker:
            self._take_ticker(link, event)
        elif kind is Snapshot:
            self._hear(link, event.symbol, event.update_id)
            self._begin_anew(link.group, event.symbol, event.update_id)
            self._push(event)
        elif kind is Reply:
            self._take_reply(link, event)
        elif kind is Shutdown:
            log.info("the exchange announced the end of a connection, opening its successor", address=self._address)
            link.make_due("shutdown announced")

    def _take_diff(self, link: Link, diff: Diff, *, is_heard: bool) -> None:
        if not is_heard:
            self._hear(link, diff.symbol, diff.update_id)
            if self._merged_diffs.is_repeat(diff.symbol, diff.update_id):
                self.repeats += 1
                return
        self._begin_anew(link.group, diff.symbol, diff.update_id)
        self._push(diff)

    def _begin_anew(self, group: Group, symbol: str, update_id: int) -> None:
        """Let merged ids follow this one, and what was heard too where ids have begun anew at the exchange."""
        if self._merged_diffs.take(symbol, update_id) and symbol in group.newest:
            group.newest[symbol] = Newest(update_id, self._clock.monotonic())
            for link in group.links:
                link.update_ids.pop(symbol, None)

    def _take_ticker(self, link: Link, ticker: Ticker) -> None:
        link.carries = True
        if self._merged_tickers.is_repeat(ticker.symbol, ticker.update_id):
            self.repeats += 1
            return
        self._merged_tickers.take(ticker.symbol, ticker.update_id)
        self._push(ticker)

    def _hear(self, link: Link, symbol: str, update_id: int) -> None:
        link.carries = True
        link.update_ids[symbol] = update_id
        newest = link.group.newest
        if symbol not in newest or update_id > newest[symbol].update_id:
            newest[symbol] = Newest(update_id, self._clock.monotonic())

    def _take_reply(self, link: Link, reply: Reply) -> None:
        if reply.error is not None:
            self.end(link, f"the exchange refused a subscription: {reply.error}")
            return
        link.asked.pop(reply.id, None)
        self._complete(link)

    def _push(self, event: StreamEvent) -> None:
        self._sink(event)
        if self._pause.is_full and not self._is_paused:
            self._is_paused = True
            self._tasks.create_task(self._read_on())
            for link in self._links():
                if link.websocket:
                    link.websocket.pause()

    async def _read_on(self) -> None:
        await self._pause.room()
        self._is_paused = False
        now = self._clock.monotonic()
        for group in self._groups:  # who does not read hears nothing
            group.lag.restart()
            group.silence.restart(now)
        for link in self._links():
            link.has_ponged = True
            if link.websocket and not self._is_paused:
                link.websocket.resume()

    def _links(self) -> list[Link]:
        return [link for group in self._groups for link in group.links]

    # The life of a connection

    async def _keep(self, group: Group, age: float) -> None:
        """Keep one of the connections of a group: open it, replace it when it is due, open it again when it is lost."""
        waits, current, patience = self._back_off(), None, self._silence_timeout
        while True:
            link, waits = await self._open(group, waits, patience, age)
            opened = self._clock.monotonic()
            if current:
                self._tasks.create_task(self._retire(current))
            current = link
            await self._due_or_over(link)
            age, lived = self._max_age, self._clock.monotonic() - opened
            if lived >= STEADY:
                waits = self._back_off()
            patience = self._silence_timeout if lived >= CALM else min(CALM, patience * 2)
            if link.over.is_set():
                current = None
                if not self._reconnect:
                    log.info("stream ended", reason=link.end_reason)
                    return
                log.warning("stream lost, reconnecting", reason=link.end_reason, open=self.open)
                self.reconnects += 1
                await self._clock.sleep(next(waits))
            elif self._venue.limits.connections == 1:
                self.end(link, link.due_reason)  # what two connections bring could not be merged
                current = None

    async def _open(
        self, group: Group, waits: Iterator[float], patience: float, age: float
    ) -> tuple[Link, Iterator[float]]:
        """Return a connection that has all that it asked for, however long it takes."""
        while True:
            await self._await_turn()
            link = Link(self, group, patience)
            try:
                await self._connect(link)
                await link.settled.wait()
                reason = link.end_reason
            except ExchangeUnavailable as error:
                reason = str(error)
            if link.is_complete:
                self._is_down = False
                self._tasks.create_task(self._grow_old(link, age))
                return link, waits
            self._note_refusal(reason)
            await self._clock.sleep(next(waits))

    async def _await_turn(self) -> None:
        while delay := self._attempts.delay(
            self._venue.limits.attempts * self._address_share * SAFE_PART, self._clock.monotonic()
        ):
            await self._clock.sleep(delay)

    async def _connect(self, link: Link) -> None:
        try:
            async with timeout(self._clock, self._open_timeout):
                link.websocket = await self._open_websocket(self._address, link, proxy=self._proxy)
        except TimeoutError as error:
            raise ExchangeUnavailable(
                f"{self._address}: no answer within {self._open_timeout:g} s"
                + (f" by way of {self._proxy}" if self._proxy else "")
            ) from error
        link.group.links.append(link)
        if self._is_paused:
            link.websocket.pause()
        self._tasks.create_task(self._live(link, link.websocket))

    async def _live(self, link: Link, websocket: Websocket) -> None:
        living = asyncio.create_task(self._subscribe_and_ping(link, websocket))
        over = asyncio.create_task(link.over.wait())
        try:
            await asyncio.wait({living, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (living, over):
                task.cancel()
            await asyncio.wait({living, over})
        if not living.cancelled():
            living.result()

    async def _subscribe_and_ping(self, link: Link, websocket: Websocket) -> None:
        for number, names in enumerate(self._batches(link.group.symbols), 1):
            if number > 1:
                await self._clock.sleep(1 / (self._venue.limits.messages * SAFE_PART))
            link.asked[number] = self._clock.monotonic()
            websocket.send(self._venue.subscription(names, number))
            self._judge_replies(link)
        link.has_asked_all = True
        self._complete(link)
        while link.asked:
            await self._clock.sleep(WATCH_INTERVAL)
            self._judge_replies(link)
        await self._ping_on(link, websocket)

    async def _ping_on(self, link: Link, websocket: Websocket) -> None:
        interval = self._venue.ping_interval
        while True:
            link.has_ponged = False
            websocket.ping()
            await self._clock.sleep(interval)
            if not link.has_ponged and not self._is_paused:
                self.end(link, f"no pong within {interval:g} s")
                return

    def _batches(self, symbols: Iterable[str]) -> Iterator[Sequence[str]]:
        names = [name for symbol in symbols for name in self._venue.streams(symbol)]
        for start in range(0, len(names), self._venue.limits.names):
            yield names[start : start + self._venue.limits.names]

    def _judge_replies(self, link: Link) -> None:
        oldest = min(link.asked.values(), default=None)
        if oldest is not None and self._clock.monotonic() - oldest >= self._reply_timeout and not self._is_paused:
            self.end(link, f"no reply to a subscription within {self._reply_timeout:g} s")

    def _complete(self, link: Link) -> None:
        if link.has_asked_all and not link.asked and not link.settled.is_set():
            if not link.group.complete:
                link.group.silence.restart(self._clock.monotonic())
            link.is_complete = link.carries = True
            link.since = self._clock.monotonic()
            link.settled.set()
            log.info("stream opened", address=self._address, symbols=len(link.group.symbols), open=self.open)

    async def _grow_old(self, link: Link, age: float) -> None:
        with suppress(TimeoutError):
            async with timeout(self._clock, age):
                await link.over.wait()
        link.make_due("old")

    async def _due_or_over(self, link: Link) -> None:
        waiting = [asyncio.create_task(link.over.wait())]
        if self._reconnect:
            waiting.append(asyncio.create_task(link.due.wait()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _retire(self, link: Link) -> None:
        with suppress(TimeoutError):
            async with timeout(self._clock, self._overlap):
                await link.over.wait()
        if not link.over.is_set():
            log.info("stream replaced", reason=link.due_reason, open=self.open - 1)
            self.end(link, link.due_reason)

    def _leave(self, group: Group, reason: str) -> None:
        group.newest.clear()
        group.lag.restart()
        group.silence.restart(self._clock.monotonic(), forget=True)
        self._merged_diffs.forget(group.symbols)
        self._merged_tickers.forget(group.symbols)
        self._push(Disconnected(group.symbols, reason))

    def _note_refusal(self, reason: str) -> None:
        self.reconnects += 1
        if not self._is_down:
            log.warning("no stream, trying until there is one", reason=reason, open=self.open)
        self._is_down = True

    # Who is silent

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(WATCH_INTERVAL)
            if self._reconnect and not self._is_paused:
                for group in self._groups:
                    self._watch_group(group)

    def _watch_group(self, group: Group) -> None:
        now = self._clock.monotonic()
        if not group.complete:
            group.silence.restart(now)
            return
        self._find_lag(group, now)
        self._find_stall(group, now)
        unheard = [symbol for symbol in group.silence.unheard(group.newest, now) if symbol not in self._quiet]
        if self._probe is None:
            self._renew_unheard(group, unheard, now)
            return
        for symbol in unheard[: self._probes_at_once - self._probes]:
            self._probes += 1
            group.silence.asked(symbol)
            self._tasks.create_task(self._ask(group, symbol, self._probe))

    def _find_lag(self, group: Group, now: float) -> None:
        judged = [link for link in group.complete if not link.due.is_set()]
        progress = {link: Progress(link.update_ids, link.since, link.patience) for link in judged}
        for link, symbols in group.lag.lagging(progress, group.newest, now).items():
            log.warning("a connection misses what another one brings, opening its successor", symbols=symbols[:10])
            link.make_due("lag")

    def _find_stall(self, group: Group, now: float) -> None:
        if stalled := group.silence.stalled(group.newest, now):
            log.warning("no connection brings what REST has, opening successors", symbols=stalled[:10])
            self._push(Suspected(tuple(stalled), "stall"))
            self._renew_group(group, "stall", now)

    def _renew_unheard(self, group: Group, unheard: list[str], now: float) -> None:
        if unheard:
            log.warning("nobody hears symbols, opening successors", symbols=unheard[:10])
            group.silence.lengthen(unheard, now)
            self._renew_group(group, "silence", now)

    def _renew_group(self, group: Group, reason: str, now: float) -> None:
        group.silence.restart(now)
        for link in group.links:
            link.make_due(reason)

    async def _ask(self, group: Group, symbol: str, probe: Probe) -> None:
        update_id = None
        try:
            update_id = await probe(symbol)
        except (TransientError, InvalidError) as error:
            log.debug("cannot ask for the newest update id", symbol=symbol, error=str(error))
        finally:
            self._probes -= 1
            group.silence.answered(symbol, update_id, group.newest.get(symbol), self._clock.monotonic())


def _first(errors: BaseExceptionGroup[FatalError]) -> FatalError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, FatalError)
    return error
