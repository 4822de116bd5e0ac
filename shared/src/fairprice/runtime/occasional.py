"""Log lines about trouble that may repeat thousands of times a second: at most one a key and minute."""

from collections.abc import Hashable

from fairprice.runtime.clock import Clock


class Occasional:
    """Says which of many log lines are due: the first of a key, then one every `interval` seconds.

    `capacity` bounds the keys that are remembered. Beyond it, a new one counts as one of those that are not.
    """

    def __init__(self, clock: Clock, *, interval: float = 60.0, capacity: int = 1000) -> None:
        self._clock = clock
        self._interval = interval
        self._capacity = capacity
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def due(self, key: Hashable) -> int | None:
        """Return how many of this key were suppressed since its last line, or None when this one is to be."""
        now = self._clock.monotonic()
        key = self._known(key, now)
        written, suppressed = self._seen.get(key, (-self._interval, 0))
        if now - written < self._interval:
            self._seen[key] = (written, suppressed + 1)
            return None
        self._seen[key] = (now, 0)
        return suppressed

    def _known(self, key: Hashable, now: float) -> Hashable:
        if key not in self._seen and len(self._seen) >= self._capacity:
            self._seen = {
                each: (written, suppressed)
                for each, (written, suppressed) in self._seen.items()
                if now - written < self._interval
            }
        return key if key in self._seen or len(self._seen) < self._capacity else None
