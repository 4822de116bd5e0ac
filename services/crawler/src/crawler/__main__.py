"""`python -m crawler record`: write what the exchange sends to a file."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import aiohttp

from crawler.binance.governor import Governor
from crawler.binance.rest import RestClient
from crawler.capture import Capture, open_recording
from crawler.settings import CrawlerSettings
from fairprice.errors import ExchangeUnavailable, InvalidMarketData, StartupError
from fairprice.runtime import lifecycle, logging


def main() -> int:
    """Run the command line and return the exit code."""
    return lifecycle.run(partial(_record, _parser().parse_args(), os.environ))


async def _record(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    settings = CrawlerSettings.load(environ)
    logging.configure(settings.log_level, settings.log_format, "crawler")
    if options.seconds:
        asyncio.get_running_loop().call_later(options.seconds, stop.set)
    with ExitStack() as stack:
        capture = Capture(settings, open_recording(stack, options.output), time.time_ns)
        print(f"Recording {', '.join(settings.symbols)} into {options.output}; Ctrl-C ends it.", file=sys.stderr)
        async with aiohttp.ClientSession() as session:
            rest = RestClient(
                session, settings.exchange_rest_url, Governor(), monotonic=time.monotonic, wall_clock=_wall_clock
            )
            try:
                await capture.run(session, rest, stop)
            except* (ExchangeUnavailable, InvalidMarketData) as errors:
                raise StartupError(f"recording ended after {capture.lines} lines: {errors.exceptions[0]}") from errors
    print(f"{capture.lines} lines in {options.output}.", file=sys.stderr)
    return lifecycle.EXIT_OK


def _wall_clock() -> int:
    return time.time_ns() // 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crawler", description="Follows Binance's order books.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    record = commands.add_parser("record", help="write what the exchange sends to a file, to be played later")
    record.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file; .gz compresses it")
    record.add_argument("--seconds", type=float, metavar="N", help="end after so long")
    return parser


if __name__ == "__main__":
    sys.exit(main())
