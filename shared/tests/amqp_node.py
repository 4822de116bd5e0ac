"""A node of RabbitMQ as far as its network goes, for what a single real one cannot do: to be cut off from the others.

It answers on the wire all that a client asks, but for the kinds of question that it is told to leave open. Nothing is
routed or kept.
"""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from functools import partial

from pamqp import commands, frame, header
from pamqp.body import ContentBody

NEEDS_MOST = (commands.Basic.Publish, commands.Basic.Consume, commands.Basic.Get, commands.Queue.Bind)
"""What a node answers only together with most of the others."""

HEADER_BYTES = 7
"""Of a frame, before what is in it, whose length its last four bytes tell; an end of one byte follows."""


class Node:
    """Counts what it was `asked`, answered or not; `silent` are the kinds of question that it leaves open.

    `declared` are the declarations of queues, `unbound` the bindings that are to be no more.
    """

    def __init__(self, version="4.3.6"):
        self.version = version
        self.asked = Counter()
        self.silent = set()
        self._unanswered = []
        self.declared = []
        self.unbound = []
        self.connections = 0
        self.port = 0
        self._writers = set()

    @property
    def url(self):
        return f"amqp://127.0.0.1:{self.port}/"

    @asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def _note(self, asked):
        if isinstance(asked, commands.Queue.Declare) and not asked.passive:
            self.declared.append(asked)
        if isinstance(asked, commands.Queue.Unbind):
            self.unbound.append((asked.queue, asked.exchange))

    def drop(self):
        """Lose all connections, as a kill does."""
        for writer in self._writers:
            writer.transport.abort()

    def answer(self):
        """Answer what was left open, and leave nothing open any more."""
        self.silent.clear()
        while self._unanswered:
            self._unanswered.pop(0)()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        published = Counter()
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(len(b"AMQP\x00\x00\x09\x01"))
            capabilities = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True}
            properties = {"capabilities": capabilities, "version": self.version}
            start = commands.Connection.Start(server_properties=properties, mechanisms="PLAIN")
            writer.write(frame.marshal(start, 0))
            while True:
                channel, asked = await _read(reader)
                if isinstance(asked, header.ContentHeader | ContentBody):
                    continue
                self.asked[type(asked)] += 1
                self._note(asked)
                if isinstance(asked, commands.Basic.Publish):
                    published[channel] += 1
                if answer := ANSWERS.get(type(asked)):
                    answered = frame.marshal(answer(asked, published[channel]), channel)
                    if type(asked) in self.silent:
                        self._unanswered.append(partial(writer.write, answered))
                    else:
                        writer.write(answered)
                if isinstance(asked, commands.Connection.Close):
                    break
        self.connections -= 1
        self._writers.discard(writer)
        writer.close()


async def _read(reader):
    start = await reader.readexactly(HEADER_BYTES)
    rest = await reader.readexactly(int.from_bytes(start[3:], "big") + 1)
    _, channel, read = frame.unmarshal(start + rest)
    return channel, read


ANSWERS = {
    commands.Connection.StartOk: lambda *_: commands.Connection.Tune(2047, 131072, 0),
    commands.Connection.Open: lambda *_: commands.Connection.OpenOk(),
    commands.Connection.Close: lambda *_: commands.Connection.CloseOk(),
    commands.Channel.Open: lambda *_: commands.Channel.OpenOk(),
    commands.Channel.Close: lambda *_: commands.Channel.CloseOk(),
    commands.Confirm.Select: lambda *_: commands.Confirm.SelectOk(),
    commands.Exchange.Declare: lambda *_: commands.Exchange.DeclareOk(),
    commands.Queue.Declare: lambda asked, _: commands.Queue.DeclareOk(asked.queue or "amq.gen-1", 0, 0),
    commands.Queue.Bind: lambda *_: commands.Queue.BindOk(),
    commands.Queue.Unbind: lambda *_: commands.Queue.UnbindOk(),
    commands.Queue.Delete: lambda *_: commands.Queue.DeleteOk(0),
    commands.Basic.Qos: lambda *_: commands.Basic.QosOk(),
    commands.Basic.Consume: lambda asked, _: commands.Basic.ConsumeOk(asked.consumer_tag),
    commands.Basic.Cancel: lambda asked, _: commands.Basic.CancelOk(asked.consumer_tag),
    commands.Basic.Get: lambda *_: commands.Basic.GetEmpty(),
    commands.Basic.Publish: lambda _, published: commands.Basic.Ack(published),
}
