"""Symbols whose streams fit on one connection, the connections that carry them, and what these have brought."""

from collections.abc import Iterable

from crawler.link import Link
from crawler.liveness import LagWatch, Newest, Progress, SilenceWatch
from crawler.venues.port import Venue


class Group:
    """Symbols whose streams fit on one connection, and the connections that carry them."""

    def __init__(self, symbols: tuple[str, ...], silence: SilenceWatch) -> None:
        self.symbols = symbols
        self.links: list[Link] = []
        self.newest: dict[str, Newest] = {}
        self.lag: LagWatch[Link] = LagWatch(symbols)
        self.silence = silence
        self.is_down = False

    @property
    def complete(self) -> list[Link]:
        """The connections that have all that they asked for."""
        return [link for link in self.links if link.is_complete]

    def follow(self, symbols: Iterable[str], now: float) -> None:
        """Be a group of these symbols from now on."""
        self.symbols = self.lag.symbols = tuple(symbols)
        self.silence.follow(self.symbols, now)
        self.newest = {symbol: self.newest[symbol] for symbol in self.symbols if symbol in self.newest}

    def hear(self, link: Link, symbol: str, update_id: int, now: float) -> None:
        """Note that a connection has brought this id, whether another one did before or not."""
        link.carries = True
        link.update_ids[symbol] = update_id
        newest = self.newest.get(symbol)
        if newest is None or update_id > newest.update_id:
            self.newest[symbol] = Newest(update_id, now)

    def restart_ids(self, symbol: str, update_id: int, now: float) -> None:
        """Note that the exchange has restarted its ids."""
        self.newest[symbol] = Newest(update_id, now)
        for link in self.links:
            link.update_ids.pop(symbol, None)

    def restart(self, now: float) -> None:
        """Judge by what comes from now on."""
        self.lag.restart()
        self.silence.restart(now)

    def lagging(self, now: float) -> dict[Link, list[str]]:
        """Return the connections that miss what another one brings, with the symbols."""
        judged = (link for link in self.complete if not link.due.is_set())
        progress = {link: Progress(link.update_ids, link.since, link.patience) for link in judged}
        return self.lag.lagging(progress, self.newest, now)

    def renew(self, reason: str) -> None:
        """Make all connections due; one that is being opened is as good as new."""
        for link in self.complete:
            link.make_due(reason)

    def lose(self, now: float) -> None:
        """Note that nobody carries the symbols any more."""
        self.newest.clear()
        self.lag.restart()
        self.silence.restart(now, forget=True)


def room(venue: Venue, symbols: Iterable[str]) -> int:
    """Return how many such symbols fit on one connection."""
    widest = max((len(venue.streams(symbol)) for symbol in symbols), default=1)
    return max(1, venue.limits.streams // widest)


def split(venue: Venue, symbols: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Spread symbols evenly over as many connections as their streams need."""
    count = -(-len(symbols) // room(venue, symbols))
    return [symbols[start::count] for start in range(count)]
