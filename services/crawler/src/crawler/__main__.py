"""`python -m crawler`: books over RabbitMQ; `check`: say whether it could; `record`: write what the exchange sends."""

import argparse
import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random

import aiohttp

from crawler.app import Crawler
from crawler.capture import Capture, open_recording
from crawler.settings import CrawlerSettings
from crawler.venues.binance.governor import Governor
from crawler.venues.binance.rest import RestClient
from fairprice.broker.client import BrokerSettings, broker_problem, connected
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, StartupError
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.health import describe, serve_health

PORT = 8001


def main() -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args()
    command = {"check": _check, "record": _record}.get(options.command, _run)
    return lifecycle.run(partial(command, options, os.environ))


async def _run(_options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler")
    async with connected("crawler", BrokerSettings.load(environ)) as broker:
        crawler = Crawler(settings, broker, name=socket.gethostname(), random=Random(), clock=SystemClock())  # noqa: S311  jitter
        checks = {**broker.checks(), **crawler.checks()}
        async with serve_health(environ, PORT, checks, crawler.samples, broker.samples):
            await lifecycle.drain(crawler.run(stop), stop)
    return lifecycle.EXIT_OK


async def _check(_options: argparse.Namespace, environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler", quiet=True)
    async with aiohttp.ClientSession() as session:
        exchange_problem = await _exchange_problem(_rest(session, settings), settings.symbols)
    problems = {
        "exchange": exchange_problem,
        "broker": await broker_problem("crawler", BrokerSettings.load(environ)),
    }
    print(describe({"settings": None, **problems}))
    return 1 if any(problems.values()) else lifecycle.EXIT_OK


async def _exchange_problem(rest: RestClient, symbols: tuple[str, ...]) -> str | None:
    try:
        await rest.require_symbols(symbols)
    except (ExchangeUnavailable, StartupError) as error:
        return str(error)
    return None


def _rest(session: aiohttp.ClientSession, settings: CrawlerSettings) -> RestClient:
    clock = SystemClock()
    return RestClient(session, settings.exchange_rest_url, Governor(), monotonic=clock.monotonic, wall_clock=clock.wall)


async def _record(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler")
    if options.seconds:
        asyncio.get_running_loop().call_later(options.seconds, stop.set)
    with ExitStack() as stack:
        capture = Capture(settings, open_recording(stack, options.output), time.time_ns)
        print(f"Recording {', '.join(settings.symbols)} into {options.output}; Ctrl-C ends it.", file=sys.stderr)
        async with aiohttp.ClientSession() as session:
            try:
                await capture.run(session, _rest(session, settings), stop)
            except* (ExchangeUnavailable, InvalidMarketData) as errors:
                raise StartupError(f"recording ended after {capture.lines} lines: {errors.exceptions[0]}") from errors
    print(f"{capture.lines} lines in {options.output}.", file=sys.stderr)
    return lifecycle.EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crawler", description="Follows Binance's order books.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("check", help="say whether settings and servers are all right")
    record = commands.add_parser("record", help="write what the exchange sends to a file, to be played later")
    record.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file; .gz compresses it")
    record.add_argument("--seconds", type=float, metavar="N", help="end after so long")
    return parser


if __name__ == "__main__":
    sys.exit(main())
