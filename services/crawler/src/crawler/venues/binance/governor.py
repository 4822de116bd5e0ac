"""The request weight that the exchange allows a minute, kept by asking before each request. Pure: seconds come in.

Source: rest-api.md, "LIMITS": 6000 a minute and IP, told back in `X-MBX-USED-WEIGHT-1M`; 429 and 418 carry the seconds
to wait in `Retry-After`.
"""

from collections import deque

WINDOW = 60.0
SHARE = 0.8
"""Part of the limit that is used: other programs may share the address."""


class Governor:
    """Says how long a request has to wait; one for all requests of a process."""

    def __init__(self, limit: int = 6000) -> None:
        self._allowed = limit * SHARE
        self._spent: deque[tuple[float, int]] = deque()
        self._blocked_until = 0.0
        self.reported_weight = 0

    def delay(self, weight: int, now: float) -> float:
        """Return the seconds until a request of this weight may go; 0 takes the weight."""
        if now < self._blocked_until:
            return self._blocked_until - now
        while self._spent and self._spent[0][0] <= now - WINDOW:
            self._spent.popleft()
        used = max(sum(spent for _, spent in self._spent), self.reported_weight if self._spent else 0)
        if self._spent and used + weight > self._allowed:
            return self._spent[0][0] + WINDOW - now
        self._spent.append((now, weight))
        return 0.0

    def report(self, used_weight: int) -> None:
        """Take the weight used in the current minute, as the exchange counts it."""
        self.reported_weight = used_weight

    def block(self, seconds: float, now: float) -> None:
        """Let nothing go for so many seconds, because the exchange said so."""
        self._blocked_until = max(self._blocked_until, now + seconds)
