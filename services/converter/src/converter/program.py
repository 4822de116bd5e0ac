"""The commands of a converter: prices of books over RabbitMQ, checks."""

import argparse
import asyncio
import os
from collections.abc import Mapping
from functools import partial
from random import Random

from converter.app import Counters, run
from converter.settings import ConverterSettings
from fairprice.broker.client import BrokerSettings, broker_problem, connected
from fairprice.runtime import lifecycle, version
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.health import describe, serve_health

PORT = 8002


def main() -> int:
    """Run the command line and return the exit code."""
    command = _check if _parser().parse_args().command == "check" else _run
    return lifecycle.run(partial(command, os.environ))


async def _run(environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(ConverterSettings, environ, "converter")
    counters = Counters()
    async with (
        connected("converter", BrokerSettings.load(environ)) as broker,
        serve_health(environ, "converter", PORT, broker.checks(), counters.samples, broker.samples),
    ):
        random = Random()  # noqa: S311  jitter
        pricing = run(settings, broker, clock=SystemClock(), random=random, stop=stop, counters=counters)
        await lifecycle.drain(pricing, stop)
    return lifecycle.EXIT_OK


async def _check(environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    lifecycle.start(ConverterSettings, environ, "converter", quiet=True)
    problem = await broker_problem("converter", BrokerSettings.load(environ))
    print(describe({"settings": None, "broker": problem}))
    return 1 if problem else lifecycle.EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="converter", description="Turns books into fair prices, over RabbitMQ.")
    parser.add_argument("--version", action="version", version=version.describe("converter"))
    parser.add_argument(
        "command", nargs="?", choices=["check"], help="check: say whether settings and servers are all right"
    )
    return parser
