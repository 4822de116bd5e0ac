"""`python -m tests.soak`: random faults against two crawlers and what stands behind them; ends with a verdict.

The services are processes over RabbitMQ and InfluxDB where there are both, else all runs in this process, over the
broker in memory and a SQLite file. Ends with 0 when nothing is wrong, else with 1.
"""

import argparse
import asyncio
import logging
import re
import sys
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from tempfile import TemporaryDirectory

import structlog
import uvloop

from tests.soak import on_servers
from tests.soak.embedded import Embedded
from tests.soak.soak import Soak
from tests.soak.verdict import Seen, failures, table

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")


def main() -> int:
    """Run and return the exit code."""
    options = _parser().parse_args()
    level = logging.WARNING if options.verbose else logging.CRITICAL
    logging.basicConfig(level=level)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    is_on_servers = on_servers.are_there()
    where = "processes over RabbitMQ and InfluxDB" if is_on_servers else "one process: no RabbitMQ and InfluxDB here"
    print(f"soak for {options.seconds:.0f} s in {where}; seed {options.seed}", flush=True)
    with TemporaryDirectory(prefix="fairprice-soak-") as folder:
        seen = (_on_servers if is_on_servers else _embedded)(options, Path(folder))
    for line in table(seen):
        print(line)
    found = failures(seen)
    for line in found:
        print(f"FAILED: {line}")
    return 1 if found else 0


def _on_servers(options: argparse.Namespace, folder: Path) -> Seen:
    async def run() -> Seen:
        async with on_servers.on_servers(pipeline) as stage:
            return await _soak(options, stage).run(options.seconds)

    with on_servers.pipeline(folder) as pipeline:
        return uvloop.run(run())


def _embedded(options: argparse.Namespace, folder: Path) -> Seen:
    async def run() -> Seen:
        async with asyncio.TaskGroup() as tasks:
            return await _soak(options, Embedded(folder, Random(options.seed), tasks)).run(options.seconds)

    return uvloop.run(run())


def _soak(options: argparse.Namespace, stage: on_servers.OnServers | Embedded) -> Soak:
    symbols = [*SYMBOLS, *(f"S{each:02}USDT" for each in range(options.symbols - len(SYMBOLS)))][: options.symbols]
    tell = partial(print, flush=True)
    return Soak(stage, tuple(symbols), Random(options.seed), pause=options.pause, pace=options.pace, tell=tell)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--for", dest="seconds", type=_seconds, default=180.0, metavar="TIME", help="90s, 3m, 8h")
    add("--seed", type=int, default=SystemRandom().randrange(10**6), help="repeats the blows of a run")
    add("--pause", type=float, default=0.9, metavar="SECONDS", help="between two blows, in the mean (%(default)s)")
    add("--pace", type=float, default=1.0, metavar="N", help="markets live N times as fast as the clock")
    add("--symbols", type=int, default=len(SYMBOLS), metavar="N", help="each with ten books a second (%(default)s)")
    add("--verbose", action="store_true", help="show the warnings of what is under test")
    return parser


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([1-9][0-9]*)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError("write 90s, 3m or 8h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


if __name__ == "__main__":
    sys.exit(main())
