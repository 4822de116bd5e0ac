"""What is worked out again and again from the rows of the store, beside the storing."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random

import structlog

from fairprice.errors import StoreUnavailable
from fairprice.runtime.clock import Clock
from fairprice.runtime.metrics import Sample
from fairprice.runtime.occasional import Occasional

INTERVAL = 30.0
"""Seconds between two rounds."""

JITTER = 0.1
"""By this part more or less, so that several storers do not read at the same moment."""

Work = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Rounds:
    """How many rounds could not be done."""

    failures: int = 0

    async def run(self, *works: Work, clock: Clock, random: Random) -> None:
        """Do these until cancelled; a store that cannot be read or written is told and tried again."""
        occasional = Occasional(clock)
        while True:
            await clock.sleep(INTERVAL * random.uniform(1 - JITTER, 1 + JITTER))
            try:
                for work in works:
                    await work()
            except StoreUnavailable as error:
                self.failures += 1
                if occasional.due("") is not None:
                    log.warning("gaps and bases cannot be told from the rows now; storing goes on", error=str(error))

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics."""
        yield "storer_settlement_failures_total", (), self.failures
