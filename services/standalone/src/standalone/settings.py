"""Everything that the embedded pipeline can be told: the settings of each service, and the command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converter.settings import ConverterSettings
from crawler.settings import CrawlerSettings
from fairprice.errors import SettingsError
from gateway.settings import GatewaySettings
from storer.settings import StorerSettings

DEMO_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DEFAULT_DATABASE = Path("var/fairprice.db")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `speed` is a factor, None for as fast as possible."""

    capture: Path | None
    speed: float | None
    live: bool
    once: bool
    seed: int
    database: Path
    port: int | None

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Options":
        """Read the command line; prints help or a usage error and exits like argparse does."""
        parser = _parser()
        options = cls(**vars(parser.parse_args(arguments)))
        if options.once and not options.capture:
            parser.error("--once needs --capture FILE: a market has no end")
        if options.live and options.capture:
            parser.error("--live and --capture exclude each other: market data come from Binance or from a recording")
        return options


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all services of one pipeline."""

    crawler: CrawlerSettings
    converter: ConverterSettings
    storer: StorerSettings
    gateway: GatewaySettings


def load(environ: Mapping[str, str], options: Options, recorded: Sequence[str]) -> Settings:
    """Return all settings; `recorded` are the symbols of the recording, if there is one.

    Raises `SettingsError` that names each wrong variable.
    """
    port = {} if options.port is None else {"http_port": options.port}
    settings = Settings(
        CrawlerSettings.load(environ, **_crawler_overrides(environ, options, recorded)),
        ConverterSettings.load(environ),
        StorerSettings.load(environ),
        GatewaySettings.load(environ, **port),
    )
    missing = set(settings.crawler.symbols) - set(recorded)
    if options.capture and missing:
        raise SettingsError(
            f"FAIRPRICE_SYMBOLS names {', '.join(sorted(missing))}, which {options.capture} does not hold; "
            f"it holds {', '.join(recorded)}"
        )
    return settings


def _crawler_overrides(environ: Mapping[str, str], options: Options, recorded: Sequence[str]) -> dict[str, object]:
    """A quiet log, for a person who looks at the page; one connection and no state for what is not Binance."""
    overrides: dict[str, object] = {} if environ.get("FAIRPRICE_LOG_LEVEL") else {"log_level": "warning"}
    if options.live:
        return overrides
    overrides |= {"stream_connections": 1, "state_dir": None}
    if not environ.get("FAIRPRICE_SYMBOLS"):
        overrides["symbols"] = tuple(recorded) if options.capture else DEMO_SYMBOLS
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="standalone",
        description="Fairprice in one process: a market, the order books, the fair prices, a database and a page.",
        epilog="Settings come from FAIRPRICE_* variables; README.md lists them.",
    )
    parser.add_argument("--capture", type=Path, metavar="FILE", help="play this recording instead of a made-up market")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N|max", help="speed of the recording (default: 1, as recorded)"
    )
    parser.add_argument("--live", action="store_true", help="follow Binance itself")
    parser.add_argument("--once", action="store_true", help="end when the recording has been played and stored")
    parser.add_argument("--seed", type=int, default=1, help="seed of the made-up market (default: 1)")
    parser.add_argument(
        "--database", type=Path, default=DEFAULT_DATABASE, metavar="PATH", help=f"default: {DEFAULT_DATABASE}"
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
