"""`python -m benchmarks [book|pipeline] [--rounds N]`: prints one line a figure."""

import argparse
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import bench_book_engine, bench_pipeline, recording

PACKAGES = ("orjson", "aiohttp", "uvloop", "cryptofeed")


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.rounds < 1:
        _parser().error("--rounds has to be 1 or more")
    print(_machine(), flush=True)
    material = recording.load()
    for line in _figures(arguments, material):
        print(line, flush=True)


def _figures(arguments: argparse.Namespace, material: recording.Recording) -> Iterator[str]:
    if arguments.only in {None, "book"}:
        peers = _peers(material) if arguments.cryptofeed else {}
        yield from bench_book_engine.report(material, arguments.rounds, peers)
    if arguments.only in {None, "pipeline"}:
        yield from bench_pipeline.report(material, arguments.rounds)


def _peers(material: recording.Recording) -> bench_book_engine.Prepared:
    from benchmarks import peer_cryptofeed  # noqa: PLC0415  only the environment of `benchmarks.peers` has the library

    return peer_cryptofeed.works(material)


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
    parser.add_argument("only", nargs="?", choices=("book", "pipeline"), help="run only this one")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds of each comparison (default: 9)")
    parser.add_argument("--cryptofeed", action="store_true", help="beside the book engine; needs benchmarks.peers")
    return parser


if __name__ == "__main__":
    main()
