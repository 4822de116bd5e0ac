"""A recording of hundreds of symbols: the simulator's markets of a few, each under many names at different times.

Living through all of them would take the simulator more than the time that is recorded.
"""

from collections.abc import Iterator
from heapq import merge
from pathlib import Path

from benchmarks.recording import Line
from simulator import Exchange, Frame

MARKETS = 30
WINDOW_US = 100_000
DELAY_NS = 37_000_000
"""By which each name of a market is later than the one before, so that their diffs do not come at once."""

SNAPSHOT_AFTER = 20
"""Windows, so that every stream is subscribed to before."""

SNAPSHOT_LEVELS = 1000


def symbols(number: int) -> list[str]:
    """Return so many names."""
    return [f"S{each:03}USDT" for each in range(number)]


def write(path: Path, names: list[str], seconds: float) -> None:
    """Write a recording of symbols that are named as `symbols` names them."""
    markets = names[:MARKETS]
    lives = _lives(markets, round(seconds * 1_000_000 / WINDOW_US))
    clones = [
        _renamed(lives[market], market, name, DELAY_NS * (number // len(markets)))
        for number, name in enumerate(names)
        for market in [markets[number % len(markets)]]
    ]
    with path.open("wb") as file:
        file.writelines(b"%d %b\n" % line for line in merge(*clones, key=lambda line: line[0]))


def _lives(markets: list[str], windows: int) -> dict[str, list[Line]]:
    exchange = Exchange(markets, seed=1)
    lines: dict[str, list[Line]] = {market: [] for market in markets}
    for window in range(windows):
        for frame in exchange.advance(exchange.now_us + WINDOW_US):
            if isinstance(frame, Frame):
                lines[frame.symbol].append((frame.time_us * 1000, frame.on_wire(combined=True)))
        if window == SNAPSHOT_AFTER:
            for market in markets:
                body = exchange.snapshot(market, SNAPSHOT_LEVELS).body
                wrapped = b'{"stream":"%b@snapshot","data":%b}' % (market.lower().encode(), body)
                lines[market].append((exchange.now_us * 1000, wrapped))
    return lines


def _renamed(lines: list[Line], market: str, name: str, delay: int) -> Iterator[Line]:
    upper, lower = (market.encode(), name.encode()), (market.lower().encode(), name.lower().encode())
    for time, text in lines:
        yield time + delay, text.replace(*upper).replace(*lower)
