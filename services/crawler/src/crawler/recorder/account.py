"""Keeps account of what the books lack that are made of a recording while it is written."""

from collections.abc import Callable

from crawler.recorder.files import RecordingFiles
from fairprice.messages import Audit, Event, Gap


class Account:
    """Takes a crawler's events in a broker's place: gaps and comparisons are noted in the files' index.

    Books are not kept, they can be made again. `begin_file` writes what a file needs to stand alone.
    """

    def __init__(self, files: RecordingFiles, begin_file: Callable[[], None]) -> None:
        self.gaps = 0
        self.wrong = 0
        self._files = files
        self._begin_file = begin_file

    def __len__(self) -> int:
        """See `Outgoing`: nothing has to be confirmed."""
        return 0

    def __bool__(self) -> bool:
        """Return that it is there, empty or not."""
        return True

    @property
    def is_full(self) -> bool:
        """See `Outgoing.is_full`."""
        return self._files.is_full

    async def room(self) -> None:
        """See `Outgoing.room`."""
        await self._files.room()

    def put(self, event: Event) -> None:
        """See `Outgoing.put`."""
        if isinstance(event, Gap):
            self.gaps += 1
            self._files.index.note_gap(event)
        elif isinstance(event, Audit):
            self.wrong += event.wrong + event.levels_wrong
            self._files.index.note_audit(event)

    async def run(self) -> None:
        """See `Outgoing.run`."""
        await self._files.run(self._begin_file)

    async def drain(self) -> None:
        """See `Outgoing.drain`."""
        await self._files.end()
