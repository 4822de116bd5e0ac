"""`python -m benchmarks.store_worker ROLE KIND COUNT`: makes a backlog for the storer, or writes ready lines."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvloop

from benchmarks.events import books, prices
from benchmarks.hop_worker import publish_events
from benchmarks.processes import measured
from fairprice.messages import BOOKS_TYPE, PRICES_TYPE, Book, Event, Price
from fairprice.store_address import InfluxAddress
from fairprice.topology import BOOKS, PRICES
from storer.line_protocol import encode
from storer.measurements import fair_price_point, order_book_point
from storer.settings import StorerSettings

LEVELS = 20
LINES = {PRICES: 5000, BOOKS: 2000}
"""In one request; more at a time are no faster."""

TYPES = {PRICES: PRICES_TYPE, BOOKS: BOOKS_TYPE}
MADE: dict[str, Callable[[int], Sequence[Event]]] = {PRICES: prices, BOOKS: books}


async def backlog(kind: str, count: int) -> None:
    """Publish so many events in full messages."""
    await publish_events(kind, TYPES[kind], MADE[kind](count))


async def raw(kind: str, count: int) -> None:
    """Write lines that are ready, one request after the other on one connection."""
    lines = [_line(event) for event in MADE[kind](count)]
    bodies = [b"\n".join(lines[start : start + LINES[kind]]) for start in range(0, count, LINES[kind])]
    async with raw_writes() as write:
        with measured():
            for body in bodies:
                await write(body)


@asynccontextmanager
async def raw_writes() -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """Yield what writes lines to the bucket of `FAIRPRICE_STORE_URL`, and raises unless they are stored."""
    settings = StorerSettings.load(os.environ)
    store = settings.store_url
    assert isinstance(store, InfluxAddress)
    query = {"org": store.org, "bucket": store.bucket, "precision": "us"}
    headers = {"Authorization": f"Token {settings.store_token.get_secret_value()}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def write(body: bytes) -> None:
            async with session.post(f"{store.url}/api/v2/write", params=query, data=body) as answer:
                if answer.status != 204:
                    raise AssertionError(await answer.text())

        yield write


def _line(event: Event) -> bytes:
    if isinstance(event, Book):
        return encode(order_book_point(event, LEVELS))
    assert isinstance(event, Price)
    return encode(fair_price_point(event))


ROLES: dict[str, Callable[[str, int], Coroutine[Any, Any, None]]] = {"backlog": backlog, "raw": raw}


def main() -> None:
    role, kind, count = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ROLES[role](kind, int(count)))


if __name__ == "__main__":
    main()
