"""Tells a dead stream from a quiet market. Pure: seconds and update ids come in.

A dead link is the business of pings; what is here speaks of symbols. Two things are proof: that another connection
brought what this one did not, and that REST knows an update id that no connection brought.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

LONGEST_PAUSE = 600.0
"""Seconds after which a quiet symbol is asked for again at the latest."""
REACH_TIMEOUT = 2.0
"""Seconds within which a stream has to bring the update id that REST told."""


class Newest(NamedTuple):
    """The newest update id of a symbol that any connection brought, and the monotonic second at which it came."""

    update_id: int
    time: float


class Merged:
    """The last update id taken of each symbol, so that what another connection has brought already is recognised.

    The exchange may restart its ids: after more than `tolerance` repeats in a row, the first of them `seconds` ago,
    older ids are taken again, and the last one follows them. The seconds tell that from the burst of a connection that
    is behind. What is missing behind the last one taken is no repeat when it comes late.
    """

    def __init__(self, tolerance: int = 20, seconds: float = 2.0) -> None:
        self._tolerance = tolerance
        self._seconds = seconds
        self._last: dict[str, int] = {}
        self._repeats: dict[str, tuple[int, float]] = {}
        self._holes: dict[str, tuple[int, int]] = {}

    def is_newer(self, symbol: str, update_id: int) -> bool:
        """Take an id of which nothing can be missing before it, if it is newer than the last one; return whether it is.

        Called for each ticker of each connection, so it makes as little as it can.
        """
        if update_id <= self._last.get(symbol, update_id):
            return False
        self._last[symbol] = update_id
        if self._repeats:
            self._repeats.pop(symbol, None)
        return True

    def is_repeat(self, symbol: str, update_id: int, now: float) -> bool:
        """Return whether this id was taken before."""
        last = self._last.get(symbol)
        if last is None or update_id > last or self._is_missing(symbol, update_id):
            return False
        repeats, since = self._repeats.get(symbol, (0, now))
        self._repeats[symbol] = repeats + 1, since
        return repeats < self._tolerance or now - since < self._seconds

    def take(self, symbol: str, update_id: int, first_update_id: int = 0) -> bool:
        """Note that an id was taken; return whether it is older than the one before it, so that ids restart.

        `first_update_id` is the first of the ids that it adds, which shows a hole.
        """
        last = self._last.get(symbol)
        if last is not None and self._is_missing(symbol, update_id):
            return False
        if last is not None and first_update_id > last + 1:
            self._holes[symbol] = last, first_update_id
        self._last[symbol] = update_id
        self._repeats.pop(symbol, None)
        return last is not None and update_id < last

    def forget(self, symbols: Iterable[str]) -> None:
        """Take any id next."""
        for symbol in symbols:
            self._last.pop(symbol, None)
            self._holes.pop(symbol, None)

    def _is_missing(self, symbol: str, update_id: int) -> bool:
        before, behind = self._holes.get(symbol, (0, 0))
        return before < update_id < behind


class Progress(NamedTuple):
    """How far one connection has come.

    `update_ids` are the last ones that it brought, `since` is the second at which it was subscribed, and for `patience`
    seconds it may be behind another one.
    """

    update_ids: Mapping[str, int]
    since: float
    patience: float

    def misses(self, symbol: str, newest: Newest) -> bool:
        """Return whether this id came on another connection, since this one is subscribed, and not on this one."""
        return newest.time > self.since and newest.update_id > self.update_ids.get(symbol, -1)


Connection = TypeVar("Connection", bound=Hashable)


class LagWatch(Generic[Connection]):
    """Finds connections that do not bring what another one with the same streams brought."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        self._missing: dict[tuple[Connection, str], Newest] = {}

    def lagging(
        self, connections: Mapping[Connection, Progress], newest: Mapping[str, Newest], now: float
    ) -> dict[Connection, list[str]]:
        """Return the connections that are behind, with the symbols that they miss; asked about twice a second.

        An id that one has not reached is remembered until it has: a slow connection reaches it late, a dead one never.
        """
        before, self._missing = self._missing, {}
        late: dict[Connection, list[str]] = {}
        for connection, progress in connections.items():
            for symbol in self.symbols:
                for missing in (before.get((connection, symbol)), newest.get(symbol)):
                    if missing and progress.misses(symbol, missing):
                        self._missing[connection, symbol] = missing
                        if now - missing.time >= progress.patience:
                            late.setdefault(connection, []).append(symbol)
                        break
        return late

    def restart(self) -> None:
        """Judge by what comes from now on."""
        self._missing.clear()


