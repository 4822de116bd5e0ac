"""An address that passes everything on: at which something may begin to answer later, or where a test listens in."""

import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager, suppress

from pamqp import commands, frame, header

FRAME_HEAD = struct.Struct(">BHI")
"""Kind, channel and size; the payload and one more byte follow."""


def _pump(source, sink, listen):
    with suppress(OSError):
        while data := source.recv(65536):
            listen(data)
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarding(port, target, listener=lambda: lambda _data: None):
    """Pass on what comes to a port of this machine to `target`, like `127.0.0.1:5672`, and back.

    `listener` makes something that is told what `target` sends, for each connection.
    """
    host, _, target_port = target.rpartition(":")
    open_sockets = []

    def accept(server):
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection((host, int(target_port)))
                open_sockets.extend((near, far))
                for ends in ((near, far, lambda _data: None), (far, near, listener())):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()

    server = socket.create_server(("127.0.0.1", port))
    accepting = threading.Thread(target=accept, args=(server,), daemon=True)
    accepting.start()
    try:
        yield
    finally:
        for each in (server, *open_sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # ends the waits of the threads, which closing does not
        accepting.join(5)
        for each in (server, *open_sockets):
            each.close()


class Handovers:
    """How often the broker has handed over each message, by its id, as the wire tells; make one for each service.

    The broker's own mark is no proof. A quorum queue takes back what is on its way to the channel of a consumer who
    leaves, and marks it as delivered before, although nobody has seen it (measured with RabbitMQ 3.10 and 4.0).
    """

    def __init__(self):
        self.times = Counter()

    def listener(self):
        received, delivering = bytearray(), set()

        def listen(data):
            received.extend(data)
            while len(received) >= FRAME_HEAD.size:
                _, channel, size = FRAME_HEAD.unpack_from(received)
                if len(received) < (length := FRAME_HEAD.size + size + 1):
                    return
                match frame.unmarshal(bytes(received[:length]))[2]:
                    case commands.Basic.Deliver():
                        delivering.add(channel)
                    case header.ContentHeader() as content if channel in delivering:
                        delivering.remove(channel)
                        self.times[content.properties.message_id] += 1
                del received[:length]

        return listen
