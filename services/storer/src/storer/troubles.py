"""What keeps the store from taking the points of a queue, logged once for each outage and reason."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from fairprice.errors import StoreUnavailable

MOST_REASONS = 10
"""Reasons that are logged during one outage; a text that never repeats would fill the log."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Outage:
    """A series of failures of one queue without a success in between."""

    reason: str = ""
    failures: int = 0
    reported: set[str] = field(default_factory=set)


class Troubles:
    """The outages of these queues: large batches may fail while small ones pass, so each queue has its own."""

    def __init__(self, *queues: str) -> None:
        self._queues = queues
        self._outages: dict[str, _Outage] = {}

    def note_failure(self, queue: str, error: StoreUnavailable) -> None:
        """Note that the store did not take a batch of the queue, and report a reason that was not reported before."""
        outage = self._outages.setdefault(queue, _Outage())
        outage.reason = str(error)
        outage.failures += 1
        if outage.reason not in outage.reported and len(outage.reported) < MOST_REASONS:
            outage.reported.add(outage.reason)
            log.error("the store takes nothing; keeping what came and trying again", queue=queue, error=outage.reason)

    def note_success(self, queue: str) -> None:
        """Note that the store took a batch of the queue, and report the end of an outage."""
        if outage := self._outages.pop(queue, None):
            log.info("the store works again", queue=queue, failures=outage.failures)

    def problem(self) -> str | None:
        """Describe which queues the store takes nothing of at present, and why; None while it takes all."""
        reasons = [f"{queue}: {self._outages[queue].reason}" for queue in self._queues if queue in self._outages]
        return "; ".join(reasons) or None

    def by_queue(self) -> Iterator[tuple[str, bool]]:
        """Yield each queue, and whether it is in trouble."""
        return ((queue, queue in self._outages) for queue in self._queues)
