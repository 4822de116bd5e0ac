"""One symbol's market cut into frames: windows of 100 ms and 1000 ms over one id log, best prices as they change."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import neg

from simulator.dialects import SPOT, Dialect
from simulator.frames import Book, Frame, Level
from simulator.market import STEP_US, Market, Trade

WINDOWS = {"@100ms": 10, "": 100}
"""Suffix of a depth stream -> market steps of 10 ms a window."""
PARTIAL_LEVELS = (5, 10, 20)


@dataclass(slots=True)
class Windows:
    """Windows of so many `steps` at one stream server: each ends at `phase`, the last ended with the id `cut`."""

    suffix: str
    server: int
    steps: int
    phase: int
    cut: int


class Feed:
    """Moves a market step by step and says what each step puts on the wire.

    `servers_ms` is how much later than the first each stream server ends its windows.
    """

    def __init__(
        self,
        market: Market,
        *,
        send_unchanged_windows: bool = True,
        dialect: Dialect = SPOT,
        servers_ms: Sequence[float] = (0.0,),
    ) -> None:
        self.market = market
        self._dialect = dialect
        self._send_unchanged = send_unchanged_windows
        self.symbol = market.instrument.symbol
        self._name = self.symbol.lower()
        phases = {suffix: market.random.randrange(steps) for suffix, steps in WINDOWS.items()}
        phases[""] = phases[""] // 10 * 10 + phases["@100ms"]  # so a long window ends with a short one
        self._windows = [
            Windows(suffix, server, steps, (phases[suffix] + round(late_ms * 1000 / STEP_US)) % steps, market.last_id)
            for server, late_ms in enumerate(servers_ms)
            for suffix, steps in WINDOWS.items()
        ]
        self._steps = 0
        self._top = self._best()

    def usual_streams(self) -> tuple[str, ...]:
        """The streams that a keeper of an order book has."""
        return f"{self._name}@depth@100ms", f"{self._name}@bookTicker"

    def step(self, wanted: Collection[str]) -> Iterator[Frame]:
        """Ten milliseconds of market, as frames of the wanted streams in the order of their time."""
        self.market.step()
        self._steps += 1
        if (stream := f"{self._name}@trade") in wanted:
            yield from (self._trade(stream, trade) for trade in self.market.trades)
        top = self._best()
        if top != self._top:
            self._top = top
            if (stream := f"{self._name}@bookTicker") in wanted:
                yield self._ticker(stream)
        for windows in self._windows:
            if self._steps % windows.steps == windows.phase:
                yield from self._cut(windows, wanted)

    def book_at(self, update_id: int, limit: int | None = None) -> Book:
        """The true book right after this id: `limit` levels a side, or all.

        Raises:
            LookupError: the id is not known; the message says which are.
        """
        levels = self.market.levels_at(update_id, limit)
        keys = sorted(levels, reverse=True)
        split = bisect_right(keys, 0, key=neg)
        bids, asks = keys[:split][:limit], keys[split:][:limit]
        return Book(
            self.symbol, update_id, *(self._levels([(key, levels[key]) for key in side]) for side in (bids, asks))
        )

    def _best(self) -> tuple[int, int, int, int]:
        bid, ask = self.market.bids[-1], self.market.asks[-1]
        return bid, self.market.levels[bid], ask, self.market.levels[ask]

    def _level(self, key: int, quantity: int) -> Level:
        instrument = self.market.instrument
        return instrument.price_text(abs(key)), instrument.quantity_text(quantity)

    def _levels(self, rows: Sequence[tuple[int, int]]) -> list[Level]:
        return [self._level(*row) for row in rows]

    def _cut(self, windows: Windows, wanted: Collection[str]) -> Iterator[Frame]:
        """Closes a window: levels coalesced to their last value, ids following on from the window before."""
        first_id, last_id = windows.cut + 1, self.market.last_id
        if last_id < first_id:
            return
        keys = sorted(self.market.keys_changed(first_id, last_id) - {0}, reverse=True)
        if not keys and not self._send_unchanged:
            return
        windows.cut = last_id
        now_us, server = self.market.now_us, windows.server
        if (stream := f"{self._name}@depth{windows.suffix}") in wanted:
            rows = [(key, self.market.levels.get(key, 0)) for key in keys]
            render = partial(self._depth_update, now_us, (first_id, last_id), rows)
            yield Frame(stream, self.symbol, "depth", now_us, first_id, last_id, render, server=server)
        for count in PARTIAL_LEVELS:
            if (stream := f"{self._name}@depth{count}{windows.suffix}") in wanted:
                yield self._partial(stream, count, server)

    def _depth_update(self, time_us: int, ids: tuple[int, int], rows: list[tuple[int, int]]) -> bytes:
        split = sum(key > 0 for key, _ in rows)
        bids, asks = self._levels(rows[:split]), self._levels(rows[split:])
        return self._dialect.depth_update(self.symbol, time_us, ids, bids, asks)

    def _partial(self, stream: str, count: int, server: int) -> Frame:
        market, last_id = self.market, self.market.last_id
        sides = (market.bids[-count:], market.asks[-count:])
        bids, asks = (self._levels([(key, market.levels[key]) for key in reversed(side)]) for side in sides)
        payload = Book(self.symbol, last_id, bids, asks).snapshot(count)
        now_us = market.now_us
        return Frame(stream, self.symbol, "partial", now_us, last_id, last_id, lambda: payload, server=server)

    def _ticker(self, stream: str) -> Frame:
        bid, bid_size, ask, ask_size = self._top
        last_id, now_us = self.market.last_id, self.market.now_us

        def render() -> bytes:
            sides = self._level(bid, bid_size), self._level(ask, ask_size)
            return self._dialect.book_ticker(self.symbol, now_us, last_id, *sides)

        return Frame(stream, self.symbol, "bookTicker", now_us, last_id, last_id, render)

    def _trade(self, stream: str, trade: Trade) -> Frame:
        level = self._level(trade.price, trade.quantity)
        maker = trade.buyer_is_maker
        event = self._dialect.trade_event
        render = partial(event, self.symbol, trade.time_us, trade.number, level, buyer_is_maker=maker)
        return Frame(stream, self.symbol, "trade", trade.time_us, 0, 0, render)
