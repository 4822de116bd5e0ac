"""Sends invalid lines to the dead letters, one message each, so that their neighbours can go on."""

import hashlib

import structlog

from fairprice.broker.port import Broker, Message
from fairprice.broker.retry import BackOff, publish_until_confirmed
from fairprice.runtime.clock import Clock
from fairprice.topology import DEAD_LETTERS

log = structlog.get_logger(__name__)


async def dead_letter(
    broker: Broker, line: bytes, *, reason: str, queue: str, source: Message, back_off: BackOff, clock: Clock
) -> None:
    """Return once the dead letters have accepted the line; headers name reason, queue and message.

    The caller acknowledges the message that held the line only afterwards, so that it is never lost.
    """
    log.error("invalid line sent to the dead letters", queue=queue, reason=reason, message_id=source.message_id)
    letter = Message(
        body=line,
        type=source.type,
        message_id=f"{source.message_id}/dead/{hashlib.sha256(line).hexdigest()[:16]}",
        app_id=source.app_id,
        timestamp=source.timestamp,
        routing_key=source.routing_key,
        symbols=source.symbols,
        headers={"reason": reason, "origin": queue, "origin_message_id": source.message_id},
    )
    await publish_until_confirmed(broker, DEAD_LETTERS, letter, back_off, clock)
