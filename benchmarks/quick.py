"""`make bench-quick`: is anything twice as dear as it was? In a minute, without servers, on a busy machine, too.

Only ratios are compared: the processor time of each work to that of `orjson.loads` of the same diffs in the same
rounds, both the best of many short rounds. Of a disturbed machine the best one is the least disturbed.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial

import orjson

from benchmarks.bench_book_engine import RECEIVED, WARM_UP, Engine, Prepared
from benchmarks.recording import DEPTH, Recording, made_up
from benchmarks.rounds import Work, interleaved
from converter.pricing import Pricer
from converter.settings import ConverterSettings
from fairprice.messages import Book, decode_but_levels, encode, join
from gateway.instrument import Limits, Moment
from gateway.market import Market
from storer.line_protocol import encode as line_of
from storer.measurements import book_queue_points, price_points

ROUNDS = 20
TICKER = b"@bookTicker"
LEVELS = 20
NOW = Moment(1.0, RECEIVED)

LIMITS: Mapping[str, float] = {"engine": 17, "converter": 18, "storer": 18, "gateway": 2.6}
"""Times `orjson.loads` that a book may cost each of them: twice what was measured on 29 November 2026."""


def main() -> int:
    """Print a line for each work; return 1 if any costs more than its limit."""
    recording = made_up()
    seconds = {name: min(values) for name, values in interleaved(ROUNDS, _works(recording)).items()}
    ratios = {name: seconds[name] / seconds["loads"] for name in LIMITS}
    for name, limit in LIMITS.items():
        verdict = "holds" if ratios[name] <= limit else "IS BROKEN"
        print(f"{name}: {ratios[name]:.1f}x orjson.loads of the diffs; the limit of {limit:g}x {verdict}")
    return int(any(ratios[name] > limit for name, limit in LIMITS.items()))


def _works(recording: Recording) -> Prepared:
    lines = [text for _, text in recording.lines if text.startswith(DEPTH) or TICKER in text[:40]]
    begin = [number for number, text in enumerate(lines) if text.startswith(DEPTH)][WARM_UP]
    books = list(_follow(_synchronised(recording, lines[:begin]), lines[begin:]))
    pricer = _pricer()
    prices = [encode(pricer.price(book, RECEIVED)) for book in books]
    events = [encode(book) for book in books]
    diffs = [text for text in lines[begin:] if text.startswith(DEPTH)]
    return {
        "loads": lambda: lambda: [orjson.loads(diff) for diff in diffs],
        "engine": lambda: partial(_crawl, _synchronised(recording, lines[:begin]), lines[begin:]),
        "converter": lambda: lambda: [_priced(pricer, event) for event in events],
        "storer": lambda: lambda: [_stored(event, price) for event, price in zip(events, prices, strict=True)],
        "gateway": lambda: _watching(join(events), join(prices)),
    }


def _synchronised(recording: Recording, lines: list[bytes]) -> Engine:
    engine = Engine(recording.snapshot)
    _crawl(engine, lines)
    return engine


def _crawl(engine: Engine, lines: list[bytes]) -> None:
    for book in _follow(engine, lines):
        encode(book)


def _follow(engine: Engine, lines: list[bytes]) -> Iterator[Book]:
    for text in lines:
        if text.startswith(DEPTH):
            yield from engine.books([text])
        else:
            engine.take_ticker(text)


def _pricer() -> Pricer:
    settings = ConverterSettings.load({})
    return Pricer(settings.estimator, settings.depth_bps, settings.impact_notionals, settings.curve_bps)


def _priced(pricer: Pricer, line: bytes) -> bytes:
    book = decode_but_levels(line)
    assert isinstance(book, Book)
    return encode(pricer.price(book, RECEIVED))


def _stored(event: bytes, price: bytes) -> list[bytes]:
    return [line_of(point) for point in (*book_queue_points(event, levels=LEVELS, interval=0), *price_points(price))]


def _watching(books: bytes, prices: bytes) -> Work:
    def work() -> None:
        market = Market(Limits())
        market.take_books(books, 1, NOW)
        market.take(prices, NOW)

    return work


if __name__ == "__main__":
    sys.exit(main())
