"""`standalone fit`: fits Stoikov's micro-price to recordings or a store and writes it into a file."""

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fairprice.errors import StartupError
from fairprice.runtime import lifecycle
from standalone.evaluate import source
from standalone.evaluate.micro_price import fitted
from standalone.evaluate.model_file import describe, write_model
from standalone.evaluate.score import SECOND
from standalone.evaluate.states import NEEDED

DESCRIPTION = (
    "Fits Stoikov's micro-price to one symbol, for `standalone evaluate --micro-price FILE`, which judges it by what "
    "came later. Ends with 0: fitted; 1: fitted, but something could not be read; 2: it could not be done."
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; prints help or a usage error and exits like argparse does."""
    parser = argparse.ArgumentParser(prog="standalone fit", description=DESCRIPTION)
    source.add_options(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="take the first so many seconds alone")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write the model")
    return source.parsed(parser, arguments)


async def fit(
    options: argparse.Namespace, environ: Mapping[str, str], stop: asyncio.Event, write: Callable[[str], None]
) -> int:
    """Fit what the options ask for, tell what was fitted and return the exit code.

    Raises `StartupError` and `SettingsError`.
    """
    found = await source.read(options, environ, stop, NEEDED)
    if len(found.samplers) > 1:
        names = ", ".join(":".join(key) for key in found.samplers)
        raise StartupError(f"a model is of one symbol; choose one with --symbol: {names}")
    [((venue, symbol), sampler)] = found.samplers.items()
    if options.seconds is not None and sampler.instants.times:
        sampler.instants.forget_after(sampler.instants.times[0] + round(options.seconds * SECOND))
    try:
        model = fitted(venue, symbol, sampler.instants)
    except ValueError as error:
        raise StartupError(f"no micro-price can be fitted to {symbol} of {venue}: {error}") from error
    write_model(options.output, model)
    write(describe(model))
    if found.unreadable:
        write(f"warning: {found.unreadable:,} lines or parts of files cannot be read")
    return lifecycle.EXIT_INCOMPLETE if found.unreadable else lifecycle.EXIT_OK
