"""Looks after groups of connections: which lag behind others, and what nobody hears, asked for by REST."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from crawler.group import Group
from crawler.liveness import SilenceWatch
from crawler.stream_events import Suspected
from fairprice.errors import InvalidError, TransientError
from fairprice.runtime.clock import Clock

WATCH_INTERVAL = 0.5
LAG = "lag"
"""Why a connection is due that does not bring what another one does."""
WITHOUT_PROBE = 6
"""Times the silence timeout, after which symbols that nobody can ask about make their connections due."""
LONGEST_WITHOUT_PROBE = 86400.0

Probe = Callable[[str], Awaitable[int | None]]
"""Asks REST for the newest update id of a symbol; None when it cannot be asked now."""

log = structlog.get_logger(__name__)


def silence_watch(symbols: Iterable[str], silence_timeout: float, *, has_probe: bool) -> SilenceWatch:
    """Return the watch of a group's symbols, more patient where nobody can be asked."""
    if has_probe:
        return SilenceWatch(symbols, silence_timeout)
    return SilenceWatch(symbols, silence_timeout * WITHOUT_PROBE, longest=LONGEST_WITHOUT_PROBE)


class StallWatch:
    """Makes connections due that do not bring what there is.

    `probe` proves a stall; without one a long silence is enough. `suspect` takes the symbols of which updates may have
    been missed. At most `probes_at_once` questions are under way.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        probe: Probe | None,
        *,
        suspect: Callable[[Suspected], None],
        clock: Clock,
        probes_at_once: int,
    ) -> None:
        self._groups = groups
        self._probe = probe
        self._suspect = suspect
        self._clock = clock
        self._probes_at_once = probes_at_once
        self._probes = 0
        self.quiet: frozenset[str] = frozenset()
        """Symbols that do not trade now: nobody misses them."""

    async def run(self, is_paused: Callable[[], bool]) -> None:
        """Look after the groups until cancelled, but for the time in which nothing is read."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await self._clock.sleep(WATCH_INTERVAL)
                if not is_paused():
                    for group in self._groups:
                        self._watch(group, self._clock.monotonic())

    def _watch(self, group: Group, now: float) -> None:
        if not group.complete:
            group.silence.restart(now)
            return
        self._find_lag(group, now)
        self._find_stall(group, now)
        unheard = [symbol for symbol in group.silence.unheard(group.newest, now) if symbol not in self.quiet]
        if self._probe:
            for symbol in unheard[: self._probes_at_once - self._probes]:
                self._probes += 1
                group.silence.note_question(symbol)
                self._tasks.create_task(self._ask(self._probe, group, symbol))
        elif unheard:
            log.warning("nobody hears symbols, opening successors", symbols=unheard[:10])
            group.silence.lengthen(unheard, now)
            group.silence.restart(now)
            group.renew("silence")

    def _find_lag(self, group: Group, now: float) -> None:
        for link, symbols in group.lagging(now).items():
            log.warning("a connection misses what another one brings, opening its successor", symbols=symbols[:10])
            link.make_due(LAG)

    def _find_stall(self, group: Group, now: float) -> None:
        if stalled := group.silence.stalled(group.newest, now):
            log.warning("no connection brings what REST has, opening successors", symbols=stalled[:10])
            self._suspect(Suspected(tuple(stalled), "stall"))
            group.silence.restart(now)
            group.renew("stall")

    async def _ask(self, probe: Probe, group: Group, symbol: str) -> None:
        update_id = None
        try:
            update_id = await probe(symbol)
        except (TransientError, InvalidError) as error:
            log.debug("cannot ask for the newest update id", symbol=symbol, error=str(error))
        finally:
            self._probes -= 1
        group.silence.note_answer(symbol, update_id, group.newest.get(symbol), self._clock.monotonic())
