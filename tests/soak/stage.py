"""What a soak strikes: two crawlers and what stands behind them, in this process or as processes of their own."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fairprice.broker.port import Broker
from storer.stores.port import Reader

TRUTH = "soak"
"""The queue from which every book is compared with the truth."""


@dataclass(frozen=True)
class Market:
    """Where the exchange is, and what is traded there."""

    rest_url: str
    stream_url: str
    symbols: tuple[str, ...]


class Stage(ABC):
    """The services, over a broker with the queue `TRUTH`; made inside the event loop that will use it."""

    crawlers: Collection[str]
    victims: Collection[str]
    """Who may be killed, and frozen where that is possible."""
    can_freeze: bool
    broker: Broker

    @abstractmethod
    async def start(self, market: Market) -> None:
        """Start all services."""

    @abstractmethod
    async def restart(self, name: str) -> None:
        """Start one that was killed."""

    @abstractmethod
    async def kill(self, name: str) -> None:
        """End a service with nothing said any more."""

    async def freeze(self, name: str) -> None:
        """Let it hold its connections and do nothing."""
        raise NotImplementedError(name)

    async def thaw(self, name: str) -> None:
        """Let it go on."""
        raise NotImplementedError(name)

    @abstractmethod
    async def out_of_sync(self, name: str) -> Collection[str]:
        """Return the symbols that a crawler has no book of at present; all if it does not answer."""

    @abstractmethod
    async def resyncs(self, name: str) -> int:
        """Return how often a crawler has synchronised a book again since it was started."""

    @abstractmethod
    def megabytes(self) -> Mapping[str, float]:
        """Return the memory of each process; one that was started again has another name."""

    @abstractmethod
    async def depths(self) -> Mapping[str, int]:
        """Return the messages in each queue, delivered ones that are not settled included."""

    @abstractmethod
    async def finish(self) -> None:
        """Stop the crawlers, let the others do what is left, and stop them."""

    @abstractmethod
    def reader(self) -> AbstractAsyncContextManager[Reader]:
        """Open what is stored."""
