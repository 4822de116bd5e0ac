"""One run of the embedded pipeline, from its command line to its exit code."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from shutil import get_terminal_size
from typing import Any

import orjson
import structlog

from converter.settings import ConverterSettings
from crawler.book.publication import Confirmed
from crawler.proxy import proxies
from fairprice import __version__
from fairprice.errors import StartupError
from fairprice.runtime import lifecycle
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.printing import print_line
from simulator import Exchange, Playback, PortInUse, RecordingError, SimulatorServer
from standalone.app import Pipeline, Summary
from standalone.evaluate import command as evaluation
from standalone.evaluate import fit as fitting
from standalone.settings import Options, Recorded, Settings, load
from storer.stores.coverage import covered_until
from storer.stores.sqlite import open_sqlite
from storer.stores.sqlite_retention import KEEP_ALL

Command = Callable[
    [argparse.Namespace, Mapping[str, str], asyncio.Event, Callable[[str], None]], Coroutine[Any, Any, int]
]

log = structlog.get_logger(__name__)


def main() -> int:
    """Run the pipeline, or a command, and return the exit code: 0 done and right, 1 something is wrong, 2 not done."""
    if sys.argv[1:2] == ["evaluate"]:
        return _only_reading(evaluation.evaluate, evaluation.parse(sys.argv[2:]))
    if sys.argv[1:2] == ["fit"]:
        return _only_reading(fitting.fit, fitting.parse(sys.argv[2:]))
    options = Options.parse(sys.argv[1:])
    return lifecycle.run(partial(_main, options, os.environ), unfinished="what was not stored is lost")


async def _main(options: Options, environ: Mapping[str, str], stop: asyncio.Event) -> int:
    playback = _playback(options)
    recorded = Recorded(playback.dialect.name, playback.contents.symbols) if playback else None
    settings = load(environ, options, recorded)
    lifecycle.begin_log(settings.crawler.log_level, settings.crawler.log_format, "standalone", environ)
    async with AsyncExitStack() as stack:
        if not options.live:
            server = SimulatorServer(
                playback or _market(settings, options), close_when_played=options.once, at_present=True
            )
            settings = _pointed_at(settings, await _entered(stack, server))
        bounds = KEEP_ALL if options.capture else settings.storer.bounds
        store = await open_sqlite(options.database, origin=options.origin, bounds=bounds)
        stack.push_async_callback(store.close)
        pipeline = Pipeline(
            settings,
            store,
            random=Random(),  # noqa: S311  jitter
            clock=SystemClock(),
            replay=playback is not None,
            confirmed=await _confirmed(settings, options),
            proxy=proxies(environ),
            on_serving=partial(_greet, options, settings),
        )
        summary = await pipeline.run(stop)
        return _finish(options, summary)  # before the store is closed, which a frozen disk may keep from ending


def _only_reading(command: Command, options: argparse.Namespace) -> int:
    async def main(stop: asyncio.Event) -> int:
        lifecycle.start(ConverterSettings, os.environ, "standalone", quiet=True)
        options.width = get_terminal_size().columns if sys.stdout.isatty() else None
        return await command(options, os.environ, stop, print_line)

    return lifecycle.run(main, unfinished="it only reads")


def _playback(options: Options) -> Playback | None:
    if not options.capture:
        return None
    try:
        return Playback(
            options.capture, speed=options.speed, start=options.start, end=options.end, strict=options.strict
        )
    except RecordingError as error:
        raise StartupError(str(error)) from error


def _market(settings: Settings, options: Options) -> Exchange:
    crawler = settings.crawler
    return Exchange(crawler.symbols, options.seed, venue=crawler.venue, start_us=SystemClock().wall())


async def _entered(stack: AsyncExitStack, server: SimulatorServer) -> SimulatorServer:
    try:
        return await stack.enter_async_context(server)
    except PortInUse as error:
        raise StartupError(str(error)) from error


def _pointed_at(settings: Settings, server: SimulatorServer) -> Settings:
    """Return the settings with the simulator as the exchange."""
    crawler = settings.crawler.model_copy(
        update={"exchange_rest_url": server.rest_url, "exchange_stream_url": server.stream_url}
    )
    return Settings(crawler, settings.converter, settings.storer, settings.gateway)


async def _confirmed(settings: Settings, options: Options) -> dict[str, Confirmed]:
    """Return where the rows of an earlier run end; the broker's word is none here, since it ends with the process."""
    if not options.live:
        return {}
    covered = await asyncio.to_thread(covered_until, options.database, settings.crawler.venue)
    return {symbol: Confirmed(*last) for symbol, last in covered.items()}


def _greet(options: Options, settings: Settings, url: str) -> None:
    recordings = " ".join(map(str, options.capture))
    market = "the exchange itself" if options.live else recordings or "a made-up market (nothing leaves this machine)"
    symbols, venue = ", ".join(settings.crawler.symbols), settings.crawler.venue
    print(f"Fairprice {__version__} follows {symbols} of {venue}: {market}.", file=sys.stderr)
    print(f"  page      {url}/", file=sys.stderr)
    print(f"  JSON      {url}/api/prices", file=sys.stderr)
    print(f"  database  {options.database}", file=sys.stderr)
    print("Ctrl-C ends it.", file=sys.stderr, flush=True)


def _finish(options: Options, summary: Summary) -> int:
    for symbol in summary.without_books:
        print(f"warning: no book could be made of {symbol}{_why(options)}", file=sys.stderr)
    for symbol in summary.out_of_sync:
        if symbol not in summary.without_books:
            print(f"warning: the book of {symbol} was not in sync at the end", file=sys.stderr)
    if summary.not_stored:
        print(f"error: not stored, and lost: {summary.not_stored}", file=sys.stderr)
    line = {
        "books": summary.books,
        "prices": summary.prices,
        "gaps": summary.gaps,
        "without_books": summary.without_books,
        "out_of_sync": summary.out_of_sync,
        "dead_letters": summary.dead_letters,
        "seconds": summary.seconds,
        "database": str(options.database),
    }
    if options.once:
        print(orjson.dumps(line).decode())
    else:
        print(
            f"Stored {summary.prices} prices of {summary.books} books and {summary.gaps} gaps "
            f"in {summary.seconds:.0f} s in {options.database}.",
            file=sys.stderr,
            flush=True,
        )
    is_wrong = summary.dead_letters or summary.out_of_sync or summary.without_books or summary.prices != summary.books
    return lifecycle.EXIT_INCOMPLETE if summary.not_stored or (options.once and is_wrong) else lifecycle.EXIT_OK


def _why(options: Options) -> str:
    return ": the recording holds no snapshot that its diffs continue" if options.once else " before the end"
