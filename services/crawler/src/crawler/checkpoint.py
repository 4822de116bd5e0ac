"""Where each symbol stands at the broker, and in a file, so that the next run knows what it has missed."""

import asyncio
from collections.abc import Mapping

import structlog

from crawler.book.publication import Confirmed
from crawler.state import StateFile
from fairprice.broker.outbox import Sent
from fairprice.messages import Book, Gap

log = structlog.get_logger(__name__)


class Checkpoint:
    """The last confirmed id of each symbol; begins with what the file holds, with `confirmed` where there is none."""

    def __init__(self, file: StateFile | None, confirmed: Mapping[str, Confirmed]) -> None:
        self._file = file
        self._confirmed = file.load() if file else dict(confirmed)
        if file and not self._confirmed:
            log.info(
                "no earlier run is known; what was missed since one, the stored rows tell", folder=str(file.path.parent)
            )
        self._saving = asyncio.Lock()
        self._is_saved = True

    @property
    def is_kept(self) -> bool:
        """Whether the next run will know: then a symbol of which nothing is known may have been followed before."""
        return self._file is not None

    def of(self, symbol: str) -> Confirmed | None:
        """Return where a symbol stands, None if nothing is known of it."""
        return self._confirmed.get(symbol)

    def confirm(self, events: list[Sent]) -> None:
        """Take note of what the broker has."""
        for event in events:
            if event.kind in {Book, Gap}:
                self._confirmed[event.symbol] = Confirmed(event.update_id, event.event_time)

    async def save(self) -> None:
        """Write the file; a caller that is cancelled meanwhile does not leave it half done beside the next one."""
        if self._file:
            await asyncio.shield(self._save(self._file))

    async def end(self) -> None:
        """Save, also when there is no time for anything else, and let another have the file."""
        if self._file:
            await self.save()
            self._file.release()

    async def _save(self, file: StateFile) -> None:
        async with self._saving:
            try:
                await asyncio.to_thread(file.save, dict(self._confirmed))
                self._is_saved = True
            except OSError as error:
                if self._is_saved:
                    log.warning(
                        "cannot save the confirmed ids, a restart would record too long a gap", error=str(error)
                    )
                self._is_saved = False
