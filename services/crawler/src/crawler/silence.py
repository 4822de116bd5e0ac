"""Tells a stalled stream from a quiet symbol. Pure: seconds come in."""

USUAL_FACTOR = 20
SMOOTHING = 0.1


class SilenceWatch:
    """Watches when each symbol was last heard on one connection.

    A symbol is silent when nothing came for `timeout` seconds and for 20 times its usual interval. So a thin symbol has
    its long pauses, and one that was never heard is not missed.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._last: dict[str, float] = {}
        self._usual: dict[str, float] = {}

    def heard(self, symbol: str, now: float) -> None:
        """Note that a diff of this symbol came."""
        last = self._last.get(symbol)
        self._last[symbol] = now
        if last is not None:
            usual = self._usual.get(symbol, now - last)
            self._usual[symbol] = usual + SMOOTHING * (now - last - usual)

    def silent(self, now: float) -> list[str]:
        """Return the symbols that have been silent for too long."""
        return [
            symbol
            for symbol, last in self._last.items()
            if now - last > max(self._timeout, USUAL_FACTOR * self._usual.get(symbol, self._timeout))
        ]
