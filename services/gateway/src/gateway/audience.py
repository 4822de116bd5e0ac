"""Who listens on websockets, and what each of them still has to be sent.

A listener that does not keep up loses its oldest messages and is told how many; nobody else notices.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

MAX_LISTENERS = 200
BACKLOG = 2000
"""Frames that wait for one listener at most; the welcome of 500 symbols takes 1,500."""


class Listener:
    """One websocket's wishes (`symbols`: None means all) and its bounded backlog of text frames."""

    def __init__(self, symbols: frozenset[str] | None, *, books: bool) -> None:
        self.symbols = symbols
        self.books = books
        self.closing = False
        self.dropped = 0
        self._untold = 0
        self._backlog: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def wants(self, symbol: str) -> bool:
        """Return whether it listens to this symbol."""
        return self.symbols is None or symbol in self.symbols

    def offer(self, frame: bytes) -> None:
        """Add a frame; a full backlog loses its oldest one."""
        if len(self._backlog) >= BACKLOG:
            self._backlog.popleft()
            self.dropped += 1
            self._untold += 1
        self._backlog.append(frame)
        self._filled.set()

    def close(self) -> None:
        """Ask for the end, at once."""
        self.closing = True
        self._filled.set()

    async def next(self) -> bytes | None:
        """Wait for and return the next frame, which may tell of dropped ones; None at the end."""
        while not (self._backlog or self.closing):
            self._filled.clear()
            await self._filled.wait()
        if self.closing:
            return None
        if self._untold:
            count, self._untold = self._untold, 0
            return orjson.dumps({"type": "dropped", "count": count})
        return self._backlog.popleft()


class Audience:
    """All listeners, at most `limit`."""

    def __init__(self, limit: int = MAX_LISTENERS) -> None:
        self._limit = limit
        self._listeners: set[Listener] = set()
        self._dropped_by_gone = 0

    def __len__(self) -> int:
        """Return the number of listeners; nothing needs to be prepared for none."""
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        """Return whether nobody more may join."""
        return len(self._listeners) >= self._limit

    @property
    def wants_books(self) -> bool:
        """Return whether anybody listens to books."""
        return any(listener.books for listener in self._listeners)

    @property
    def dropped(self) -> int:
        """Return the number of frames that listeners, present and gone, have lost."""
        return self._dropped_by_gone + sum(listener.dropped for listener in self._listeners)

    @contextmanager
    def joined(self, listener: Listener) -> Iterator[Listener]:
        """Let it listen while the context lasts."""
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._dropped_by_gone += listener.dropped

    def tell(self, symbol: str, frame: bytes, *, is_book: bool = False) -> None:
        """Offer a frame to all who want it; never waits."""
        for listener in self._listeners:
            if listener.wants(symbol) and (listener.books or not is_book):
                listener.offer(frame)

    def close(self) -> None:
        """Ask every listener to leave."""
        for listener in self._listeners:
            listener.close()
