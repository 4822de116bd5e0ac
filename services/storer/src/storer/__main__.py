"""`python -m storer provision`: make in InfluxDB what the pipeline needs."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import aiohttp

from fairprice.errors import SettingsError
from fairprice.runtime import lifecycle
from storer.influx_api import InfluxApi
from storer.provisioning import Credentials, provision
from storer.settings import StorerSettings
from storer.stores.address import InfluxAddress

PATIENCE = aiohttp.ClientTimeout(total=30)


def main() -> int:
    """Run the command line and return the exit code."""
    return lifecycle.run(partial(_provision, _parser().parse_args(), os.environ))


async def _provision(options: argparse.Namespace, environ: Mapping[str, str], _stop: asyncio.Event) -> int:
    settings = StorerSettings.load(environ)
    address = settings.store_url
    if not isinstance(address, InfluxAddress):
        raise SettingsError("FAIRPRICE_STORE_URL: provision is for InfluxDB; a SQLite file needs none")
    to = Credentials(
        options.grafana_user, options.storer_token_file, options.grafana_token_file, options.grafana_password_file
    )
    async with aiohttp.ClientSession(timeout=PATIENCE) as session:
        api = InfluxApi(session, address, settings.store_token.get_secret_value())
        for step in await provision(api, address.org, address.bucket, settings.store_retention, to):
            print(f"{step.outcome:9} {step.thing}" + (f": {step.secret}" if step.secret else ""))
    return lifecycle.EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="storer", description="Stores prices, books and gaps.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    description = (
        "Makes in the InfluxDB of FAIRPRICE_STORE_URL the buckets, the task of the one-minute bars and the credentials "
        "that are missing. FAIRPRICE_STORE_TOKEN has to be the operator's. A secret without a file is shown once."
    )
    command = commands.add_parser("provision", help="make what InfluxDB has to have", description=description)
    command.add_argument("--storer-token-file", type=Path, metavar="FILE", help="takes the token that may write ticks")
    command.add_argument("--grafana-token-file", type=Path, metavar="FILE", help="takes the token that may read")
    command.add_argument(
        "--grafana-password-file",
        type=Path,
        metavar="FILE",
        help="holds, or takes, the password of the user who may read by InfluxQL",
    )
    command.add_argument("--grafana-user", default="grafana", metavar="NAME", help="the name of that user: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
