# ruff: noqa: INP001  a script on its own, in no package
"""A consumer of one's own: tells when the spread of a symbol is wide. No other part knows of it.

    .venv/bin/python examples/wide_spread.py 5      from how many basis points on

The broker is the one of `FAIRPRICE_BROKER_URL`. What makes a consumer is a queue: this one is declared at the first
start, bound to the exchange `prices`, and kept while the consumer is away. Its name begins with `own.`, so that by the
policy of `rabbitmq/definitions.json` it forgets its oldest messages when nobody reads, instead of holding everybody up.
"""

import asyncio
import os
import sys
from functools import partial
from random import Random

import structlog

from fairprice.broker.client import BrokerSettings, connected
from fairprice.broker.port import Subscription
from fairprice.broker.retry import consume
from fairprice.messages import Price, decode
from fairprice.runtime import lifecycle, logging
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import PRICES, UNROUTED, Exchange

QUEUE = "own.wide-spread"
TOPOLOGY = (Exchange(PRICES, (QUEUE,), alternate=UNROUTED),)

log = structlog.get_logger(__name__)


async def follow(limit: float, stop: asyncio.Event) -> int:
    """Read the queue until told to stop; what was delivered by then is worked off."""
    settings = BrokerSettings.load(os.environ)
    logging.configure(settings.log_level, settings.log_format, "wide-spread")
    back_off = partial(delays, Random())  # noqa: S311  jitter
    async with connected("wide-spread", settings, exchanges=TOPOLOGY) as broker:
        log.info("reading", queue=QUEUE, from_bps=limit)
        subscribe = partial(broker.subscribe, QUEUE, 20)
        await consume(subscribe, partial(tell, limit), back_off, stop, SystemClock(), queue=QUEUE)
    return lifecycle.EXIT_OK


async def tell(limit: float, subscription: Subscription) -> bool:
    """Log the wide ones of the prices that have come, then acknowledge: an acknowledgement belongs to work done."""
    deliveries = await subscription.receive(10)
    for delivery in deliveries:
        for event in decode(delivery.message.body):
            if isinstance(event, Price) and (event.values["spread_bps"] or 0) >= limit:
                log.info("wide spread", symbol=event.symbol, bps=event.values["spread_bps"], price=event.price)
    if deliveries:
        await deliveries[-1].ack(multiple=True)
    return bool(deliveries)


if __name__ == "__main__":
    sys.exit(lifecycle.run(partial(follow, float(sys.argv[1]))))
