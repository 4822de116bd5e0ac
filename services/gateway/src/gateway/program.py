"""The commands of a gateway: page, JSON and websocket over RabbitMQ, checks."""

import argparse
import asyncio
import os
from collections.abc import Mapping
from functools import partial
from random import Random

from fairprice.broker.client import BrokerSettings, broker_problem, connected
from fairprice.runtime import lifecycle, version
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.health import describe, process_registry
from gateway.app import run
from gateway.settings import GatewaySettings
from gateway.stored.opening import history_problem, open_history


def main() -> int:
    """Run the command line and return the exit code."""
    command = _check if _parser().parse_args().command == "check" else _run
    return lifecycle.run(partial(command, os.environ))


async def _run(environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(GatewaySettings, environ, "gateway")
    async with connected("gateway", BrokerSettings.load(environ)) as broker:
        registry = process_registry("gateway", broker.samples)
        serving = run(
            settings,
            broker,
            clock=SystemClock(),
            back_off=partial(delays, Random()),  # noqa: S311  jitter
            stop=stop,
            registry=registry,
            checks=broker.checks(),
        )
        await lifecycle.drain(serving, stop)
    return lifecycle.EXIT_OK


async def _check(environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = lifecycle.start(GatewaySettings, environ, "gateway", quiet=True)
    broker = await broker_problem("gateway", BrokerSettings.load(environ))
    history = open_history(settings.store_url, settings.store_token)
    try:
        store = await history_problem(history)
    finally:
        await history.close()
    print(describe({"settings": None, "broker": broker, "store": store}))
    return 1 if broker or store else lifecycle.EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway", description="Shows fair prices: page, JSON, websocket.")
    parser.add_argument("--version", action="version", version=version.describe("gateway"))
    parser.add_argument(
        "command", nargs="?", choices=["check"], help="check: say whether settings and servers are all right"
    )
    return parser
