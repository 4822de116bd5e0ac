"""cryptofeed's Binance feed on the same diffs, its snapshot taken from the recording instead of the network."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

from benchmarks.bench_book_engine import LEVELS, Engine, Prepared
from benchmarks.recording import SYMBOL, Recording
from benchmarks.rounds import Work

PAIR = "BTC-USDT"
Callback = Callable[[Any, float], Awaitable[None]]


class _Snapshot:
    """Stands in for the connection that cryptofeed fetches its snapshot with."""

    def __init__(self, body: str) -> None:
        self._body = body

    async def read(self, _address: str) -> str:
        return self._body


def works(recording: Recording) -> Prepared:
    """Return cryptofeed's work with an empty callback, and with the best levels taken and dumped as we do.

    Raises `AssertionError` when its best levels are not ours after every diff.
    """
    texts = [frame.decode() for frame in recording.frames]
    _verify(recording, texts)
    return {
        "cryptofeed, empty callback": partial(_prepare, recording, texts, _nothing),
        f"cryptofeed, top {LEVELS} dumped (same work)": partial(_prepare, recording, texts, _dump),
    }


def _prepare(recording: Recording, texts: list[str], callback: Callback) -> Work:
    """The text of a frame is what its own websocket client hands over."""
    Symbols.set(Binance.id, {PAIR: SYMBOL}, {"tick_size": {}, "instrument_type": {PAIR: "spot"}})
    feed = Binance(symbols=[PAIR], channels=[L2_BOOK], callbacks={L2_BOOK: callback}, max_depth=LEVELS)
    feed.http_conn = _Snapshot(recording.snapshot.decode())

    async def handle() -> None:
        for text in texts:
            await feed.message_handler(text, None, 0.0)

    return lambda: asyncio.run(handle())


async def _nothing(_book: Any, _received: float) -> None:
    pass


async def _dump(book: Any, _received: float) -> None:
    orjson.dumps([book.book.bids.to_list(), book.book.asks.to_list()], default=str)


def _verify(recording: Recording, texts: list[str]) -> None:
    books = Engine(recording.snapshot).books(recording.frames)
    compared = 0

    async def compare(book: Any, _received: float) -> None:
        nonlocal compared
        if book.delta is None:  # the snapshot itself
            return
        ours = next(books)
        theirs = (book.sequence_number, book.book.bids.to_list(), book.book.asks.to_list())
        if theirs != (ours.update_id, _numbers(ours.bids), _numbers(ours.asks)):
            raise AssertionError(f"cryptofeed's best levels at {book.sequence_number} are not ours at {ours.update_id}")
        compared += 1

    _prepare(recording, texts, compare)()
    left = sum(1 for _ in books)
    if left or compared < len(texts) * 0.99:
        raise AssertionError(f"only {compared} of {len(texts)} books compared, cryptofeed lacks {left}")


def _numbers(levels: list[list[str]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in levels]
