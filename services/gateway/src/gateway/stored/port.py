"""What the gateway asks of a store. All times are microseconds since the epoch, periods are [start, stop)."""

from typing import NamedTuple, Protocol

from gateway.key import Key

MINUTE = 60_000_000
"""Microseconds that a stored bar is long."""

MOST_TICKS = 2 * 60 * MINUTE
"""So much of the prices themselves is read at most; what is longer, or older, is read as bars."""

MOST_GAPS = 500
"""Gaps in an answer, the newest."""

LONGEST_GAP = 7 * 24 * 60 * MINUTE
"""A gap that began longer before a period than this is not looked for."""


class Bar(NamedTuple):
    """The trusted prices of a time that begins at `time`; the spread is their mean, in quote currency.

    `prices` is how many there are, `minutes` how many minutes of it have any.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    spread: float | None
    prices: int
    minutes: int = 1


class Compared(NamedTuple):
    """How many minutes of a time that begins at `time` were compared with the exchange, and what was wrong in them."""

    time: int
    minutes: int
    wrong: int


class StoredGap(NamedTuple):
    """What the exchange sent and no row has: `open_ids` of its updates are missing."""

    from_time: int
    to_time: int
    from_update_id: int
    to_update_id: int
    reason: str
    open_ids: int


class History(Protocol):
    """A look at what a store keeps.

    Every call may be cancelled, and raises `StoreUnavailable` that says in words why there is no answer. What is not
    there (a table, a symbol) is no error: nothing, or None. The caller bounds periods and steps.
    """

    async def keys(self) -> list[Key]:
        """Return the symbols that have prices, in order."""

    async def newest(self, key: Key) -> int | None:
        """Return the time of a symbol's newest price, None where it has none."""

    async def ticks(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """Return the bars of `step` microseconds that a symbol's prices make, those that have any, in order."""

    async def minutes(self, key: Key, start: int, stop: int, step: int) -> list[Bar]:
        """Return the same from the stored bars of a minute; `step` is whole minutes."""

    async def newest_minute(self, key: Key, before: int) -> int | None:
        """Return the time of a symbol's newest stored bar before a time, None where there is none."""

    async def closes(self, start: int, stop: int) -> dict[Key, float]:
        """Return of each symbol with stored bars in a period of some minutes the close of the newest one."""

    async def compared(self, key: Key, start: int, stop: int, step: int) -> list[Compared]:
        """Return what is known of the steps in which minutes were compared, in order; `step` is whole minutes."""

    async def gaps(self, key: Key, start: int, stop: int) -> list[StoredGap]:
        """Return the open gaps that reach into the period, in order of time, the newest `MOST_GAPS` of them."""

    async def close(self) -> None:
        """Let the store go."""
