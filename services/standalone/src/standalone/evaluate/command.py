"""`standalone evaluate`: its options, its way to recordings and stores, what it prints, the code that it ends with."""

import argparse
import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import orjson

from fairprice.errors import StartupError
from fairprice.estimates import ESTIMATES
from fairprice.events import PRICE_VALUES
from fairprice.runtime import lifecycle
from standalone.evaluate import source
from standalone.evaluate.bands import bands, ends
from standalone.evaluate.bootstrap import LEAST_BLOCKS, Randomness
from standalone.evaluate.instants import STEP, Instants
from standalone.evaluate.judge import Judge
from standalone.evaluate.micro_price import AHEAD, LIMIT, MicroPrice, say_again
from standalone.evaluate.model_file import decimal, describe, read_model
from standalone.evaluate.plot import plot
from standalone.evaluate.report import Report, as_json, lines
from standalone.evaluate.score import SECOND
from standalone.evaluate.source import Source
from standalone.evaluate.states import NEEDED, tick_of

DESCRIPTION = (
    "Measures which estimator tells more than the mid about the mid a moment later, and whether that can be shown. "
    "Ends with 0: measured, whatever came out; 1: measured, but a control beats the mid, something could not be read, "
    "or a symbol has too little; 2: it could not be done."
)

HORIZONS = (0.5, 1.0, 5.0)
LONGEST = 60.0
"""Seconds."""

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
    source.add_options(parser)
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
    parser.add_argument(
        "--micro-price", type=Path, metavar="FILE", help="judge the micro-price of `standalone fit` as well"
    )
    return source.parsed(parser, arguments)


async def evaluate(
    options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event, write: Callable[[str], None]
) -> int:
    """Measure what the options ask for, print what was found and return the exit code.

    Raises `StartupError` and `SettingsError`.
    """
    model = read_model(options.micro_price) if options.micro_price else None
    found = await source.read(options, environ, stop, (*ESTIMATES, *BAND_ENDS, *(NEEDED if model else ())))
    if model:
        _check(model, found)
    reports = await asyncio.to_thread(_judged, found, model, options.horizon, stop.is_set)
    exit_code = _exit_code(reports, found.unreadable)
    if options.png:
        _draw(reports, options.png)
    if options.json:
        told = {"unreadable": found.unreadable, "exit_code": exit_code, "symbols": [as_json(each) for each in reports]}
        write(orjson.dumps(told).decode())
    else:
        for line in _lines(reports, found.unreadable, options.width):
            write(line)
    return exit_code


def _check(model: MicroPrice, found: Source) -> None:
    """Raise `StartupError` where the model is not of what was read."""
    sampler = found.samplers.get((model.venue, model.symbol))
    if sampler is None:
        there = ", ".join(f"{symbol} of {venue}" for venue, symbol in found.samplers)
        raise StartupError(f"the micro-price is of {model.symbol} of {model.venue}; there is {there}")
    tick = tick_of(sampler.instants)
    if tick is not None and tick != model.tick:
        raise StartupError(
            f"the micro-price is of a tick of {decimal(model.tick)}, and {model.symbol} of {model.venue} has one of "
            f"{decimal(tick)}: fit it anew"
        )


def _judged(
    found: Source, model: MicroPrice | None, horizons: Iterable[int], is_stopped: Callable[[], bool]
) -> list[Report]:
    """Return what is found of each symbol; raises `StartupError` when it was stopped before."""
    reports = []
    for (venue, symbol), sampler in found.samplers.items():
        instants, names, notes = sampler.instants, [*ESTIMATES], []
        if model and (model.venue, model.symbol) == (venue, symbol):
            say_again(instants, model, horizons)
            names += [LIMIT, AHEAD]
            notes = [f"{describe(model)}; {_age(model, instants)}"]
        judge = Judge(instants, _lots, has_tickers=found.has_tickers)
        scores = []
        for horizon in sorted(set(horizons)):
            for name in names:
                if is_stopped():
                    raise StartupError("stopped before the end")
                scores.append(judge.score(name, horizon))
        covered = [band for horizon in bands(PRICE_VALUES) if (band := judge.coverage(horizon))]
        times = (instants.times[0], instants.times[-1]) if instants.times else (0, 0)
        counts = len(instants), sampler.books, sampler.tickers, sampler.breaks
        reports.append(Report(venue, symbol, found.has_tickers, *times, *counts, scores, covered, notes))
    return reports


def _age(model: MicroPrice, instants: Instants) -> str:
    """Say how old a model is where it is judged."""
    begin, end = ((time - model.last_time) / SECOND for time in (instants.times[0], instants.times[-1]))
    if end <= 0:
        return "all of this is older, so it is not judged"
    return f"judged {max(begin, 0):,.0f} to {end:,.0f} s later, and it grows old within minutes"


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


def _lines(reports: Sequence[Report], unreadable: int, width: int | None) -> Iterator[str]:
    for number, report in enumerate(reports):
        yield from ("",) * (number > 0)
        yield from lines(report, width)
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
