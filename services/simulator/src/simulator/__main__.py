"""`python -m simulator`: the exchange as a program of its own."""

import argparse
import asyncio
import logging
import platform
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simulator import (
    DIALECTS,
    Exchange,
    Playback,
    PortInUse,
    RecordingError,
    SimulatorServer,
    __version__,
    add_part_options,
)
from simulator.dialects import SPOT

DEFAULTS = {
    "symbols": ("BTCUSDT",), "seed": 1, "time_scale": 1.0,
    "speed": 1.0, "start": None, "end": None, "strict": False,
}  # fmt: skip
"""Of the options that mean something for a market alone, or for a recording alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; returns 2 for options, recordings or ports that cannot be used."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_serve(options))
    except (RecordingError, PortInUse) as problem:
        print(f"simulator: {problem}", file=sys.stderr)
        return 2
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; one that would be passed over is an error that says what to do."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for option in ("symbols", "seed", "time_scale") if given.capture else ():
        if option in given:
            parser.error(f"--{option.replace('_', '-')} is of a market; leave it out with --capture")
    if "speed" in given and not given.capture:
        parser.error("--speed needs --capture FILE; a market is made faster by --time-scale")
    for option, name in {"start": "from", "end": "to", "strict": "strict"}.items():
        if option in given and not given.capture:
            parser.error(f"--{name} needs --capture FILE: it is of a recording")
    return argparse.Namespace(**(DEFAULTS | vars(given)))


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with SimulatorServer(_source(options), host=options.host, port=options.port, at_present=True) as server:
        print(f"REST {server.rest_url}  streams {server.stream_url}  control {server.control_url}", flush=True)
        await stopped.wait()


def _source(options: argparse.Namespace) -> Exchange | Playback:
    if options.capture:
        playback = Playback(
            options.capture, speed=options.speed, start=options.start, end=options.end, strict=options.strict
        )
        if options.venue not in (None, playback.dialect.name):
            raise RecordingError(
                options.capture[0],
                0,
                f"a recording of {playback.dialect.name}, not of {options.venue}; leave --venue out",
            )
        return playback
    venue = options.venue or SPOT.name
    knobs = replace(DIALECTS[venue].knobs, time_scale=options.time_scale)
    return Exchange(options.symbols, options.seed, venue=venue, start_us=time.time_ns() // 1000, knobs=knobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simulator", description="An exchange that speaks Binance's market-data protocol."
    )
    version = f"simulator {__version__} (Python {platform.python_version()})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=9000, help="port to serve on, 0: any free one (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="seed of the market (default: 1)")
    parser.add_argument(
        "--symbols", type=_symbols, default=argparse.SUPPRESS, help="comma-separated (default: BTCUSDT)"
    )
    parser.add_argument(
        "--time-scale",
        type=_positive,
        default=argparse.SUPPRESS,
        help="how much faster than the wall clock a market lives",
    )
    parser.add_argument(
        "--venue", choices=tuple(DIALECTS), help=f"whose protocol it speaks (default: {SPOT.name}, or the recording's)"
    )
    parser.add_argument(
        "--capture",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="play these recordings, or those of a folder, instead of a market",
    )
    parser.add_argument(
        "--speed", type=_speed, default=argparse.SUPPRESS, help="of the recording: a factor, or 'max' (default: 1)"
    )
    add_part_options(parser)
    return parser


def _symbols(text: str) -> tuple[str, ...]:
    """Read symbols as people write them: `btcusdt`, `BTC/USDT` and `BTC-USDT` are `BTCUSDT`."""
    symbols = tuple(re.sub("[/-]", "", symbol.strip().upper()) for symbol in text.split(",") if symbol.strip())
    if not symbols or not all(re.fullmatch(r"\w{1,64}", symbol) for symbol in symbols):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of symbols like BTCUSDT,ETHUSDT")
    return symbols


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _speed(text: str) -> float | None:
    return None if text == "max" else _positive(text)


if __name__ == "__main__":
    sys.exit(main())
