"""How the nodes of a RabbitMQ cluster find and hear each other, so that a test can cut one off, in either direction.

Erlang nodes ask a port mapper for their neighbours' ports. Here each node has a port mapper of its own, which answers
with a port that passes everything on to the neighbour. A direction that is cut passes on nothing: what was sent arrives
later or never, and nobody is told, as with a network that drops packets.
https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#epmd-protocol
"""

import asyncio
import struct
import threading
from contextlib import suppress
from functools import partial

from ports import free_port

REGISTER, REGISTERED, REGISTERED_NOW = 120, 121, 118
ASK, ANSWER = 122, 119
NAMES = 110
PRESENT, ABSENT = 0, 1
NEW_PROTOCOL = 6
"""The lowest version of the distribution protocol at which a registration is answered with four bytes."""

HOST = "127.0.0.1"


class Links:
    """The port mappers and links of nodes whose names, without the host, are given; runs in a thread of its own."""

    def __init__(self, names):
        self.mapper_ports = {name: free_port() for name in names}
        self._link_ports = {(asker, other): free_port() for asker in names for other in names if asker != other}
        self._registered = {}
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        self._open = {direction: asyncio.Event() for direction in self._link_ports}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    def cut(self, source, target):
        """Let nothing more pass from one node to the other."""
        self._loop.call_soon_threadsafe(self._open[source, target].clear)

    def heal(self):
        """Let everything pass again, also what was held up."""
        for direction in self._open.values():
            self._loop.call_soon_threadsafe(direction.set)

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self):
        self.heal()
        servers = [
            *(asyncio.start_server(partial(self._map, name), HOST, port) for name, port in self.mapper_ports.items()),
            *(asyncio.start_server(partial(self._link, *pair), HOST, port) for pair, port in self._link_ports.items()),
        ]
        self._servers = await asyncio.gather(*servers)

    async def _end(self):
        self.heal()
        for each in (*self._servers, *self._writers):
            each.close()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def _map(self, asker, reader, writer):
        """Answer one request; a registration lasts as long as its connection."""
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            request = await reader.readexactly(length)
            match request[0]:
                case kind if kind == REGISTER:
                    await self._register(request[1:], reader, writer)
                case kind if kind == ASK:
                    writer.write(self._answer(asker, request[1:].decode()))
                case kind if kind == NAMES:
                    lines = "".join(f"name {name} at port {port}\n" for name, (port, *_) in self._registered.items())
                    writer.write(struct.pack(">I", self.mapper_ports[asker]) + lines.encode())
            await writer.drain()
        self._leave(writer)

    def _leave(self, *writers):
        for writer in writers:
            writer.close()
        self._writers.difference_update(writers)

    async def _register(self, request, reader, writer):
        port, _, _, highest, lowest, length = struct.unpack_from(">HBBHHH", request)
        name = request[10 : 10 + length].decode()
        entry = self._registered[name] = (port, highest, lowest)
        is_new = highest >= NEW_PROTOCOL
        writer.write(struct.pack(">BBI", REGISTERED_NOW, 0, 1) if is_new else struct.pack(">BBH", REGISTERED, 0, 1))
        try:
            await reader.read()
        finally:
            if self._registered.get(name) is entry:
                del self._registered[name]

    def _answer(self, asker, name):
        if name not in self._registered:
            return bytes([ANSWER, ABSENT])
        port, highest, lowest = self._registered[name]
        port = self._link_ports.get((asker, name), port)
        return (
            struct.pack(">BBHBBHHH", ANSWER, PRESENT, port, 77, 0, highest, lowest, len(name))
            + name.encode()
            + bytes(2)
        )

    async def _link(self, asker, other, reader, writer):
        """Pass on what two nodes say to each other, as long as the direction is open."""
        self._writers.add(writer)
        await self._open[asker, other].wait()
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, self._registered.get(other, (0,))[0])
            self._writers.add(far_writer)
            await asyncio.gather(
                self._pump(reader, far_writer, self._open[asker, other]),
                self._pump(far_reader, writer, self._open[other, asker]),
            )
        self._leave(writer)

    async def _pump(self, reader, writer, is_open):
        with suppress(OSError):
            while data := await reader.read(65536):
                await is_open.wait()
                writer.write(data)
                await writer.drain()
        await is_open.wait()
        self._leave(writer)
