"""The request weight that the exchange allows a minute. Pure: seconds come in.

Source: rest-api.md, "LIMITS": so much a minute and address, told back in `X-MBX-USED-WEIGHT-1M`; 429 and 418 carry the
seconds to wait in `Retry-After`.
"""

from crawler.allowance import MARGIN, Allowance

WINDOW = 60.0
QUESTIONS = 0.05
"""Part of the weight that may be used to ask whether a silent stream has missed something."""


class RequestWeight:
    """Says how long a request has to wait; one for all requests of a process.

    `limit` is the exchange's for an address, `share` the part of it that is this process's.
    """

    def __init__(self, limit: int, *, share: float = 1.0) -> None:
        self._own = Allowance(limit, share=share, window=WINDOW)
        self._questions = Allowance(limit, share=share * QUESTIONS, window=WINDOW)
        self._reported_time = -WINDOW
        self._blocked_until = 0.0
        self.reported = 0

    @property
    def limit(self) -> float:
        """The exchange's limit a minute and address."""
        return self._own.limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self._own.limit = self._questions.limit = limit

    def delay(self, weight: int, now: float) -> float:
        """Return the seconds until a request of this weight may go; 0 takes the weight."""
        wait = self._wait(weight, now)
        if not wait:
            self._own.take(weight, now)
        return wait

    def take_question(self, weight: int, now: float) -> bool:
        """Take the weight of a question about a silent symbol; return False where it would have to wait."""
        if self._wait(weight, now) or self._questions.delay(weight, now):
            return False
        self._own.take(weight, now)
        return True

    def report(self, used_weight: int, now: float) -> None:
        """Take the weight used in the current minute by all of the address, as the exchange counts it."""
        self.reported = used_weight
        self._reported_time = now

    def block(self, seconds: float, now: float) -> None:
        """Let nothing go for so many seconds, because the exchange said so."""
        self._blocked_until = max(self._blocked_until, now + seconds)

    def _wait(self, weight: int, now: float) -> float:
        if now < self._blocked_until:
            return self._blocked_until - now
        report_ends = self._reported_time + WINDOW
        if now < report_ends and self.reported + weight > self.limit * MARGIN:
            return report_ends - now
        return self._own.wait(weight, now)
