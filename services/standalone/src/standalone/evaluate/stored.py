"""The instants of what a store holds: its rows, in the exchange's time."""

from collections.abc import Iterable

from standalone.evaluate.instants import Sampler
from storer.measurements import FAIR_PRICE
from storer.stores.port import Key, Reader

IDS = ("first_update_id", "update_id")


async def sampled(reader: Reader, key: Key, start: int, stop: int, names: Iterable[str]) -> Sampler:
    """Return the instants of one symbol in [start, stop), microseconds; raises `StoreUnavailable`.

    `names` are the values that are kept of each row.
    """
    values = tuple(dict.fromkeys(("mid", *names)))
    sampler = Sampler(values, has_tickers=False)
    async for time, first_update_id, update_id, *row in reader.rows(FAIR_PRICE, (*IDS, *values), *key, start, stop):
        if update_id is not None and first_update_id is not None:
            sampler.book(time, first_update_id, update_id, dict(zip(values, row, strict=True)))
    return sampler
