"""A seeded market of one symbol: pure, on a grid of 10 ms, the same for the same seed.

A level's key is its price in ticks, negative for an ask: on both sides the best level then has the greatest key, and
`bid + ask < 0` says "not crossed". Quantities are in steps.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, sqrt
from random import Random

from simulator.instruments import Instrument

STEP_US = 10_000
"""The market moves once in this many microseconds."""
WARM_UP_STEPS = 1_000
"""Steps lived through before the start, so that there is a past for lagging and stale snapshots."""
HISTORY_STEPS = 61_000
"""Steps whose every id can still be looked up: a little over ten minutes."""

FIRST_ID = 2**33
TOUCH_SHARE, HIDDEN_SHARE, FLICKER_SHARE = 0.42, 0.05, 0.03


@dataclass(frozen=True, slots=True)
class Trade:
    """An execution: price in ticks, quantity in steps."""

    time_us: int
    number: int
    price: int
    quantity: int
    buyer_is_maker: bool


class LatentPrice:
    """What the price would be if it were continuous: a random walk with clustered volatility and slow trends."""

    def __init__(self, random: Random, ticks: int, volatility: float) -> None:
        self.ticks = float(ticks)
        self.pressure = 0.0  # buyers against sellers; mean-reverting, and it leans on the price
        self._random = random
        self._anchor = float(ticks)
        self._volatility = volatility
        self._heat = 0.0  # logarithm of the present volatility relative to the mean one
        self._trend = 0.0  # relative change per second

    def step(self, seconds: float) -> None:
        """Moves on: Ornstein-Uhlenbeck heat (60 s, with sudden bursts), trend (90 s) and pressure (3 s)."""
        gauss, root = self._random.gauss, sqrt(seconds)
        self._heat += -self._heat * seconds / 60 + gauss(0.0, 0.11) * root
        if self._random.random() < seconds / 120:
            self._heat = min(self._heat + 1.0, 1.5)
        self._trend += -self._trend * seconds / 90 + gauss(0.0, self._volatility * 0.018) * root
        self.pressure += -self.pressure * seconds / 3 + gauss(0.0, 0.5) * root
        sigma = self._volatility * exp(self._heat)
        change = (self._trend + 0.25 * sigma * self.pressure) * seconds + gauss(0.0, sigma) * root
        home = (self._anchor / self.ticks - 1.0) * seconds / 20_000
        self.ticks *= 1.0 + change + home


class Market:
    """The authoritative book of one symbol; `step` moves it by 10 ms, each atomic change of a level takes one id."""

    def __init__(self, instrument: Instrument, seed: int, start_us: int) -> None:
        self.instrument = instrument
        self.random = Random(f"{seed}/{instrument.symbol}")  # noqa: S311 - a simulation must be repeatable
        self.now_us = start_us - WARM_UP_STEPS * STEP_US
        self.last_id = FIRST_ID + self.random.randrange(10**9, 10**10)
        self.levels: dict[int, int] = {}
        self.trades: list[Trade] = []
        self._trade_number = self.random.randrange(10**8, 10**9)
        self._quiet_until_us = 0
        self._sizes = [max(1, int(instrument.touch_size * self.random.lognormvariate(-0.6, 1.0))) for _ in range(1024)]
        self._value = LatentPrice(self.random, instrument.price, instrument.volatility)
        self._reluctance = max(1.5, instrument.price * 0.00008)  # ticks the value runs ahead before quotes follow
        self._furthest = instrument.levels**instrument.depth_exponent
        self.bids = sorted(self._opening_side(instrument.price))
        self.asks = sorted(self._opening_side(-instrument.price - 1))
        self._keys = array("q")
        self._old = array("q")
        self._step_ends = array("q", [self.last_id])
        while self.now_us < start_us:
            self.step()

    @property
    def is_live(self) -> bool:
        """Whether this symbol trades at all."""
        return self.instrument.status == "TRADING"

    def top(self) -> tuple[int, int]:
        """Best bid and best ask, in ticks."""
        return self.bids[-1], -self.asks[-1]

    def step(self) -> None:
        """Ten milliseconds pass."""
        self.now_us += STEP_US
        self.trades = []
        if self.is_live and self.now_us >= self._quiet_until_us:
            self._act()
        self._step_ends.append(self.last_id)
        if len(self._step_ends) > HISTORY_STEPS * 5 // 4:
            self._forget()

    # The past

    @property
    def oldest_id(self) -> int:
        """The earliest id at which the book is still known."""
        return self.last_id - len(self._keys)

    def knows(self, update_id: int) -> bool:
        """Whether the book right after this id is known."""
        return self.oldest_id <= update_id <= self.last_id

    def id_at(self, time_us: int) -> int:
        """The last id given at or before this time, or the oldest known."""
        steps_ago = -((time_us - self.now_us) // STEP_US)
        return self._step_ends[-1 - min(max(steps_ago, 0), len(self._step_ends) - 1)]

    def keys_changed(self, first_id: int, last_id: int) -> set[int]:
        """The levels touched by these ids, inclusive; 0 stands for an id that changed no level."""
        oldest = self.oldest_id
        return set(self._keys[first_id - oldest - 1 : last_id - oldest])

    def levels_at(self, update_id: int, best: int | None = None) -> dict[int, int]:
        """All levels right after this id, whether or not it ended a window; of each side at least the `best` ones.

        Raises:
            LookupError: the id lies in the future or is older than the history.
        """
        if not self.knows(update_id):
            raise LookupError(
                f"{self.instrument.symbol}: update id {update_id} is not known; "
                f"ids from {self.oldest_id} to {self.last_id} are"
            )
        start = update_id - self.oldest_id
        before = dict(zip(reversed(self._keys[start:]), reversed(self._old[start:]), strict=True))
        if best is None:
            levels = self.levels | before
        else:  # of those that are the best now, some were not there then, at most as many as have changed
            near = best + len(before)
            levels = {key: self.levels[key] for side in (self.bids, self.asks) for key in side[-near:]} | before
        return {key: quantity for key, quantity in levels.items() if quantity}

    def _forget(self) -> None:
        surplus = len(self._step_ends) - HISTORY_STEPS
        ids = self._step_ends[surplus] - self.oldest_id
        del self._step_ends[:surplus], self._keys[:ids], self._old[:ids]

    # The present

    def _opening_side(self, best: int) -> Iterator[int]:
        distance = -1
        for rank in range(self.instrument.levels):
            ideal = rank**self.instrument.depth_exponent
            distance = max(distance + 1, int(ideal * self.random.uniform(0.97, 1.03)))
            if best > 0 and best <= distance:
                return
            self.levels[best - distance] = self._size(deep=True)
            yield best - distance

    def _size(self, *, deep: bool = False) -> int:
        size = self._sizes[int(self.random.random() * 1024)]
        return max(1, size // 4) if deep else size

    def _touch_size(self, side: list[int]) -> int:
        lean = self._value.pressure if side is self.bids else -self._value.pressure
        return max(1, int(self._size() * exp(1.1 * lean)))

    def _set(self, key: int, quantity: int) -> None:
        old = self.levels.get(key, 0)
        side = self.bids if key > 0 else self.asks
        if quantity:
            if not old:
                insort(side, key)
            self.levels[key] = quantity
        else:
            del self.levels[key]
            del side[-1 if side[-1] == key else bisect_left(side, key)]
        self._log(key, old)

    def _log(self, key: int, old: int) -> None:
        self.last_id += 1
        self._keys.append(key)
        self._old.append(old)

    def _act(self) -> None:
        self._value.step(STEP_US / 1e6)
        self._follow_value()
        mean = self.instrument.changes_per_second * STEP_US / 1e6
        for _ in range(min(int(self.random.expovariate(1 / mean) + 0.5), 60)):
            self._change()
        silence = self.instrument.silence_s
        if silence and self.random.random() < 0.004:
            self._quiet_until_us = self.now_us + int(self.random.expovariate(1 / silence) * 1e6)

    def _follow_value(self) -> None:
        bid, ask = self.top()
        lead = self._value.ticks - (bid + ask) / 2
        goal = int(self._value.ticks)
        if lead > self._reluctance:
            self._sweep(self.asks, -goal - 1, goal)
        elif lead < -self._reluctance:
            self._sweep(self.bids, goal, -goal - 1)
        elif ask - bid > 1 and self.random.random() < 0.5:
            self._tighten(lead)

    def _sweep(self, taken: list[int], taken_touch: int, given_touch: int) -> None:
        """Takes all levels better than `taken_touch`, then quotes on both sides of the new price."""
        while taken[-1] > taken_touch:
            self._trade(taken[-1], self.levels[taken[-1]])
            self._set(taken[-1], 0)
        if self.random.random() < 0.85:
            self._set(taken_touch, self._touch_size(taken))
        if self.random.random() < 0.85:
            self._set(given_touch, self._touch_size(self.bids if given_touch > 0 else self.asks))
        self._back_up(given_touch)

    def _back_up(self, touch: int) -> None:
        """Fills some of the empty ground that the best price has just left behind itself."""
        for _ in range(6):
            key = touch - 1 - int((4 * self._reluctance) ** self.random.random())
            if key not in self.levels:
                self._set(key, self._size(deep=True))

    def _tighten(self, lead: float) -> None:
        side = self.bids if lead > 0 else self.asks
        other = self.asks if lead > 0 else self.bids
        room = -side[-1] - other[-1] - 1
        self._set(side[-1] + (1 if room == 1 else self.random.choice((1, room))), self._touch_size(side))

    def _change(self) -> None:
        draw = self.random.random()
        side = self.bids if self.random.random() < 0.5 else self.asks
        if draw < TOUCH_SHARE:
            self._change_touch(side)
        elif draw < TOUCH_SHARE + HIDDEN_SHARE:
            self._log(0, 0)
        else:
            self._change_depth(side)

    def _change_touch(self, side: list[int]) -> None:
        key, draw = side[-1], self.random.random()
        if draw < 0.04:
            self._set(key, 0)
        elif draw < 0.25 and self.levels[key] > 1:
            taken = self.random.randrange(1, self.levels[key])
            self._trade(key, taken)
            self._set(key, self.levels[key] - taken)
        else:
            self._set(key, self._touch_size(side))

    def _change_depth(self, side: list[int]) -> None:
        count, wanted = len(side), self.instrument.levels
        draw = self.random.random()
        if draw < 0.3:  # amended
            self._set(side[-1 - int(count ** self.random.random()) % count], self._size(deep=True))
        elif draw < 0.65 - 0.35 * min(1.0, max(-1.0, 8 * (wanted - count) / wanted)):
            self._set(side[-1 - int(count ** self.random.random()) % count], 0)
        else:
            key = side[-1] - int(self._furthest ** self.random.random())
            if side is self.asks or key > 0:
                flickers = key not in self.levels and self.random.random() < FLICKER_SHARE
                self._set(key, self._size(deep=True))
                if flickers:
                    self._set(key, 0)

    def _trade(self, key: int, quantity: int) -> None:
        self._trade_number += 1
        self.trades.append(Trade(self.now_us, self._trade_number, abs(key), quantity, key > 0))
