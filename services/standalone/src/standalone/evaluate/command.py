"""`standalone evaluate`: its options, its way to recordings and stores, what it prints, the code that it ends with."""

import argparse
import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import orjson

from converter.pricing import Pricer
from converter.settings import ConverterSettings
from crawler.settings import CrawlerSettings
from fairprice.errors import StartupError, StoreUnavailable
from fairprice.estimates import ESTIMATES
from fairprice.events import PRICE_VALUES
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import SystemClock
from standalone.evaluate.bands import bands, ends
from standalone.evaluate.bootstrap import LEAST_BLOCKS, Randomness
from standalone.evaluate.capture import Capture
from standalone.evaluate.instants import STEP, Sampler
from standalone.evaluate.judge import Judge
from standalone.evaluate.plot import plot
from standalone.evaluate.report import Report, as_json, lines
from standalone.evaluate.score import SECOND
from standalone.evaluate.stored import sampled
from storer.audit.command import chosen, minutes, period
from storer.settings import StorerSettings
from storer.stores.port import Key
from storer.stores.reading import opened_reader

DESCRIPTION = (
    "Measures which estimator tells more than the mid about the mid a moment later, and whether that can be shown. "
    "Ends with 0: measured, whatever came out; 1: measured, but a control beats the mid, something could not be read, "
    "or a symbol has too little; 2: it could not be done."
)

HORIZONS = (0.5, 1.0, 5.0)
LONGEST = 60.0
"""Seconds."""

HOUR = 60
"""Minutes."""

SEED = 1
"""Of what is drawn by lot, so that the same data give the same figures."""

