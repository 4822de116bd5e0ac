"""Sends invalid lines to the dead letters, one message each, so that their neighbours can go on."""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from fairprice.broker.port import Broker, Message
from fairprice.errors import TransientError
from fairprice.topology import DEAD_LETTERS

log = structlog.get_logger(__name__)


async def dead_letter(
    broker: Broker, line: bytes, *, reason: str, queue: str, source: Message, back_off: Callable[[], Iterator[float]]
) -> None:
    """Return once the dead letters have accepted the line; headers tell reason, queue and message.

    The caller acknowledges the message that held the line only afterwards, so that it is never lost.
    """
    log.error("invalid line sent to the dead letters", queue=queue, reason=reason, message_id=source.message_id)
    letter = Message(
        body=line,
        type=source.type,
        message_id=f"{source.message_id}/dead",
        app_id=source.app_id,
        timestamp=source.timestamp,
        routing_key=source.routing_key,
        symbols=source.symbols,
        headers={"reason": reason, "origin": queue, "origin_message_id": source.message_id},
    )
    for delay in back_off():
        try:
            await broker.publish(DEAD_LETTERS, letter)
        except TransientError as error:
            log.warning("dead letter unconfirmed, repeating it", error=str(error))
            await asyncio.sleep(delay)
        else:
            return
