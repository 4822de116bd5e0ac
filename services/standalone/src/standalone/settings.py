"""Configuration of the embedded pipeline: the settings of each service, and the command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converter.settings import ConverterSettings
from crawler.selection import is_pattern
from crawler.settings import CrawlerSettings
from fairprice.errors import SettingsError
from fairprice.runtime import version
from fairprice.store_address import SqliteAddress
from gateway.settings import GatewaySettings
from simulator import Moment, add_part_options
from storer.settings import StorerSettings

DEMO_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DATABASES = {
    "an exchange": Path("var/fairprice.db"),
    "a made-up market": Path("var/simulated.db"),
    "a recording": Path("var/replay.db"),
}
"""Where rows are stored unless the command line says otherwise, by their origin: they never mix."""

QUOTE_INTERVAL = 0.01
"""Seconds between two quotes of a symbol for the page of a market or a recording at its own speed."""

_OF_A_RECORDING = {
    "once": ("--once", "a market has no end"),
    "speed": ("--speed", "a market lives at its own speed"),
    "start": ("--from", "a market begins when it is started"),
    "end": ("--to", "a market has no end"),
    "strict": ("--strict", "it is about what cannot be read of a recording"),
}
"""Options that mean something for a recording alone, each with its name and the reason."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `speed` is a factor, None for as fast as possible; `start` and `end` are of recordings."""

    capture: tuple[Path, ...]
    live: bool
    database: Path
    port: int | None
    speed: float | None = 1.0
    once: bool = False
    seed: int = 1
    start: Moment | None = None
    end: Moment | None = None
    strict: bool = False

    @property
    def origin(self) -> str:
        """Where the rows come from, a key of `DATABASES`."""
        if self.live:
            return "an exchange"
        return "a recording" if self.capture else "a made-up market"

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Options":
        """Read the command line; prints help or a usage error and exits like argparse does.

        An option that would be passed over is such an error.
        """
        parser = _parser()
        given = vars(parser.parse_args(arguments))
        options = cls(**given)
        if options.live and options.capture:
            parser.error(
                "--live and --capture exclude each other: market data come from the exchange or from a recording"
            )
        for option, (name, reason) in _OF_A_RECORDING.items():
            if option in given and not options.capture:
                parser.error(f"{name} needs --capture FILE: {reason}")
        if "seed" in given and options.origin != "a made-up market":
            parser.error(
                f"--seed chooses a made-up market; leave it out with --{'live' if options.live else 'capture'}"
            )
        return replace(options, database=options.database or DATABASES[options.origin])


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all services of one pipeline."""

    crawler: CrawlerSettings
    converter: ConverterSettings
    storer: StorerSettings
    gateway: GatewaySettings


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording settles: its venue, and the symbols that can be followed."""

    venue: str
    symbols: tuple[str, ...]


def load(environ: Mapping[str, str], options: Options, recorded: Recorded | None) -> Settings:
    """Return all settings; those of the exchange follow from the recording, if there is one.

    Raises `SettingsError` that names each wrong variable.
    """
    port: dict[str, object] = {} if options.port is None else {"http_port": options.port}
    settings = Settings(
        CrawlerSettings.load(environ, **_crawler_overrides(environ, options, recorded)),
        ConverterSettings.load(environ),
        StorerSettings.load(environ),
        GatewaySettings.load(environ, **port, store_url=SqliteAddress(options.database)),
    )
    if recorded:
        _check(environ, settings, recorded)
    if not options.live and (patterns := list(filter(is_pattern, settings.crawler.symbols))):
        raise SettingsError(
            f"FAIRPRICE_SYMBOLS: {', '.join(patterns)} chooses among what an exchange lists (--live); "
            "name each symbol of a made-up market or a recording"
        )
    return settings


def _check(environ: Mapping[str, str], settings: Settings, recorded: Recorded) -> None:
    venue = environ.get("FAIRPRICE_VENUE", "").strip().lower() or recorded.venue
    if venue != recorded.venue:
        raise SettingsError(
            f"FAIRPRICE_VENUE is {venue}, but the recording is of {recorded.venue}; "
            "leave it out or name another recording"
        )
    if missing := set(settings.crawler.symbols) - set(recorded.symbols):
        raise SettingsError(
            f"FAIRPRICE_SYMBOLS names {', '.join(sorted(missing))}, which the recording does not hold; "
            f"it holds {', '.join(recorded.symbols)}"
        )


def _crawler_overrides(environ: Mapping[str, str], options: Options, recorded: Recorded | None) -> dict[str, object]:
    """A quiet log, for a person who looks at the page; no state beside the database, whose rows tell where they end.

    Quotes, for a page that moves with the market, unless a recording is played faster than anybody can look on.
    """
    overrides: dict[str, object] = {"state_dir": None}
    if not environ.get("FAIRPRICE_QUOTE_INTERVAL") and options.speed is not None and options.speed <= 1:
        overrides["quote_interval"] = QUOTE_INTERVAL
    if not environ.get("FAIRPRICE_LOG_LEVEL"):
        overrides["log_level"] = "warning"
    if options.live:
        return overrides
    overrides["stream_connections"] = 1
    if recorded:
        overrides["venue"] = recorded.venue
    if not environ.get("FAIRPRICE_SYMBOLS"):
        overrides["symbols"] = recorded.symbols if recorded else DEMO_SYMBOLS
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="standalone",
        description="Fairprice in one process: a market, the order books, the fair prices, a database and a page.",
        epilog="Settings come from FAIRPRICE_* variables; README.md lists them. "
        "`standalone evaluate --help` tells of the command that measures which estimator beats the mid, "
        "`standalone fit --help` of the one that fits a micro-price for it.",
    )
    parser.add_argument("--version", action="version", version=version.describe("standalone"))
    parser.add_argument(
        "--capture",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE",
        help="play these recordings in their order, or those of a folder, instead of a made-up market",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=argparse.SUPPRESS,
        metavar="N|max",
        help="speed of the recording (default: 1, as recorded)",
    )
    add_part_options(parser)
    parser.add_argument(
        "--live", action="store_true", help="follow the exchange itself, the one that FAIRPRICE_VENUE names"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        default=argparse.SUPPRESS,
        help="end when the recording has been played and stored",
    )
    parser.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="seed of the made-up market (default: 1)")
    parser.add_argument(
        "--database",
        type=Path,
        metavar="PATH",
        help="default: " + ", ".join(f"{path} for {origin}" for origin, path in DATABASES.items()),
    )
    parser.add_argument("--port", type=_port, metavar="N", help="port of the page, 0 for any (default: 8000)")
    return parser


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a positive number nor max")
    return speed


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65535")
    return int(text)
