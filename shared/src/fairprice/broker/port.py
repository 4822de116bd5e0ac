"""What Fairprice asks of a message broker.

`shared/tests/broker_contract.py` states every promise below as a test; each implementation has to pass it unchanged.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `body` holds one or more lines of JSON.

    `type` names the schema (`books.v1`), `timestamp` is microseconds since the epoch. `message_id` is made from the
    exchange's data only, so that a repeated publish can be recognised. `routing_key` is `venue.SYMBOL`, or `batch`
    for several symbols.
    """

    body: bytes
    type: str
    message_id: str
    app_id: str
    timestamp: int
    routing_key: str
    symbols: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


class Delivery(Protocol):
    """A message together with the duty to settle it, once.

    A delivery that is not settled returns to its queue when its subscription ends.
    Settling raises `BrokerUnavailable` when the subscription is gone: the message will come again, so drop it.
    """

    @property
    def message(self) -> Message:
        """The message as published."""

    async def ack(self, *, multiple: bool = False) -> None:
        """Settle it as done; `multiple` also settles every earlier open delivery of the same subscription."""


class Subscription(Protocol):
    """A consumer's view of one queue; at most `prefetch` of its deliveries are open at a time."""

    async def receive(self, limit: int) -> list[Delivery]:
        """Wait for at least one delivery, then return all that have arrived, at most `limit`, in the queue's order.

        Cancelling the wait loses nothing. Returns none when the subscription is finished and has none left.
        Raises `BrokerUnavailable` when the subscription has ended.
        """

    async def finish(self) -> None:
        """Take no more from the queue: `receive` still returns what has been delivered, then nothing.

        Raises `BrokerUnavailable` when the broker did not confirm it; the subscription is finished all the same.
        """


class Broker(Protocol):
    """A connection to exchanges and queues as `fairprice.topology` names them."""

    async def publish(self, exchange: str, message: Message) -> None:
        """Return once every queue bound to the exchange has accepted the message.

        Raises `BrokerUnavailable` when that could not be learnt in time. The message may then be in some queues or
        in all: publish it again under the same `message_id`. Waits while a bound queue is full.
        """

    def cast(self, exchange: str, message: Message) -> bool:
        """Send a message that may be lost, without waiting for anything; return False where it was dropped.

        It is not kept on disk. True promises nothing: no queue may have taken it. Queues of a live exchange forget
        their oldest message when they are full.
        """

    def subscribe(self, queue: str, prefetch: int) -> AbstractAsyncContextManager[Subscription]:
        """Consume a queue, sharing it with other subscribers; leaving the context returns what is unsettled."""

    def tap(self, exchange: str, capacity: int) -> AbstractAsyncContextManager[Subscription]:
        """Watch an exchange through a queue of one's own that forgets its oldest message when `capacity` is reached.

        Never slows the publisher. Deliveries count as settled when received.
        """
