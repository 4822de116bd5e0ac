"""Symbols whose streams fit on one connection, the connections that carry them, and what these have brought."""

from collections.abc import Callable, Iterable, Iterator

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


class Groups:
    """All groups of a crawler, and which of them each symbol belongs to.

    `silence_watch` makes the watch of a new group's symbols.
    """

    def __init__(self, venue: Venue, silence_watch: Callable[[tuple[str, ...]], SilenceWatch]) -> None:
        self.of: dict[str, Group] = {}
        self._venue = venue
        self._silence_watch = silence_watch
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    @property
    def open(self) -> int:
        """Connections that have all that they asked for."""
        return sum(len(group.complete) for group in self._groups)

    @property
    def links(self) -> list[Link]:
        """All connections."""
        return [link for group in self._groups for link in group.links]

    def with_link(self, link: Link) -> Group:
        """Return the group that a connection carries."""
        return next(group for group in self._groups if link in group.links)

    def begin(self, symbols: Iterable[str]) -> list[Group]:
        """Make groups of symbols, and return them."""
        groups = [Group(part, self._silence_watch(part)) for part in split(self._venue, tuple(symbols))]
        self._groups += groups
        self.of |= {symbol: group for group in groups for symbol in group.symbols}
        return groups

    def extend(self, symbols: list[str], now: float) -> dict[Group, tuple[str, ...]]:
        """Put symbols into groups where there is room, and take them from the list; return who has got which."""
        added = {}
        for group in self._groups:
            free = max(0, room(self._venue, symbols) - len(group.symbols))
            if part := tuple(symbols[:free]):
                added[group] = part
                group.follow((*group.symbols, *part), now)
                self.of |= dict.fromkeys(part, group)
                del symbols[:free]
        return added

    def let_go(self, symbols: Iterable[str], now: float) -> list[Group]:
        """Forget symbols; return the groups that have none left."""
        for group in {self.of.pop(symbol) for symbol in symbols}:
            group.follow(filter(self.of.__contains__, group.symbols), now)
        return [group for group in self._groups if not group.symbols]

    def remove(self, group: Group) -> None:
        """Forget a group."""
        self._groups.remove(group)


def room(venue: Venue, symbols: Iterable[str]) -> int:
    """Return how many such symbols fit on one connection."""
    widest = max((len(venue.streams(symbol)) for symbol in symbols), default=1)
    return max(1, venue.limits.streams // widest)


def split(venue: Venue, symbols: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Spread symbols evenly over as many connections as their streams need."""
    count = -(-len(symbols) // room(venue, symbols))
    return [symbols[start::count] for start in range(count)]