@dataclass(slots=True)
class _Silence:
    """What is known of a symbol that nobody hears: the newest id that REST has shown, and one that is to come."""

    pause: float
    judged: float = 0.0
    lively_since: float | None = None
    is_asked: bool = False
    rest_id: int = -1
    expected: int | None = None
    deadline: float = 0.0


class SilenceWatch:
    """Says which symbols to ask REST for, because no connection has heard them, and what follows from the answers.

    A symbol is asked for after `pause` seconds without a sign of it: `timeout` at first, twice as many after each
    answer that shows a quiet market, up to `longest`. It is `timeout` again once a symbol was lively for so long; so a
    thin symbol is asked for only when it is silent for longer than it usually is.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        timeout: float,
        *,
        longest: float = LONGEST_PAUSE,
        reach_timeout: float = REACH_TIMEOUT,
    ) -> None:
        self._timeout = timeout
        self._longest = longest
        self._reach_timeout = reach_timeout
        self._since = 0.0
        self._symbols = {symbol: _Silence(timeout) for symbol in symbols}

    def follow(self, symbols: Iterable[str], now: float) -> None:
        """Watch these symbols, and no others, from now on."""
        self._symbols = {symbol: self._symbols.get(symbol) or _Silence(self._timeout, now) for symbol in symbols}

    def unheard(self, newest: Mapping[str, Newest], now: float) -> list[str]:
        """Return the symbols to ask for, those first that have been without a sign for longest."""
        due = []
        for symbol, silence in self._symbols.items():
            heard = newest[symbol].time if symbol in newest else self._since
            self._note_liveliness(silence, heard, now)
            sign = max(heard, self._since, silence.judged)
            if not silence.is_asked and silence.expected is None and now - sign >= silence.pause:
                due.append((sign, symbol))
        return [symbol for _, symbol in sorted(due)]

    def note_question(self, symbol: str) -> None:
        """Note that a question is under way; `note_answer` has to follow."""
        self._symbols[symbol].is_asked = True

    def note_answer(self, symbol: str, update_id: int | None, newest: Newest | None, now: float) -> None:
        """Take the id that REST told, None when it could not be asked now; `newest` is what was heard until now.

        The first answer of a symbol that was never heard proves nothing: it is asked for again soon.
        """
        silence = self._symbols.get(symbol)
        if silence is None:
            return  # let go meanwhile
        silence.is_asked = False
        known = max(silence.rest_id, newest.update_id if newest else -1)
        if update_id is None:
            silence.judged = now - silence.pause + self._timeout
        elif known < 0:
            silence.rest_id = update_id
            silence.judged = now - silence.pause + self._reach_timeout
        elif update_id <= known:
            self._lengthen(silence, now)
        else:
            silence.expected, silence.deadline = update_id, now + self._reach_timeout

    def stalled(self, newest: Mapping[str, Newest], now: float) -> list[str]:
        """Return the symbols of which no connection brought in time what REST told."""
        stalled = []
        for symbol, silence in self._symbols.items():
            if silence.expected is None:
                continue
            is_reached = symbol in newest and newest[symbol].update_id >= silence.expected
            if not is_reached and now < silence.deadline:
                continue
            silence.rest_id, silence.expected = silence.expected, None
            self._lengthen(silence, now)
            if not is_reached:
                stalled.append(symbol)
        return stalled

    def lengthen(self, symbols: Iterable[str], now: float) -> None:
        """Double the pause of symbols that there is nobody to ask about."""
        for symbol in symbols:
            self._lengthen(self._symbols[symbol], now)

    def restart(self, now: float, *, forget: bool = False) -> None:
        """Judge by what comes from now on; `forget` what REST told, for updates have passed unheard since."""
        self._since = now
        for silence in self._symbols.values():
            silence.lively_since = silence.expected = None
            if forget:
                silence.rest_id = -1

    def _note_liveliness(self, silence: _Silence, heard: float, now: float) -> None:
        if heard <= self._since or now - heard >= self._timeout:
            silence.lively_since = None
        elif silence.lively_since is None:
            silence.lively_since = now
        elif now - silence.lively_since >= silence.pause:
            silence.pause = self._timeout

    def _lengthen(self, silence: _Silence, now: float) -> None:
        silence.pause = min(self._longest, 2 * silence.pause)
        silence.judged = now
