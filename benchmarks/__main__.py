"""`python -m benchmarks [NAME] [--rounds N] [--seconds N]`: prints one line a figure."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import (
    bench_audit,
    bench_book_engine,
    bench_broker,
    bench_chain,
    bench_latency,
    bench_pipeline,
    bench_quotes,
    bench_scaling,
    bench_storer,
    bench_symbols,
    recording,
    servers,
)

PACKAGES = ("orjson", "aiohttp", "uvloop", "aio-pika", "cryptofeed")

ROUNDS, ROUNDS_ON_SERVERS = 9, 5
"""How often a comparison is repeated unless told otherwise; one on servers takes ten to thirty seconds."""

Report = Callable[[argparse.Namespace], Iterator[str]]


def _peers(material: recording.Recording) -> bench_book_engine.Prepared:
    from benchmarks import peer_cryptofeed  # noqa: PLC0415  only the environment of `benchmarks.peers` has the library

    return peer_cryptofeed.works(material)


def _book(options: argparse.Namespace) -> Iterator[str]:
    material = recording.load()
    peers = _peers(material) if options.cryptofeed else {}
    return bench_book_engine.report(material, options.rounds or ROUNDS, peers)


IN_PROCESS: dict[str, Report] = {
    "book": _book,
    "audit": lambda _options: bench_audit.report(),
    "quotes": lambda options: bench_quotes.report(recording.load(), options.rounds or ROUNDS, options.seconds),
    "symbols": lambda options: bench_symbols.report(options.rounds or ROUNDS_ON_SERVERS),
    "pipeline": lambda options: bench_pipeline.report(recording.load(), options.rounds or ROUNDS),
}
ON_SERVERS: dict[str, Report] = {
    "broker": lambda options: bench_broker.report(options.rounds or ROUNDS_ON_SERVERS),
    "storer": lambda options: bench_storer.report(options.rounds or ROUNDS_ON_SERVERS),
    "chain": lambda options: bench_chain.report(options.seconds),
    "latency": lambda options: bench_latency.report(options.seconds),
    "scaling": lambda options: bench_scaling.report(options.seconds),
}
ONLY_BY_NAME = ("audit", "symbols", "scaling")
"""Take too long to be run with the others."""


def main() -> None:
    options = _parser().parse_args()
    print(_machine(), flush=True)
    reports = {**IN_PROCESS, **ON_SERVERS}
    for name in [options.only] if options.only else [name for name in reports if name not in ONLY_BY_NAME]:
        if name in ON_SERVERS and (problem := servers.missing()):
            print(f"{name}: skipped, {problem}", flush=True)
            continue
        for line in reports[name](options):
            print(line, flush=True)


def _machine() -> str:
    processor = next(_processors(Path("/proc/cpuinfo")), platform.machine())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{processor}, {os.cpu_count()} cores, load {load}; {python}, {', '.join(_versions())}"


def _processors(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            yield line.partition(": ")[2]


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="How fast Fairprice is; see benchmarks/README.md.")
    parser.add_argument("only", nargs="?", choices=(*IN_PROCESS, *ON_SERVERS), help="run only this one")
    parser.add_argument(
        "--rounds",
        type=_positive(int),
        metavar="N",
        help=f"rounds of each comparison (default: {ROUNDS}, on servers {ROUNDS_ON_SERVERS})",
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float),
        default=30.0,
        metavar="N",
        help="length of chain, of quotes, and of latency at each rate (default: 30)",
    )
    parser.add_argument("--cryptofeed", action="store_true", help="beside the book engine; needs benchmarks.peers")
    return parser


def _positive(number: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = number(text)
        if not 0 < value < 1_000_000:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


if __name__ == "__main__":
    main()
