"""So much in a window of time, kept by asking before each use: weight, attempts to connect. Pure: seconds come in."""

from collections import deque

MARGIN = 0.8
"""Part of a limit that is used, since other programs may share the address."""


class Allowance:
    """Says how long a use has to wait; one for all uses of a process.

    `limit` is what the exchange allows an address in `window` seconds, `share` the part of it that is this process's.
    """

    def __init__(self, limit: float, *, share: float = 1.0, window: float = 60.0, margin: float = MARGIN) -> None:
        self._share = share * margin
        self._window = window
        self._used: deque[tuple[float, float]] = deque()
        self.limit = limit

    @property
    def allowed(self) -> float:
        """What may be used in a window."""
        return self.limit * self._share

    def delay(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be used; 0 takes it."""
        wait = self.wait(amount, now)
        if not wait:
            self.take(amount, now)
        return wait

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be used, without taking it.

        What is more than the whole allowance goes alone.
        """
        while self._used and self._used[0][0] + self._window <= now:  # as below, or a rounded 0 would let all go
            self._used.popleft()
        if self._used and sum(used for _, used in self._used) + amount > self.allowed:
            return self._used[0][0] + self._window - now
        return 0.0

    def take(self, amount: float, now: float) -> None:
        """Note that so much is used."""
        self._used.append((now, amount))
