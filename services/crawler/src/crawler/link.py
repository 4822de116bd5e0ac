"""One connection to the exchange, which knows what it asked for: subscribes, pings, tells its age."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from crawler.proxy import Proxy
from crawler.venues.port import Reply, Venue
from crawler.websocket import Receiver, Websocket
from fairprice.errors import ExchangeUnavailable
from fairprice.runtime.clock import Clock, timeout

CHECK_INTERVAL = 0.5
MESSAGES_PART = 0.8
"""Part of the messages that the exchange allows a second; the rest is for pings and pongs."""


class OpenWebsocket(Protocol):
    """Opens a connection; raises `ExchangeUnavailable` or `StartupError`."""

    async def __call__(self, address: str, receiver: Receiver, *, proxy: Proxy | None = None) -> Websocket:
        """Return the open connection."""


class Owner(Protocol):
    """Whoever a link belongs to."""

    def receive(self, link: "Link", frame: bytes) -> None:
        """Take a frame."""

    def receive_complete(self, link: "Link") -> None:
        """Take note that the exchange has granted all that the link asked for."""

    def receive_end(self, link: "Link") -> None:
        """Take note that the link has ended, by whichever side; its `end_reason` tells why."""


class Link:
    """A connection for some symbols.

    It is complete when all that it asked for was granted, and carries symbols from its first event or from then on.
    `due` is set when it should be replaced, `settled` when it is complete or over. For `patience` seconds it may be
    behind another one. `update_ids` are the last ones that it brought, `ticking` the symbols of its tickers.
    """

    def __init__(
        self,
        owner: Owner,
        venue: Venue,
        clock: Clock,
        symbols: tuple[str, ...],
        *,
        patience: float,
        reply_timeout: float,
    ) -> None:
        self._owner = owner
        self._venue = venue
        self._clock = clock
        self._reply_timeout = reply_timeout
        self._websocket: Websocket | None = None
        self._asked: dict[object, float] = {}
        self._has_asked_all = False
        self._questions = 0
        self._has_ponged = True
        self._is_paused = False
        self.symbols = symbols
        self.patience = patience
        self.update_ids: dict[str, int] = {}
        self.ticking: set[str] = set()
        self.is_complete = False
        self.carries = False
        self.receive_frame = partial(owner.receive, self)
        """See `Receiver.receive_frame`: straight to the owner."""
        self.since = 0.0
        self.settled = asyncio.Event()
        self.due = asyncio.Event()
        self.due_reason = ""
        self.over = asyncio.Event()
        self.end_reason = ""

    async def open(self, open_websocket: OpenWebsocket, address: str, proxy: Proxy | None, seconds: float) -> None:
        """Connect within so many seconds; raises `ExchangeUnavailable` or `StartupError`."""
        try:
            async with timeout(self._clock, seconds):
                websocket = await open_websocket(address, self, proxy=proxy)
        except TimeoutError as error:
            way = f"{address} by way of {proxy}" if proxy else address
            raise ExchangeUnavailable(f"{way}: no answer within {seconds:g} s") from error
        self._websocket = websocket
        if self._is_paused:
            websocket.pause()

    async def add(self, symbols: tuple[str, ...]) -> None:
        """Subscribe to more symbols once what was asked for at first is granted; a refusal ends the link."""
        await self.settled.wait()
        if not self.over.is_set():
            self.symbols += symbols
            await self._subscribe(symbols)
            await self._await_replies()

    async def live(self, max_age: float) -> None:
        """Subscribe and ping until the link is over; make it due at its maximal age."""
        work = asyncio.create_task(self._subscribe_and_ping())
        tasks = [work, asyncio.create_task(self._grow_old(max_age)), asyncio.create_task(self.over.wait())]
        try:
            await asyncio.wait({work, tasks[-1]}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not work.cancelled():
            work.result()

    def take_reply(self, reply: Reply) -> None:
        """Take the exchange's answer to a subscription."""
        if reply.error is not None:
            self.end(f"the exchange refused a subscription: {reply.error}")
            return
        self._asked.pop(reply.id, None)
        self._complete()

    def make_due(self, reason: str) -> None:
        """Ask for a successor."""
        if not self.due.is_set():
            self.due_reason = reason
            self.due.set()

    def end(self, reason: str) -> None:
        """End the link from this side."""
        if self._websocket:
            self._websocket.close()
        self.receive_end(reason)

    async def abort(self) -> None:
        """Close the socket at once, without a callback."""
        self.over.set()
        if self._websocket:
            self._websocket.abort()
            await self._websocket.closed

    def pause(self) -> None:
        """Stop reading."""
        self._is_paused = True
        if self._websocket:
            self._websocket.pause()

    def resume(self) -> None:
        """Read on; whoever did not read cannot have heard an answer."""
        self._is_paused = False
        self._has_ponged = True
        self._asked = dict.fromkeys(self._asked, self._clock.monotonic())
        if self._websocket:
            self._websocket.resume()

    def receive_pong(self) -> None:
        """See `Receiver.receive_pong`."""
        self._has_ponged = True

    def receive_end(self, reason: str) -> None:
        """See `Receiver.receive_end`."""
        if not self.over.is_set():
            self.end_reason = reason
            self.over.set()
            self.settled.set()
            self._owner.receive_end(self)

    async def _subscribe_and_ping(self) -> None:
        await self._subscribe(self.symbols)
        self._has_asked_all = True
        self._complete()
        await self._await_replies()
        await self._ping_on(self._venue.ping_interval)

    async def _subscribe(self, symbols: tuple[str, ...]) -> None:
        for names in self._batches(symbols):
            if self._questions:
                await self._clock.sleep(1 / (self._venue.limits.messages * MESSAGES_PART))
            self._questions += 1
            self._asked[self._questions] = self._clock.monotonic()
            self._send(self._venue.subscription(names, self._questions))
            self._judge_replies()

    async def _await_replies(self) -> None:
        while self._asked and not self.over.is_set():
            await self._clock.sleep(CHECK_INTERVAL)
            self._judge_replies()

    async def _ping_on(self, interval: float) -> None:
        while not self.over.is_set():
            self._has_ponged = False
            if self._websocket:
                self._websocket.ping()
            await self._clock.sleep(interval)
            if not self._has_ponged and not self._is_paused:
                self.end(f"no pong within {interval:g} s")

    async def _grow_old(self, max_age: float) -> None:
        await self._clock.sleep(max_age)
        self.make_due("age")

    def _send(self, text: str) -> None:
        if self._websocket:
            self._websocket.send(text)

    def _batches(self, symbols: tuple[str, ...]) -> Iterator[Sequence[str]]:
        names = [name for symbol in symbols for name in self._venue.streams(symbol)]
        size = self._venue.limits.names
        for start in range(0, len(names), size):
            yield names[start : start + size]

    def _judge_replies(self) -> None:
        oldest = min(self._asked.values(), default=None)
        if oldest is None or self._is_paused or self.over.is_set():
            return
        if self._clock.monotonic() - oldest >= self._reply_timeout:
            self.end(f"no reply to a subscription within {self._reply_timeout:g} s")

    def _complete(self) -> None:
        if self._has_asked_all and not self._asked and not self.settled.is_set():
            self.since = self._clock.monotonic()
            self.is_complete = True
            self.settled.set()
            self._owner.receive_complete(self)
