"""The live view: what a ticker costs crawler and converter, and how long it takes to get to who looks on.

Beside it what the depth of the whole book costs the crawler, and both together.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import aiohttp

from benchmarks.bench_book_engine import Engine
from benchmarks.processes import running, until
from benchmarks.recording import DEPTH, Line, Recording, write
from benchmarks.rounds import Work, each, interleaved, ratio
from converter.live import live_price
from converter.pricing import Pricer
from converter.settings import ConverterSettings
from crawler.book.depth import Depths
from crawler.book.quote import Pace, Waiting
from crawler.settings import CrawlerSettings
from fairprice.messages import Book, Quote, decode_but_levels, encode

TICKER = b"@bookTicker"
INTERVAL = 0.01
WALL = 1_700_000_000_000_000
PASSES = 5
PATIENCE = 60.0


def report(recording: Recording, rounds: int, seconds: float) -> Iterator[str]:
    """Yield the figures, a line each."""
    lines = [line for line in recording.lines if line[1].startswith(DEPTH) or TICKER in line[1]]
    tickers = sum(not text.startswith(DEPTH) for _, text in lines)
    books, quotes = _events(recording, lines)
    made = interleaved(
        rounds,
        {
            "without": lambda: partial(_crawl, recording, lines, interval=None),
            "with": lambda: partial(_crawl, recording, lines, interval=INTERVAL),
            "depth": lambda: partial(_crawl, recording, lines, interval=None, depths=_depths()),
            "both": lambda: partial(_crawl, recording, lines, interval=INTERVAL, depths=_depths()),
            "books": lambda: _pricing(books),
            "quotes": lambda: _pricing(quotes),
        },
    )
    extra = [more - less for more, less in zip(made["with"], made["without"], strict=True)]
    yield (
        f"quotes: {len(quotes):,} of {tickers:,} tickers beside {len(books):,} books ({recording.source}); crawler "
        f"{each(extra, tickers)}/ticker, {ratio(made['with'], made['without'])} without them"
    )
    depth, both = ratio(made["depth"], made["without"]), ratio(made["both"], made["without"])
    yield f"depth of the whole book: {depth} the crawler without, with quotes as well {both}"
    priced = {name: each(made[name], PASSES * len(events)) for name, events in (("quotes", quotes), ("books", books))}
    yield f"converter: {priced['quotes']}/quote, {priced['books']}/book"
    times = _times(recording, seconds)
    told = f"p50 {median(times):.1f} ms, p99 {quantiles(times, n=100)[98]:.1f} ms"
    yield f"from the ticker's frame to a listener of /ws, all in one process: {told} ({len(times):,} live prices)"


def _depths() -> Depths:
    settings = CrawlerSettings.load({})
    return Depths(settings.depth_distances, settings.depth_interval)


def _crawl(recording: Recording, lines: list[Line], *, interval: float | None, depths: Depths | None = None) -> None:
    for _ in _made(recording, lines, interval, depths):
        pass


def _made(
    recording: Recording, lines: list[Line], interval: float | None, depths: Depths | None = None
) -> Iterator[Book | Quote]:
    """Yield books and quotes, which have been encoded, as they come by the recording's own clock."""
    engine = Engine(recording.snapshot, depths)
    pace = None if interval is None else Pace(interval)
    for time_ns, text in lines:
        if text.startswith(DEPTH):
            for book in engine.books([text]):
                encode(book)
                yield book
            continue
        ticker = engine.take_ticker(text)
        if pace is not None:
            pace.add(Waiting(ticker, WALL))
            for waiting in pace.take(time_ns / 1e9):
                if quote := engine.feed.quote(*waiting):
                    encode(quote)
                    yield quote


def _events(recording: Recording, lines: list[Line]) -> tuple[list[bytes], list[bytes]]:
    made = list(_made(recording, lines, INTERVAL))
    books, quotes = ([encode(event) for event in made if type(event) is kind] for kind in (Book, Quote))
    return books, quotes


def _pricing(lines: list[bytes]) -> Work:
    settings = ConverterSettings.load({})
    pricer = Pricer(settings.estimator, settings.depth_bps, settings.impact_notionals)

    def work() -> None:
        for line in lines * PASSES:
            event = decode_but_levels(line)
            if type(event) is Quote:
                encode(live_price(pricer, event, WALL))
            elif type(event) is Book:
                encode(pricer.price(event, WALL))

    return work


def _times(recording: Recording, seconds: float) -> list[float]:
    """Play the recording at its own speed; return the milliseconds until each live price was heard."""
    with tempfile.TemporaryDirectory(prefix="fairprice-bench-") as folder:
        write(Path(folder, "capture.gz"), recording.lines)
        options = ("--capture", f"{folder}/capture.gz", "--speed", "1", "--database", f"{folder}/db")
        with running("standalone", *options, environ={"FAIRPRICE_QUOTE_INTERVAL": f"{INTERVAL}s"}) as pipeline:
            until(pipeline.is_ready, "the first price")
            return asyncio.run(_listen(pipeline.port, seconds))


async def _listen(port: int, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.monotonic() + seconds
    async with (
        asyncio.timeout(PATIENCE + seconds),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/ws?live=1") as socket,
    ):
        while time.monotonic() < end:
            frame = await socket.receive_json()
            if frame["type"] == "live":
                times.append((time.time_ns() / 1000 - frame["received_time"]) / 1000)
    return times