BAND_ENDS = tuple(name for horizon in bands(PRICE_VALUES) for name in ends(horizon))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; prints help or a usage error and exits like argparse does."""
    parser = argparse.ArgumentParser(
        prog="standalone evaluate",
        description=DESCRIPTION,
        epilog="docs/fair-price.md tells how it is measured, and what came out so far.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--capture",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="recordings in their order, or those of a folder, against the real-time mid of their tickers",
    )
    source.add_argument(
        "--from-store",
        action="store_true",
        help="the store of FAIRPRICE_STORE_URL, against the mid of the row a horizon later",
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
    parser.add_argument(
        "--horizon",
        type=_horizon,
        nargs="+",
        default=[_horizon(str(seconds)) for seconds in HORIZONS],
        metavar="SECONDS",
        help="how much later, in tenths of a second (default: "
        + " ".join(f"{seconds:g}" for seconds in HORIZONS)
        + ")",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for programs")
    parser.add_argument("--png", type=Path, metavar="FILE", help="also draw the intervals into a picture")
    options = parser.parse_args(arguments)
    if options.capture and "since" in options:
        parser.error("--since is of a store: name the recordings that are meant")
    options.since = getattr(options, "since", HOUR)
    return options


async def evaluate(
    options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event, write: Callable[[str], None]
) -> int:
    """Measure what the options ask for, print what was found and return the exit code.

    Raises `StartupError` and `SettingsError`.
    """
    settings = lifecycle.start(ConverterSettings, environ, "standalone", quiet=True)
    unreadable = 0
    if options.capture:
        pricer = Pricer(
            settings.estimator,
            settings.depth_bps,
            settings.impact_notionals,
            settings.curve_bps,
            settings.forecast_horizon,
        )
        levels = CrawlerSettings.load(environ).book_levels
        capture = Capture(options.capture, pricer, (*ESTIMATES, *BAND_ENDS), levels=levels)
        await asyncio.to_thread(capture.read, stop.is_set)
        samplers, unreadable = _chosen(capture, options.symbol), capture.unreadable
    else:
        samplers = await _stored(options, environ, stop)
    reports = await asyncio.to_thread(
        _judged, samplers, options.horizon, stop.is_set, has_tickers=bool(options.capture)
    )
    exit_code = _exit_code(reports, unreadable)
    if options.png:
        _draw(reports, options.png)
    if options.json:
        found = {"unreadable": unreadable, "exit_code": exit_code, "symbols": [as_json(each) for each in reports]}
        write(orjson.dumps(found).decode())
    else:
        for line in _lines(reports, unreadable):
            write(line)
    return exit_code


def _chosen(capture: Capture, symbols: Sequence[str]) -> dict[Key, Sampler]:
    """Return the samplers of these symbols, or of all; raises `StartupError` for one that is not there."""
    names = [re.sub("[/-]", "", symbol).upper() for symbol in symbols] or sorted(capture.samplers)
    if missing := [name for name in names if name not in capture.samplers]:
        there = ", ".join(sorted(capture.samplers))
        raise StartupError(f"the recordings hold no {', '.join(missing)}; they hold {there}")
    return {(capture.venue, name): capture.samplers[name] for name in dict.fromkeys(names)}


async def _stored(options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event) -> dict[Key, Sampler]:
    start, end = period(options.since, SystemClock().wall())
    samplers: dict[Key, Sampler] = {}

    async def read() -> None:
        async with opened_reader(StorerSettings.load(environ)) as (reader, _):
            for key in await chosen(reader, options, start, end):
                samplers[key] = await sampled(reader, key, start, end, (*ESTIMATES, *BAND_ENDS))

    try:
        if not await lifecycle.drain(read(), stop, 0):
            raise StartupError("stopped before the end")
    except StoreUnavailable as error:
        raise StartupError(str(error)) from error
    return samplers


def _judged(
    samplers: Mapping[Key, Sampler], horizons: Sequence[int], is_stopped: Callable[[], bool], *, has_tickers: bool
) -> list[Report]:
    """Return what is found of each symbol; raises `StartupError` when it was stopped before."""
    reports = []
    for (venue, symbol), sampler in samplers.items():
        instants = sampler.instants
        judge = Judge(instants, _lots, has_tickers=has_tickers)
        scores = []
        for horizon in sorted(set(horizons)):
            for name in ESTIMATES:
                if is_stopped():
                    raise StartupError("stopped before the end")
                scores.append(judge.score(name, horizon))
        covered = [found for horizon in bands(PRICE_VALUES) if (found := judge.coverage(horizon))]
        times = (instants.times[0], instants.times[-1]) if instants.times else (0, 0)
        counts = len(instants), sampler.books, sampler.tickers, sampler.breaks
        reports.append(Report(venue, symbol, has_tickers, *times, *counts, scores, covered))
    return reports


def _lots(name: str) -> Randomness:
    return Random(f"{SEED} {name}").random  # noqa: S311  a lot that can be repeated


def _exit_code(reports: Sequence[Report], unreadable: int) -> int:
    """Return the exit code; raises `StartupError` where nothing can be said of any symbol."""
    if all(report.is_too_short for report in reports):
        seconds = ", ".join(f"{each.symbol} of {each.venue} has {each.seconds:,.0f} s" for each in reports)
        raise StartupError(
            f"too few pairs to say anything: {seconds}; {LEAST_BLOCKS} stretches of ten seconds, and moves of the mid "
            "in them, are the least"
        )
    is_wrong = unreadable or any(report.is_too_short or report.suspicions for report in reports)
    return lifecycle.EXIT_INCOMPLETE if is_wrong else lifecycle.EXIT_OK


def _draw(reports: Sequence[Report], path: Path) -> None:
    try:
        path.write_bytes(plot(reports).png())
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror or error}") from error


def _lines(reports: Sequence[Report], unreadable: int) -> Iterator[str]:
    for number, report in enumerate(reports):
        yield from ("",) * (number > 0)
        yield from lines(report)
    if unreadable:
        yield f"warning: {unreadable:,} lines or parts of files cannot be read"


def _horizon(text: str) -> int:
    """Return the microseconds of a number of seconds."""
    try:
        microseconds = float(text) * SECOND
    except ValueError:
        microseconds = 0.0
    if not STEP <= microseconds <= LONGEST * SECOND or microseconds % STEP:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to {LONGEST:g}, in tenths")
    return round(microseconds)
