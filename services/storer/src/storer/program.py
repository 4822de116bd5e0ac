"""The commands of a storer: rows of what comes over RabbitMQ, checks, audits, credentials."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import Random
from shutil import get_terminal_size

import aiohttp

from fairprice.broker.client import BrokerSettings, broker_problem, connected
from fairprice.errors import SettingsError, StoreUnavailable
from fairprice.runtime import lifecycle, version
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.health import describe, serve_health
from fairprice.runtime.printing import print_line
from fairprice.store_address import InfluxAddress, SqliteAddress
from storer.app import Counters, run
from storer.audit.command import DESCRIPTION, Terminal, add_options, audit
from storer.export import command as exporting
from storer.export.command import export
from storer.influx_api import InfluxApi
from storer.provisioning import Credentials, provision
from storer.rescue import DESCRIPTION as RESCUE
from storer.rescue import rescue
from storer.settings import StorerSettings
from storer.stores.influxdb import open_influxdb
from storer.stores.port import Store
from storer.stores.reading import opened_reader
from storer.stores.sqlite import open_sqlite

PORT = 8003
PATIENCE = aiohttp.ClientTimeout(total=30)


def main() -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args()
    command = _COMMANDS.get(options.command, _run)
    return lifecycle.run(partial(command, options, os.environ))


async def open_store(settings: StorerSettings) -> Store:
    """Open the store that the settings name, inside the event loop that will use it.

    A SQLite file has to be usable now, else `StartupError` is raised; a server may come later.
    """
    match settings.store_url:
        case SqliteAddress(path):
            return await open_sqlite(path, bounds=settings.bounds)
        case InfluxAddress() as address:
            return open_influxdb(
                address, settings.store_token, timeout=settings.store_timeout, compress=settings.store_gzip
            )


async def _run(_options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(StorerSettings, environ, "storer")
    counters = Counters()
    store = await open_store(settings)
    try:
        async with connected("storer", BrokerSettings.load(environ)) as broker:
            checks = {**broker.checks(), **counters.checks()}
            async with serve_health(environ, "storer", PORT, checks, counters.samples, broker.samples):
                random = Random()  # noqa: S311  jitter
                storing = run(settings, broker, store, clock=SystemClock(), random=random, stop=stop, counters=counters)
                await lifecycle.drain(storing, stop)
    finally:
        await store.close()
    return lifecycle.EXIT_OK


async def _check(_options: argparse.Namespace, environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = lifecycle.start(StorerSettings, environ, "storer", quiet=True)
    store = await open_store(settings)
    try:
        await store.ping()
        store_problem = None
    except StoreUnavailable as error:
        store_problem = str(error)
    finally:
        await store.close()
    problems = {"broker": await broker_problem("storer", BrokerSettings.load(environ)), "store": store_problem}
    print(describe({"settings": None, **problems}))
    return 1 if any(problems.values()) else lifecycle.EXIT_OK


async def _audit(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(StorerSettings, environ, "storer", quiet=True)
    colour = sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    terminal = Terminal(print_line, get_terminal_size().columns, colour=colour)
    exit_code = lifecycle.EXIT_FATAL

    async def work() -> None:
        nonlocal exit_code
        async with opened_reader(settings) as (reader, origin):
            exit_code = await audit(reader, options, SystemClock().wall(), terminal, origin=origin)

    await lifecycle.drain(work(), stop, 0)
    return exit_code


async def _export(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = lifecycle.start(StorerSettings, environ, "storer", quiet=True)
    show = partial(print, end="", file=sys.stderr, flush=True) if sys.stderr.isatty() else None
    exit_code = lifecycle.EXIT_FATAL

    async def work() -> None:
        nonlocal exit_code
        async with opened_reader(settings) as (reader, origin):
            await export(reader, options, SystemClock().wall(), print_line, show=show, origin=origin)
        exit_code = lifecycle.EXIT_OK

    await lifecycle.drain(work(), stop, 0)
    return exit_code


async def _provision(options: argparse.Namespace, environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = StorerSettings.load(environ)
    address = settings.store_url
    if not isinstance(address, InfluxAddress):
        raise SettingsError("FAIRPRICE_STORE_URL: provision is for InfluxDB; no other store needs it")
    to = Credentials(
        options.grafana_user,
        options.storer_token_file,
        options.gateway_token_file,
        options.grafana_token_file,
        options.grafana_password_file,
    )
    async with aiohttp.ClientSession(timeout=PATIENCE) as session:
        api = InfluxApi(session, address, settings.store_token.get_secret_value())
        for step in await provision(api, address.org, address.bucket, settings.store_retention, to):
            print(f"{step.outcome:9} {step.thing}" + (f": {step.secret}" if step.secret else ""))
    return lifecycle.EXIT_OK


async def _rescue(options: argparse.Namespace, _environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    rescued = await asyncio.to_thread(rescue, options.file, print_line)
    print_line(
        f"What could be read is in {rescued}. Move {options.file} away, with the files beside it, and this one there."
    )
    return lifecycle.EXIT_OK


_COMMANDS = {"check": _check, "audit": _audit, "export": _export, "provision": _provision, "rescue": _rescue}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="storer", description="Stores prices, books and gaps.")
    parser.add_argument("--version", action="version", version=version.describe("storer"))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("check", help="say whether settings and servers are all right")
    proof = commands.add_parser(
        "audit", help="prove from the stored rows that nothing is missing", description=DESCRIPTION
    )
    add_options(proof)
    taken = commands.add_parser(
        "export", help="write prices, gaps and verdicts into files", description=exporting.DESCRIPTION
    )
    exporting.add_options(taken)
    saved = commands.add_parser("rescue", help="copy what can be read of a damaged SQLite file", description=RESCUE)
    saved.add_argument("file", type=Path, metavar="FILE", help="the damaged file")
    description = (
        "Makes in the InfluxDB of FAIRPRICE_STORE_URL the buckets, the task of the one-minute bars and the credentials "
        "that are missing. FAIRPRICE_STORE_TOKEN has to be the operator's. A secret without a file is shown once."
    )
    command = commands.add_parser("provision", help="make what InfluxDB has to have", description=description)
    command.add_argument(
        "--storer-token-file", type=Path, metavar="FILE", help="takes the token that may read and write ticks"
    )
    command.add_argument(
        "--gateway-token-file", type=Path, metavar="FILE", help="takes the token with which the page reads the past"
    )
    command.add_argument("--grafana-token-file", type=Path, metavar="FILE", help="takes the token that may read")
    command.add_argument(
        "--grafana-password-file",
        type=Path,
        metavar="FILE",
        help="holds, or takes, the password of the user who may read by InfluxQL",
    )
    command.add_argument("--grafana-user", default="grafana", metavar="NAME", help="the name of that user: %(default)s")
    return parser
