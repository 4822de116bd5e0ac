"""How long a range of the past takes: a month of bars and a day of prices of ten symbols in a SQLite file, made here.

python -m benchmarks.bench_history [--symbols 10] [--days 30] [--prices-a-second 10] [--database PATH]
"""

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fairprice.runtime.clock import SystemClock
from gateway.key import Key
from gateway.past import Past
from gateway.period import DAY, read_period
from gateway.stored.port import MINUTE
from gateway.stored.sqlite import SqliteHistory

END = 1_764_460_800_000_000
"""2025-11-30T00:00:00Z."""

RANGES = ("-1m", "-5m", "-15m", "-1h", "-4h", "-1d", "-7d", "-30d")
ROUNDS = 5

COLUMNS = "time, venue, symbol, price, bid, ask, bid_size, ask_size, mid, weighted_mid, spread, spread_bps, status"


def make(path: Path, symbols: list[str], days: int, rate: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        key = "PRIMARY KEY (venue, symbol, time)) WITHOUT ROWID"
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"CREATE TABLE fair_price ({COLUMNS}, first_update_id, update_id, {key}")
        bar = "time, venue, symbol, open, high, low, close, spread, count"
        connection.execute(f"CREATE TABLE fair_price_1m ({bar}, {key}")
        connection.execute(f"CREATE TABLE audit (time, venue, symbol, tops, {key}")
        connection.execute(
            f"CREATE TABLE gap (time, venue, symbol, from_update_id, to_update_id, duration_ms, reason, open_ids, {key}"
        )
        for symbol in symbols:
            with connection:
                connection.executemany(f"INSERT INTO fair_price VALUES ({'?, ' * 14}?)", prices(symbol, rate))
                connection.executemany(f"INSERT INTO fair_price_1m VALUES ({'?, ' * 8}?)", bars(symbol, days))
                minutes = range(END - days * DAY, END, MINUTE)
                connection.executemany(
                    "INSERT INTO audit VALUES (?, 'binance', ?, 50.0)", ((t, symbol) for t in minutes)
                )


def prices(symbol: str, rate: int) -> Iterator[tuple[object, ...]]:
    random, price, step = Random(symbol), 60_000.0, 1_000_000 // rate
    for number, moment in enumerate(range(END - DAY, END, step)):
        price += random.random() - 0.5
        bid, ask = price - 0.01, price + 0.01
        yield (moment, "binance", symbol, price, bid, ask, 1.5, 0.5, price, price, 0.02, 0.003, "ok", number, number)


def bars(symbol: str, days: int) -> Iterator[tuple[object, ...]]:
    random, price = Random(symbol), 60_000.0
    for moment in range(END - days * DAY, END, MINUTE):
        opened, price = price, price + 20 * (random.random() - 0.5)
        high, low = max(opened, price) + 5, min(opened, price) - 5
        yield (moment, "binance", symbol, opened, high, low, price, 0.02, 600.0)


async def measure(path: Path, symbols: list[str]) -> None:
    past = Past(SqliteHistory(path), SystemClock())
    print(f"{'range':>6} {'bars':>6} {'best':>9} {'worst':>9} {'CPU':>9}")
    for wish in RANGES:
        period = read_period(wish, "", "", END - 1)
        seconds, before = [], time.process_time()
        for number in range(ROUNDS):
            began = time.perf_counter()
            found = await past.answer(Key("binance", symbols[number % len(symbols)]), period)
            seconds.append(time.perf_counter() - began)
        figures = min(seconds), max(seconds), (time.process_time() - before) / ROUNDS
        print(f"{wish:>6} {len(found['time']):>6}", *(f"{each * 1000:>6.0f} ms" for each in figures))
    await past.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--prices-a-second", type=int, default=10)
    parser.add_argument("--database", type=Path, help="made where it is not there, and kept")
    options = parser.parse_args()
    symbols = [f"COIN{number}USDT" for number in range(options.symbols)]
    with TemporaryDirectory() as folder:
        path = options.database or Path(folder) / "history.db"
        if not path.exists():
            began = time.perf_counter()
            make(path, symbols, options.days, options.prices_a_second)
            print(f"{path.stat().st_size / 2**20:.0f} MiB made in {time.perf_counter() - began:.0f} s")
        asyncio.run(measure(path, symbols))


if __name__ == "__main__":
    main()
