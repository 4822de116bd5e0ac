"""Goes on until the broker has done its part: a publish is repeated, a lost subscription made again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import structlog

from fairprice.broker.port import Broker, Message, Subscription
from fairprice.errors import TransientError

BackOff = Callable[[], Iterator[float]]
"""Makes a fresh, endless series of delays in seconds, see `fairprice.runtime.backoff`."""

log = structlog.get_logger(__name__)


async def publish_until_confirmed(broker: Broker, exchange: str, message: Message, back_off: BackOff) -> int:
    """Publish under the same `message_id` until the broker confirms; return how many times it did not.

    Logs the first failure and the recovery, nothing in between.
    """
    failures = 0
    pauses = back_off()
    while True:
        try:
            await broker.publish(exchange, message)
        except TransientError as error:
            if not failures:
                log.warning("publish unconfirmed, repeating it", exchange=exchange, error=str(error))
            failures += 1
            await asyncio.sleep(next(pauses))
        else:
            if failures:
                log.info("publish confirmed again", exchange=exchange, failures=failures)
            return failures


async def consume(
    subscribe: Callable[[], AbstractAsyncContextManager[Subscription]],
    work: Callable[[Subscription], Awaitable[None]],
    back_off: BackOff,
) -> NoReturn:
    """Call `work` with a subscription again and again; subscribe anew, after a pause, whenever the broker lost it.

    Logs the loss and the recovery, nothing in between.
    """
    pauses = back_off()
    failures = 0
    while True:
        try:
            async with subscribe() as subscription:
                while True:
                    await work(subscription)
                    if failures:
                        log.info("consuming again", failures=failures)
                        pauses, failures = back_off(), 0
        except TransientError as error:
            if not failures:
                log.warning("subscription lost, subscribing until it is there again", error=str(error))
            failures += 1
        await asyncio.sleep(next(pauses))
