"""The commands of a crawler: books over RabbitMQ, checks, recordings."""

import argparse
import asyncio
import os
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import Random

from crawler.app import Crawler
from crawler.proxy import proxies, session
from crawler.recorder import program
from crawler.settings import CrawlerSettings
from crawler.symbols import SymbolBoard
from fairprice.broker.client import BrokerSettings, broker_problem, connected
from fairprice.errors import ExchangeUnavailable, StartupError
from fairprice.messages import MAX_NAME
from fairprice.runtime import lifecycle, version
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.health import describe, serve_health
from fairprice.runtime.settings import HttpSettings, given

PORT = 8001


def main() -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args()
    command = {"check": _check, "record": _record, "verify": _verify}.get(options.command, _run)
    return lifecycle.run(partial(command, options, os.environ))


async def _run(_options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler")
    async with connected("crawler", BrokerSettings.load(environ)) as broker:
        random, clock = Random(), SystemClock()  # noqa: S311  jitter
        crawler = Crawler(settings, broker, name=name(environ), random=random, clock=clock, proxy=proxies(environ))
        checks = {**broker.checks(), **crawler.checks()}
        async with serve_health(
            environ, "crawler", PORT, checks, crawler.samples, broker.samples, notes=crawler.notes()
        ):
            await lifecycle.drain(crawler.run(stop), stop)
    return lifecycle.EXIT_OK


def name(environ: Mapping[str, str]) -> str:
    """Return what tells this crawler from others: two on one machine listen on different ports."""
    port = HttpSettings.load({"FAIRPRICE_HTTP_PORT": str(PORT)} | given(environ)).http_port
    return f"{socket.gethostname()[: MAX_NAME - len(':1234567')]}:{port or os.getpid()}"


async def _check(_options: argparse.Namespace, environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler", quiet=True)
    problems = {
        "exchange": await _exchange_problem(settings, environ),
        "broker": await broker_problem("crawler", BrokerSettings.load(environ)),
    }
    print(describe({"settings": None, **problems}))
    return 1 if any(problems.values()) else lifecycle.EXIT_OK


async def _exchange_problem(settings: CrawlerSettings, environ: Mapping[str, str]) -> str | None:
    url, _ = settings.urls()
    board = SymbolBoard(settings.selection())
    async with session(url, proxies(environ)(url)) as http:
        rest = settings.the_venue().rest(http, url, clock=SystemClock(), share=settings.address_share)
        try:
            board.begin(await rest.symbols(), url)
        except (ExchangeUnavailable, StartupError) as error:
            return str(error)
    return board.describe()


async def _record(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(CrawlerSettings, environ, "crawler")
    if options.seconds:
        asyncio.get_running_loop().call_later(options.seconds, stop.set)
    return await program.record(
        settings,
        options.folder,
        seconds=options.file_seconds,
        size=options.file_megabytes * 1_000_000,
        stop=stop,
        clock=SystemClock(),
        random=Random(),  # noqa: S311  jitter
        proxy=proxies(environ),
    )


async def _verify(options: argparse.Namespace, _environ: Mapping[str, str], stop: asyncio.Event) -> int:
    return await program.verify(options.paths, stop, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crawler", description="Keeps order books in sync with an exchange and publishes them."
    )
    parser.add_argument("--version", action="version", version=version.describe("crawler"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("check", help="say whether settings and servers are all right")
    record = commands.add_parser("record", help="write what the exchange sends into files, to be played later")
    record.add_argument("folder", type=Path, metavar="DIR", help="a folder; files that are there stay as they are")
    record.add_argument("--seconds", type=_positive, metavar="N", help="end after so long (default: Ctrl-C ends it)")
    record.add_argument(
        "--file-seconds",
        type=_positive,
        default=3600.0,
        metavar="N",
        help="time a file (default: 3600, the full hours)",
    )
    record.add_argument(
        "--file-megabytes", type=_positive, default=256.0, metavar="N", help="most in a file (default: 256)"
    )
    verify = commands.add_parser("verify", help="replay recordings and say what is missing or wrong in them")
    verify.add_argument("paths", type=Path, nargs="+", metavar="FILE|DIR", help="recordings, or folders of them")
    verify.add_argument("--json", action="store_true", help="print a JSON object a venue, each on a line")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number
