"""Answers about the past: bars of a period from the store, and how far each of them can be trusted.

The store may be slow or away, and many may ask: each question has seconds, the same question of several is asked once,
and only few wait. None of it touches what is live.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from fairprice.errors import StoreUnavailable
from fairprice.runtime.clock import Clock, timeout
from fairprice.runtime.occasional import Occasional
from gateway.key import Key
from gateway.period import Period
from gateway.stored.bars import joined
from gateway.stored.port import MINUTE, MOST_TICKS, Bar, History
from gateway.verdicts import Judged, judged

PATIENCE = 5.0
"""Seconds that a question may take, from its arrival on."""

AT_ONCE = 2
"""Questions that the store is asked at the same time."""

MOST_WAITING = 32
"""Different questions that may wait for their turn."""

log = structlog.get_logger(__name__)


class Busy(Exception):
    """So many ask that nobody else may."""


class Past:
    """Asks a history on behalf of all who look at it; closes it in the end."""

    def __init__(self, history: History, clock: Clock, *, patience: float = PATIENCE) -> None:
        self._history = history
        self._clock = clock
        self._patience = patience
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._failures = Occasional(clock)
        self._asked: dict[tuple[Any, ...], asyncio.Task[Any]] = {}

    async def keys(self) -> list[Key]:
        """Return the symbols that have prices; raises what `answer` does."""
        found: list[Key] = await self._once(("keys",))
        return found

    async def newest(self, key: Key) -> int | None:
        """Return the time of a symbol's newest price; raises what `answer` does."""
        found: int | None = await self._once(("newest", key))
        return found

    async def answer(self, key: Key, period: Period) -> dict[str, Any]:
        """Return the bars of a period by column, their verdicts and the gaps.

        Raises `StoreUnavailable`, `TimeoutError` or `Busy`.
        """
        found: dict[str, Any] = await self._once(("answer", key, period))
        return found

    async def closes(self, start: int, stop: int) -> dict[Key, float]:
        """Return of each symbol the close of its newest bar in a period; raises what `answer` does."""
        found: dict[Key, float] = await self._once(("closes", start, stop))
        return found

    async def aclose(self) -> None:
        """Give up what is asked and let the history go."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._history.close()

    async def _once(self, question: tuple[Any, ...]) -> Any:
        task = self._asked.get(question)
        if task is None:
            if len(self._asked) >= MOST_WAITING:
                raise Busy
            task = self._asked[question] = asyncio.create_task(self._ask(*question))
            task.add_done_callback(lambda done: self._forget(question, done))
        return await asyncio.shield(task)

    def _forget(self, question: tuple[Any, ...], done: asyncio.Task[Any]) -> None:
        del self._asked[question]
        if not done.cancelled():
            done.exception()  # whoever asked may have gone

    async def _ask(self, what: str, *about: Any) -> Any:
        try:
            async with timeout(self._clock, self._patience), self._turn:
                if what == "answer":
                    return await self._answer(*about)
                return await getattr(self._history, what)(*about)
        except (StoreUnavailable, TimeoutError) as error:
            if self._failures.due("") is not None:
                log.warning(
                    "the past cannot be read from the store; live prices are not affected",
                    error=str(error) or f"no answer within {self._patience:g} s",
                )
            raise

    async def _answer(self, key: Key, period: Period) -> dict[str, Any]:
        async with _first_failure(), asyncio.TaskGroup() as tasks:
            of_bars = tasks.create_task(self._bars(key, period))
            of_compared = tasks.create_task(
                self._history.compared(key, period.start // MINUTE * MINUTE, period.stop, max(period.step, MINUTE))
            )
            of_gaps = tasks.create_task(self._history.gaps(key, period.start, period.stop))
        (older, bars), compared, gaps = of_bars.result(), of_compared.result(), of_gaps.result()
        step = period.step if bars else MINUTE
        said = [
            *judged(older, MINUTE, period.newest, compared, gaps),
            *judged(bars, step, period.newest, compared, gaps),
        ]
        return {
            **key._asdict(),
            "from": period.start,
            "to": period.stop,
            "step": step,
            **_columns(Bar._fields, [*older, *bars]),
            **_columns(Judged._fields, said),
            "gaps": [gap._asdict() for gap in gaps],
            **await self._without_bars(key, period, bars),
        }

    async def _without_bars(self, key: Key, period: Period, bars: list[Bar]) -> dict[str, str]:
        """Return a note where nothing older is shown since the store has no bars, as one of an older layout."""
        begin = (period.newest + MINUTE - MOST_TICKS) // period.step * period.step
        may_lack = period.step >= MINUTE and period.start < begin and bars and bars[0].time >= begin
        if not may_lack or await self._history.newest_minute(key, period.stop) is not None:
            return {}
        return {"note": "the store has no bars of a minute yet, so only its newest two hours are shown"}

    async def _bars(self, key: Key, period: Period) -> tuple[list[Bar], list[Bar]]:
        """Return the bars of the period, and before them those of a minute for what is not kept any more as prices."""
        start, stop, step, newest = period
        if step >= MINUTE:
            bars = await self._history.minutes(key, start, stop, step)
            return [], joined(bars, await self._newest_minutes(key, start, min(stop, newest + MINUTE)), step)
        bars = await self._history.ticks(key, start, stop, step)
        begin = bars[0].time // MINUTE * MINUTE if bars else stop
        if begin - start < MINUTE:
            return [], bars
        return await self._history.minutes(key, start // MINUTE * MINUTE, begin, MINUTE), bars

    async def _newest_minutes(self, key: Key, start: int, stop: int) -> list[Bar]:
        """Return the minutes at the end of which there are no stored bars yet."""
        newest = await self._history.newest_minute(key, stop)
        begin = max(start, stop - MOST_TICKS, 0 if newest is None else newest + MINUTE)
        return await self._history.ticks(key, begin, stop, MINUTE) if begin < stop else []


def nothing(key: Key) -> dict[str, Any]:
    """Return the answer about a symbol of which the store has no price yet."""
    names = (*Bar._fields, *Judged._fields, "gaps")
    note = f"the store has no price of {key} yet"
    return {**key._asdict(), **dict.fromkeys(("from", "to", "step")), **{name: [] for name in names}, "note": note}


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return dict(zip(names, columns, strict=True))


@asynccontextmanager
async def _first_failure() -> AsyncIterator[None]:
    """Raise, of what the tasks of a group have raised, the first alone."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
