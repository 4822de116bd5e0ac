"""Messages in the form of AMQP: which property and which header carries what."""

from datetime import UTC, datetime

from fairprice.broker.aiormq_channel import Delivered, Properties
from fairprice.broker.port import Message
from fairprice.messages import CONTENT_TYPE

PERSISTENT = 2
TRANSIENT = 1
SYMBOLS = "symbols"
MICROSECONDS = "timestamp_us"
"""Header with the whole time: the property of AMQP has only its seconds."""

YEAR_10000 = 253_402_300_800_000_000
"""The first microsecond that no `datetime` has."""


def to_amqp(message: Message, delivery_mode: int = PERSISTENT) -> Properties:
    """Return the properties that carry everything but body and routing key; `from_amqp` is the way back."""
    return Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=delivery_mode,
        message_type=message.type,
        message_id=message.message_id,
        app_id=message.app_id,
        timestamp=datetime.fromtimestamp(message.timestamp // 1_000_000, UTC),
        headers={**message.headers, SYMBOLS: list(message.symbols), MICROSECONDS: message.timestamp},
    )


def from_amqp(delivered: Delivered) -> Message:
    """Read anybody's message: what it lacks is empty, and headers that are no text are the broker's own."""
    properties = delivered.header.properties
    headers = dict(properties.headers or {})
    symbols, timestamp = headers.pop(SYMBOLS, None), headers.pop(MICROSECONDS, None)
    return Message(
        body=delivered.body,
        type=properties.message_type or "",
        message_id=properties.message_id or "",
        app_id=properties.app_id or "",
        timestamp=timestamp if isinstance(timestamp, int) and 0 <= timestamp < YEAR_10000 else 0,
        routing_key=delivered.routing_key or "",
        symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
        headers={name: value for name, value in headers.items() if isinstance(value, str)},
    )
