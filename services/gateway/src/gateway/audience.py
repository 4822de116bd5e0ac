"""Who listens on websockets, and what each of them still has to be sent.

A listener that does not keep up loses its oldest messages and is told how many; nobody else notices.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import orjson

from gateway.key import Key

MAX_LISTENERS = 200
BACKLOG = 2000
"""Frames that wait for one listener at most; the welcome of 500 symbols takes 1,500."""


class Listener:
    """One websocket's wishes and its backlog of text frames, at most `backlog`.

    `wishes` are symbols at a venue or, without one, at every venue; None means all. `extras` are types of frames that
    only those get who ask for them.
    """

    def __init__(self, wishes: frozenset[Key] | None, *, extras: Iterable[str] = (), backlog: int = BACKLOG) -> None:
        self.wishes = wishes
        self.extras = frozenset(extras)
        self.closing = False
        self.dropped = 0
        self._unreported = 0
        self._most = backlog
        self._backlog: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def wants(self, key: Key) -> bool:
        """Return whether it listens to this symbol."""
        return self.wishes is None or key in self.wishes or Key("", key.symbol) in self.wishes

    def offer(self, frame: bytes) -> None:
        """Add a frame; a full backlog loses its oldest one."""
        if len(self._backlog) >= self._most:
            self._backlog.popleft()
            self.dropped += 1
            self._unreported += 1
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
        if self._unreported:
            count, self._unreported = self._unreported, 0
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

    def wants(self, key: Key, extra: str) -> bool:
        """Return whether anybody wants frames of this type about a symbol."""
        return any(extra in listener.extras and listener.wants(key) for listener in self._listeners)

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

    def send(self, key: Key, frame: bytes, *, extra: str = "") -> None:
        """Offer a frame to all who want it, one of the type `extra` to those who asked for such; never waits."""
        for listener in self._listeners:
            if listener.wants(key) and (not extra or extra in listener.extras):
                listener.offer(frame)

    def send_to_all(self, frame: bytes) -> None:
        """Offer a frame that is about no symbol to everybody; never waits."""
        for listener in self._listeners:
            listener.offer(frame)

    def close(self) -> None:
        """Ask every listener to leave."""
        for listener in self._listeners:
            listener.close()
