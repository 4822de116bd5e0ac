"""Follows the symbols that the exchange lists: who is new is taken in, who is listed no more is let go."""

from random import Random

import structlog

from crawler.dispatch import Dispatch
from crawler.feeds import Feeds
from crawler.report import Report
from crawler.streams import Streams
from crawler.symbols import Changes, SymbolBoard
from crawler.venues.port import Rest
from fairprice.errors import TransientError
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import Clock

LIST_INTERVAL = 300.0
"""Seconds between two lists of symbols."""

log = structlog.get_logger(__name__)


class Following:
    """Keeps board, feeds and streams to what the exchange lists; lists come from `rest`."""

    def __init__(
        self,
        rest: Rest,
        board: SymbolBoard,
        feeds: Feeds,
        dispatch: Dispatch,
        report: Report,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._rest = rest
        self._board = board
        self._feeds = feeds
        self._dispatch = dispatch
        self._report = report
        self._clock = clock
        self._random = random

    async def begin(self, url: str) -> None:
        """Take the first list as soon as the exchange answers; `url` is its address, for people.

        Raises `StartupError` when nothing on it was meant.
        """
        for failures, delay in enumerate(delays(self._random)):
            try:
                self._board.begin(await self._rest.symbols(), url)
            except TransientError as error:
                if failures == 0:
                    log.warning("cannot reach the exchange, trying until it answers", error=str(error))
                await self._clock.sleep(delay)
            else:
                break
        self._feeds.complete()

    async def rank(self) -> dict[str, int]:
        """Return the place of each symbol, the most traded first; nothing where it hardly matters or cannot be had."""
        if not self._feeds.are_many:
            return {}
        try:
            turnovers = await self._rest.turnovers()
        except TransientError as error:
            log.warning("cannot tell which symbols are traded most, snapshots come in any order", error=str(error))
            return {}
        most_traded = sorted(self._board.followed, key=lambda symbol: turnovers.get(symbol, 0.0), reverse=True)
        return {symbol: place for place, symbol in enumerate(most_traded)}

    async def go_on(self, streams: Streams, interval: float) -> None:
        """Take a list each so many seconds until cancelled."""
        streams.set_quiet(self._board.not_trading())
        while True:
            await self._clock.sleep(interval)
            try:
                changes = self._board.update(await self._rest.symbols())
            except TransientError as error:
                log.warning("cannot list the symbols, what is known of them is kept", error=str(error))
            else:
                self._change(streams, changes)

    def _change(self, streams: Streams, changes: Changes) -> None:
        """Follow the symbols that are new and let others go, without touching the rest."""
        for symbol in changes.removed:
            self._dispatch.end(self._feeds.let_go(symbol))
            self._report.forget(symbol)
        self._feeds.complete()
        if changes.added or changes.removed:
            self._report.count_changes(changes)
            streams.follow(self._board.followed)
        streams.set_quiet(self._board.not_trading())
