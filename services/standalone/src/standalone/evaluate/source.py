"""Where instants come from, recordings or a store: the options that say so, and the way to them."""

import argparse
import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.pricing import Pricer
from converter.settings import ConverterSettings
from crawler.settings import CrawlerSettings
from fairprice.errors import StartupError, StoreUnavailable
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import SystemClock
from standalone.evaluate.capture import Capture
from standalone.evaluate.instants import Sampler
from standalone.evaluate.stored import sampled
from storer.audit.command import chosen, minutes, period
from storer.settings import StorerSettings
from storer.stores.port import Key
from storer.stores.reading import opened_reader

HOUR = 60
"""Minutes."""


@dataclass(frozen=True, slots=True)
class Source:
    """What was read: a sampler of each symbol, and how many lines, or parts of files, cannot be read."""

    samplers: Mapping[Key, Sampler]
    has_tickers: bool
    unreadable: int = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a source."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--capture",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="recordings in their order, or those of a folder, by the real-time mid of their tickers",
    )
    source.add_argument(
        "--from-store",
        action="store_true",
        help="the store of FAIRPRICE_STORE_URL, by the mid of its rows",
    )
    parser.add_argument(
        "--since",
        type=minutes,
        default=argparse.SUPPRESS,
        metavar="TIME",
        help="of a store: 30m, 1h (as without), 7d, or all",
    )
    parser.add_argument(
        "--symbol",
        nargs="+",
        action="extend",
        default=[],
        metavar="SYMBOL",
        help="BTCUSDT, or of a store VENUE:BTCUSDT; as without: all",
    )


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line with these options; exits with a usage error for one that would be passed over.

    `width` is that of the terminal, for whoever knows it.
    """
    options = parser.parse_args(arguments)
    if options.capture and "since" in options:
        parser.error("--since is of a store: name the recordings that are meant")
    options.since = getattr(options, "since", HOUR)
    options.width = None
    return options


async def read(
    options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event, names: Iterable[str]
) -> Source:
    """Return what the options name, with these values of each book; raises `StartupError` and `SettingsError`."""
    settings = ConverterSettings.load(environ)
    if not options.capture:
        return Source(await _stored(options, environ, stop, tuple(names)), has_tickers=False)
    pricer = Pricer(
        settings.estimator,
        settings.depth_bps,
        settings.impact_notionals,
        settings.curve_bps,
        settings.forecast_horizon,
    )
    capture = Capture(options.capture, pricer, names, levels=CrawlerSettings.load(environ).book_levels)
    await asyncio.to_thread(capture.read, stop.is_set)
    return Source(_chosen(capture, options.symbol), has_tickers=True, unreadable=capture.unreadable)


def _chosen(capture: Capture, symbols: Sequence[str]) -> dict[Key, Sampler]:
    """Return the samplers of these symbols, or of all; raises `StartupError` for one that is not there."""
    names = [re.sub("[/-]", "", symbol).upper() for symbol in symbols] or sorted(capture.samplers)
    if missing := [name for name in names if name not in capture.samplers]:
        there = ", ".join(sorted(capture.samplers))
        raise StartupError(f"the recordings hold no {', '.join(missing)}; they hold {there}")
    return {(capture.venue, name): capture.samplers[name] for name in dict.fromkeys(names)}


async def _stored(
    options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event, names: Sequence[str]
) -> dict[Key, Sampler]:
    start, end = period(options.since, SystemClock().wall())
    samplers: dict[Key, Sampler] = {}

    async def read_all() -> None:
        async with opened_reader(StorerSettings.load(environ)) as (reader, _):
            for key in await chosen(reader, options, start, end):
                samplers[key] = await sampled(reader, key, start, end, names)

    try:
        if not await lifecycle.drain(read_all(), stop, 0):
            raise StartupError("stopped before the end")
    except StoreUnavailable as error:
        raise StartupError(str(error)) from error
    return samplers
