"""Goes on until the broker has done its part: a publish is repeated, a lost subscription made again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from fairprice.broker.port import Broker, Message, Subscription
from fairprice.errors import BrokerUnavailable, TransientError
from fairprice.runtime.clock import Clock

BackOff = Callable[[], Iterator[float]]
"""Makes a fresh, endless series of delays in seconds, see `fairprice.runtime.backoff`."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Unconfirmed:
    """How many messages of one publisher are being repeated: their trouble is one, and logged once for all of them."""

    messages: int = 0
    failures: int = 0

    def begin(self, exchange: str, error: TransientError) -> None:
        """Count one more message, and log the first."""
        if not self.messages:
            self.failures = 0
            log.warning("publish unconfirmed, repeating it", exchange=exchange, error=str(error))
        self.messages += 1

    def end(self, exchange: str) -> None:
        """Count one message less, and log the last."""
        self.messages -= 1
        if not self.messages:
            log.info("publish confirmed again", exchange=exchange, failures=self.failures)


async def publish_until_confirmed(
    broker: Broker,
    exchange: str,
    message: Message,
    back_off: BackOff,
    clock: Clock,
    *,
    unconfirmed: Unconfirmed | None = None,
) -> None:
    """Publish under the same `message_id` until the broker confirms; those that share `unconfirmed` share a log line.

    Logs the first failure and the recovery, nothing in between.
    """
    unconfirmed = unconfirmed or Unconfirmed()
    is_repeated = False
    pauses = back_off()
    while True:
        try:
            await broker.publish(exchange, message)
        except TransientError as error:
            if not is_repeated:
                unconfirmed.begin(exchange, error)
                is_repeated = True
            unconfirmed.failures += 1
            await clock.sleep(next(pauses))
        else:
            if is_repeated:
                unconfirmed.end(exchange)
            return


async def consume(
    subscribe: Callable[[], AbstractAsyncContextManager[Subscription]],
    work: Callable[[Subscription], Awaitable[bool]],
    back_off: BackOff,
    stop: asyncio.Event,
    clock: Clock,
    *,
    queue: str,
) -> None:
    """Call `work` with a subscription again and again; subscribe again, after a pause, whenever the broker lost it.

    `work` returns whether anything was received. Once `stop` is set nothing more is taken from the queue, `work` is
    given what was delivered before, and then this returns. Logs a loss and the recovery with the name of the `queue`,
    nothing in between.
    """
    consumer = _Consumer(subscribe, work, back_off, clock, queue)
    consuming, stopping = asyncio.create_task(consumer.run(stop)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({consuming, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if subscription := consumer.subscription:
            with suppress(BrokerUnavailable):  # then the broker gives to others what it has not handed over
                await subscription.finish()
            await asyncio.wait({consuming})
        if consuming.done():
            consuming.result()
    finally:
        for task in (consuming, stopping):
            task.cancel()
        await asyncio.gather(consuming, stopping, return_exceptions=True)


class _Consumer:
    """The subscription, while there is one, and the work on it."""

    def __init__(
        self,
        subscribe: Callable[[], AbstractAsyncContextManager[Subscription]],
        work: Callable[[Subscription], Awaitable[bool]],
        back_off: BackOff,
        clock: Clock,
        queue: str,
    ) -> None:
        self.subscription: Subscription | None = None
        self._subscribe = subscribe
        self._work = work
        self._back_off = back_off
        self._clock = clock
        self._log = log.bind(queue=queue)

    async def run(self, stop: asyncio.Event) -> None:
        """Work on one subscription after the other, until one is finished, or lost when it was to be finished."""
        pauses = self._back_off()
        failures = 0
        while not stop.is_set():
            try:
                async with self._subscribed() as subscription:
                    while await self._work(subscription):
                        if failures:
                            self._log.info("consuming again", failures=failures)
                            pauses, failures = self._back_off(), 0
            except TransientError as error:
                if not failures:
                    self._log.warning("subscription lost, subscribing until it is there again", error=str(error))
                failures += 1
            else:
                return
            await self._clock.sleep(next(pauses))

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Subscription]:
        async with self._subscribe() as subscription:
            self.subscription = subscription
            try:
                yield subscription
            finally:
                self.subscription = None
