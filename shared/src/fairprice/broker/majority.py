"""When a node of a cluster is given up that lets its clients in and does nothing more for them.

A node that is cut off from the others answers by itself what it knows: connections, channels, looks at exchanges and
queues, on RabbitMQ 4.3 for as long as the cut lasts; before, `pause_minority` closes its connections. What changes a
quorum queue or a binding needs most of the nodes, so that stays unanswered: a publish, a consumer, taking a message.
https://www.rabbitmq.com/docs/quorum-queues#availability, https://www.rabbitmq.com/docs/metadata-store
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

Node = TypeVar("Node")

PART = 1 / 3
"""Of the patience of who asks: less may have been left when the node was asked, and is no sign of anything."""


@dataclass(slots=True)
class Request(Generic[Node]):
    """What only most of the nodes can do, asked of one of them at a second of a clock and not answered yet."""

    node: Node | None = None
    since: float = 0.0

    def ask(self, node: Node, now: float) -> None:
        """Ask a node; what was asked before does not count any more."""
        self.node, self.since = node, now

    def answer(self) -> None:
        """Note an answer, be it a refusal: a node that says that a queue is full is not cut off."""
        self.node = None

    def debtor(self, now: float, patience: float) -> Node | None:
        """Return the node that is to be given up when the `patience` (seconds) of who asks has ended."""
        return self.node if now - self.since >= PART * patience else None
