"""Markets of the simulator that were opened before.

Tests open the same few again and again, and each time that is 14,000 levels and ten seconds of past, the same for the
same seed: the first time it is done, afterwards a copy is taken.
"""

import pickle
from functools import lru_cache

from simulator.instruments import Instrument
from simulator.market import Market


def opened(instrument: Instrument, seed: int, start_us: int) -> Market:
    """Return what `Market` does, of the same arguments."""
    market: Market = pickle.loads(_picture(instrument, seed, start_us))
    return market


@lru_cache(maxsize=64)  # of a quarter of a megabyte each
def _picture(instrument: Instrument, seed: int, start_us: int) -> bytes:
    return pickle.dumps(Market(instrument, seed, start_us))
