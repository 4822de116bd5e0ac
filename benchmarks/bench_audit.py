"""`storer audit` over a day of one symbol, on SQLite and, where there is one, on InfluxDB."""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import servers
from fairprice.messages import PRICE_VALUES
from storer.measurements import Point
from storer.program import open_store
from storer.settings import StorerSettings

ROWS = 864_000
"""Ten a second, as the exchange sends them, with a sampled book each second and an audit each minute."""

START = 1_723_075_200_000_000
BATCH = 5000
IDS = 10


def report() -> Iterator[str]:
    """Yield the figures, a line each."""
    yield from _on("SQLite", _sqlite)
    if servers.missing():
        yield f"audit on InfluxDB: skipped, {servers.missing()}"
    else:
        yield from _on("InfluxDB", _influxdb)


def _on(name: str, place: Callable[[], AbstractContextManager[Mapping[str, str]]]) -> Iterator[str]:
    for rows in (ROWS // 10, ROWS):
        with place() as environ:
            asyncio.run(_fill(environ, rows))
            began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "storer", "audit", "--since", "all", "--strict"]
            subprocess.run(command, env={**os.environ, **environ}, check=True, stdout=subprocess.DEVNULL)
            seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        megabytes = after.ru_maxrss / 1000
        yield f"audit of {rows:,} rows on {name}: {seconds:.1f} s, {cpu:.1f} CPU s, {megabytes:.0f} MB peak"


@contextmanager
def _sqlite() -> Iterator[Mapping[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"FAIRPRICE_STORE_URL": f"sqlite:///{Path(folder) / 'day.db'}"}


@contextmanager
def _influxdb() -> Iterator[Mapping[str, str]]:
    with servers.room() as room:
        yield {name: value for name, value in room.environ.items() if "STORE" in name}


async def _fill(environ: Mapping[str, str], rows: int) -> None:
    store = await open_store(StorerSettings.load(environ))
    try:
        for first in range(0, rows, BATCH):
            batch = [point for number in range(first, min(first + BATCH, rows)) for point in _points(number)]
            assert not await store.write(batch)
    finally:
        await store.close()


def _points(number: int) -> Iterator[Point]:
    key = (START + number * 100_000, "binance", "BTCUSDT")
    bid = 60_000 + number % 1000
    ids = {"first_update_id": IDS * number + 1, "update_id": IDS * (number + 1)}
    values = dict.fromkeys(PRICE_VALUES, 1.0) | {"bid": float(bid), "ask": bid + 0.5, "spread": 0.5}
    yield Point("fair_price", *key, {"price": 1.0, "status": "ok", "latency_ms": 3.5, **values, **ids})
    if number % 10 == 0:
        top = {"bid_price_00": f"{bid}.00", "ask_price_00": f"{bid}.50"}
        yield Point("order_book", *key, {"update_id": ids["update_id"]}, top)
    if number % 600 == 0:
        minute = {"from_update_id": ids["first_update_id"], "to_update_id": IDS * (number + 600)}
        yield Point("audit", *key, {**minute, "tops": 600.0})
