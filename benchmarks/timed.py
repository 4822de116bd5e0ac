"""`python -m benchmarks.timed SERVICE FILE`: runs a service that also notes when its work was accepted.

Nothing of the service changes; the calls of its two ports are watched. What is noted stays in memory until the service
ends, and goes to the file then: a JSON object a line.
"""

import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.port import Message
from fairprice.topology import BOOKS, PRICES

PUBLISHED = {BOOKS: "confirmed", PRICES: "priced"}
"""What it means that a publish has returned."""

STORED = "stored"
MEASUREMENT = "fair_price"


class Notes:
    """Events with the microsecond at which they had got so far."""

    def __init__(self) -> None:
        self._published: list[tuple[int, str, bytes]] = []
        self._stored: list[tuple[int, Sequence[Any]]] = []

    def watch(self) -> None:
        """Put a clock behind the broker's publish and the store's write."""
        publish = AmqpBroker.publish

        async def timed_publish(broker: AmqpBroker, exchange: str, message: Message) -> None:
            await publish(broker, exchange, message)
            self._published.append((_now(), exchange, message.body))

        AmqpBroker.publish = timed_publish  # type: ignore[assignment,method-assign]

    def watch_store(self) -> None:
        """The store is the storer's alone, and its libraries cost memory elsewhere."""
        from storer.measurements import Point  # noqa: PLC0415
        from storer.stores.influxdb import InfluxStore  # noqa: PLC0415
        from storer.stores.port import Rejection  # noqa: PLC0415

        write = InfluxStore.write

        async def timed_write(store: InfluxStore, points: Sequence[Point]) -> list[Rejection]:
            rejections = await write(store, points)
            self._stored.append((_now(), points))
            return rejections

        InfluxStore.write = timed_write  # type: ignore[assignment,method-assign]

    def lines(self) -> Iterator[bytes]:
        """Yield what was noted."""
        for time_us, exchange, body in self._published:
            for event in map(orjson.loads, body.split(b"\n")):
                if event["type"] in {"book", "price"}:
                    yield _note(
                        PUBLISHED[exchange], event["symbol"], event["update_id"], time_us, event["received_time"]
                    )
        for time_us, points in self._stored:
            for point in points:
                if point.measurement == MEASUREMENT:
                    yield _note(STORED, point.symbol, point.fields["update_id"], time_us)


def main() -> int:
    """Be the service, to the end."""
    service, file = sys.argv[1:]
    sys.argv[1:] = []
    notes = Notes()
    notes.watch()
    if service == "storer":
        notes.watch_store()
    exit_code: int = importlib.import_module(f"{service}.__main__").main()
    with Path(file).open("wb") as output:
        output.writelines(notes.lines())
    return exit_code


def _now() -> int:
    return time.time_ns() // 1000


def _note(step: str, symbol: str, update_id: object, time_us: int, received: int | None = None) -> bytes:
    return orjson.dumps({"step": step, "symbol": symbol, "id": update_id, "time": time_us, "frame": received}) + b"\n"


if __name__ == "__main__":
    sys.exit(main())
