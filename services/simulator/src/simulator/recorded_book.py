"""The order book that a recording implies, folded up only when somebody asks for it."""

import logging
from collections import deque
from decimal import Decimal
from typing import Any

import orjson

from simulator.frames import Book, Level

LOG = logging.getLogger(__name__)
MOST_UNFOLDED = 2000
REMEMBERED_DIFFS = 200
"""A recorded snapshot arrives later than it was taken: the diffs in between are applied again."""


class RecordedBook:
    """One symbol's book as of the last event added: unusable until the recording has given a snapshot of it."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._update_id: int | None = None
        self._sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self._unfolded: list[tuple[bool, bytes]] = []
        self._recent: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_DIFFS)

    def add(self, data: bytes, *, is_snapshot: bool) -> None:
        """Takes note of a recorded event; it is decoded when the book is asked for, or when many have collected."""
        self._unfolded.append((is_snapshot, data))
        if len(self._unfolded) >= MOST_UNFOLDED:
            self._fold()

    def book(self) -> Book | None:
        """The whole book after the last event added, or None while there is no snapshot."""
        self._fold()
        if self._update_id is None:
            return None
        bids = sorted(self._sides["b"].items(), key=_price, reverse=True)
        asks = sorted(self._sides["a"].items(), key=_price)
        return Book(self.symbol, self._update_id, bids, asks)

    def _fold(self) -> None:
        for is_snapshot, data in self._unfolded:
            try:
                event = orjson.loads(data)
                if is_snapshot:
                    self._start_from(event)
                else:
                    self._recent.append(event)
                    self._apply(event)
            except (ValueError, KeyError, TypeError) as problem:
                LOG.warning("%s: a recorded event cannot be used for the book, left out: %r", self.symbol, problem)
        self._unfolded.clear()

    def _start_from(self, snapshot: dict[str, Any]) -> None:
        self._sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        self._update_id = snapshot["lastUpdateId"]
        for diff in self._recent:
            self._apply(diff)

    def _apply(self, diff: dict[str, Any]) -> None:
        if self._update_id is None or diff["u"] <= self._update_id:
            return
        for name, levels in self._sides.items():
            for price, quantity in diff[name]:
                if quantity.strip("0.") == "":
                    levels.pop(price, None)
                else:
                    levels[price] = quantity
        self._update_id = diff["u"]


def _price(level: Level) -> Decimal:
    return Decimal(level[0])
