"""A recorded market whose moves follow its imbalance as far as a test says, so that what is right is known.

Each tenth of a second brings a diff, and half a tenth later a ticker tells alone that the mid has moved on. The sizes
at the best prices lean by an imbalance that changes slowly, an autoregression; all other sizes are alike. In each tenth
the mid moves by `drift` times the lean of the weighted mid, and by chance.
"""

import json
from random import Random

BEGIN_MS = 1_700_000_000_000
STEP_MS = 100
OFFSET_MS = 30
"""Diffs come between the instants of the grid, and tickers between both."""

PRICE = 6_000_000
"""Ticks of 0.01; a basis point has 600 of them."""

HALF_SPREAD = 10
"""Ticks; times the imbalance it is the lean of the weighted mid."""

LEAN = 0.6
"""Imbalance of the best sizes at a pull of one."""

PERSISTENCE, SHOCK = 0.9, 0.15
LEVELS, APART = 12, 150
FAR = 2_000_000
"""Ticks from the first mid to a level on each side that nobody touches: so far the snapshot reaches."""


def slope(drift, steps):
    """Return the slope of the real-time mid's move in so many steps on the lean of the weighted mid at their begin.

    At an instant of the grid half of a step is over, and the ticker has told it.
    """
    weights = [0.5, *(PERSISTENCE**step for step in range(1, steps)), 0.5 * PERSISTENCE**steps]
    return drift / LEAN * sum(weights)


def recording(path, *, seconds, drift, noise, seed=1):
    """Write a recording of BTCUSDT and return its path; `noise` is the standard deviation of a step in ticks."""
    path.write_text("".join(lines(seconds=seconds, drift=drift, noise=noise, seed=seed)))
    return path


def lines(*, seconds, drift, noise, seed=1, symbol="BTCUSDT", first_id=1000):
    random = Random(seed)
    value, pull, number = float(PRICE), 0.0, first_id
    book = _book(value, pull)
    far = [{PRICE + towards * FAR: 1} for towards in (-1, 1)]
    bids, asks = (_levels(near | away) for near, away in zip(book, far, strict=True))
    yield line(0, {"lastUpdateId": number, "bids": bids, "asks": asks})
    for step in range(1, seconds * 1000 // STEP_MS):
        now = OFFSET_MS + step * STEP_MS
        change = drift * HALF_SPREAD * pull + random.gauss(0.0, noise)
        yield _ticker(now - STEP_MS // 2, number + 1, symbol, _book(value + change / 2, pull))
        value += change
        pull = max(-1.0, min(PERSISTENCE * pull + random.gauss(0.0, SHOCK), 1.0))
        old, book = book, _book(value, pull)
        yield _ticker(now, number + 2, symbol, book)
        changes = {side: _changes(*sides) for side, sides in zip("ba", zip(old, book, strict=True), strict=True)}
        event = {"e": "depthUpdate", "E": BEGIN_MS + now, "s": symbol, "U": number + 1, "u": number + 2} | changes
        yield line(now, {"stream": f"{symbol.lower()}@depth@100ms", "data": event})
        number += 2


def line(now, body):
    """Return a line received so many milliseconds after the begin."""
    return f"{BEGIN_MS + now}000000 {json.dumps(body, separators=(',', ':'))}\n"


def _book(value, pull):
    """Return prices and sizes of bids and asks, in ticks and thousandths."""
    mid = round(value)
    return [
        {
            mid + towards * (HALF_SPREAD + APART * depth): 200 - round(200 * LEAN * towards * pull) * (depth == 0)
            for depth in range(LEVELS)
        }
        for towards in (-1, 1)
    ]


def _levels(side):
    return [[f"{price / 100:.2f}", f"{size / 1000:.3f}"] for price, size in side.items()]


def _changes(old, new):
    return [[f"{price / 100:.2f}", "0.000"] for price in old if price not in new] + _levels(new)


def _ticker(now, number, symbol, book):
    (bid, bid_size), (ask, ask_size) = (_levels(side)[0] for side in book)
    event = {"u": number, "s": symbol, "b": bid, "B": bid_size, "a": ask, "A": ask_size}
    return line(now, {"stream": f"{symbol.lower()}@bookTicker", "data": event})
