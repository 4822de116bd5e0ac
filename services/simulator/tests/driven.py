"""An exchange on a clock that a test drives, and clients that let its time pass while they wait."""

import asyncio
from contextlib import asynccontextmanager

import orjson
import websockets
from clocks import ManualClock, settle
from waiting import PATIENCE

from simulator import START_US, Exchange, Playback, SimulatorServer

LONG = 3600.0
"""Seconds of it after which a test has waited in vain."""


class DrivenPlayback(Playback):
    """Plays recordings on a clock that a test drives."""

    def __init__(self, paths, **options) -> None:
        self.clock = ManualClock()
        super().__init__(paths, clock=self.clock, **options)


class DrivenServer(SimulatorServer):
    """Serves a source whose time passes only while a test waits for something or says so; `tick` in seconds of it."""

    def __init__(self, source: Exchange | DrivenPlayback, *, tick: float = 0.05, **options) -> None:
        self.clock = source.clock if isinstance(source, DrivenPlayback) else ManualClock(START_US)
        self._step = tick
        super().__init__(source, clock=self.clock, tick=tick, **options)

    async def drive(self, awaitable):
        """Let time pass until it is there, and return it."""
        task = asyncio.ensure_future(awaitable)
        try:
            await settle()  # what is there already needs no time
            await self.clock.until(task.done, LONG, self._step)
        finally:
            task.cancel()
        return task.result()


class Client:
    """One websocket of a server."""

    def __init__(self, server, socket) -> None:
        self.server = server
        self.socket = socket

    async def send(self, text):
        await self.socket.send(text)

    async def receive(self, count=1):
        """Return the next messages."""
        return [orjson.loads(await self.server.drive(self.socket.recv())) for _ in range(count)]

    async def until(self, wanted):
        """Receive until a message is as wanted, and return it."""
        while not wanted(message := (await self.receive())[0]):
            pass
        return message

    async def ask(self, method, *params, identifier=1):
        """Return the reply to a control message."""
        await self.send(orjson.dumps({"method": method, "params": list(params), "id": identifier}).decode())
        return await self.until(lambda message: message.get("id") == identifier or "error" in message)

    async def quiet(self, seconds=1.0):
        """Assert that nothing is sent for so long: what is asked then is answered first."""
        await self.server.clock.advance(seconds)
        await self.send('{"method":"LIST_SUBSCRIPTIONS","id":"quiet"}')
        assert (await self.receive())[0].get("id") == "quiet"

    async def closing(self):
        """Return code and reason that the server ends with, None where it ends without a close frame."""
        try:
            while True:
                await self.server.drive(self.socket.recv())
        except websockets.ConnectionClosed as ended:
            return (ended.rcvd.code, ended.rcvd.reason) if ended.rcvd else None


@asynccontextmanager
async def connect(server, path, **options):
    """Open a websocket; its library has no limits of its own."""
    untimed = {"ping_interval": None, "open_timeout": PATIENCE, "close_timeout": PATIENCE}
    async with websockets.connect(
        server.stream_url + path, **{"max_size": None, "max_queue": None, **untimed, **options}
    ) as socket:
        yield Client(server, socket)
