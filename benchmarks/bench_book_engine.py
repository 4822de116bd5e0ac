"""The book engine: CPU for each diff from the frame's bytes to the encoded book, beside decoding its JSON alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from statistics import median

import orjson

from benchmarks.recording import SYMBOL, Recording, depth_frames
from benchmarks.rounds import Work, each, interleaved, ratio
from crawler.book.depth import Depths
from crawler.book.feed import Feed
from crawler.book.market_data import Diff, Snapshot, Ticker
from crawler.book.order_book import OrderBook
from crawler.book.steps import SnapshotRequest
from crawler.venues.binance.decoder import decode_snapshot
from crawler.venues.binance.venue import Binance
from fairprice.messages import Book, Depth, Level, encode

LEVELS = 20
RECEIVED = 1_700_000_000_000_000
DEPTHS = (1_000, 10_000, 50_000)
FAR = Decimal("0.05")
"""Share of the price that lies between the real levels and those added behind them."""
PASSES = 10
WARM_UP = 100
"""Diffs after which the book is in sync; growth is measured without them, or the snapshot's size would count."""

Prepared = Mapping[str, Callable[[], Work]]


class Engine:
    """What the crawler does for one symbol."""

    def __init__(self, snapshot: bytes, depths: Depths | None = None) -> None:
        venue = Binance()
        self._decoder = venue.decoder((SYMBOL,))
        self.feed = Feed(venue.name, SYMBOL, "benchmark", levels=LEVELS, verify=venue.verify, depths=depths)
        self._snapshot = snapshot

    def books(self, frames: Iterable[bytes]) -> Iterator[Book]:
        """Yield the book after each diff; depths are encoded, the snapshot is there as soon as it is asked for."""
        for frame in frames:
            self._decoder.peek(frame)  # whether another connection has brought it
            diff = self._decoder.decode(frame)
            assert type(diff) is Diff
            for output in self.feed.receive_diff(diff, RECEIVED):
                if type(output) is Book:
                    yield output
                elif type(output) is Depth:
                    encode(output)
                elif type(output) is SnapshotRequest:
                    synchronised = self.feed.receive_snapshot(whole_snapshot(self._snapshot))
                    yield from (book for book in synchronised if type(book) is Book)

    def take_ticker(self, frame: bytes) -> Ticker:
        """Hand a ticker to the feed, which holds no book back here, and return it."""
        ticker = self._decoder.peek(frame)
        assert type(ticker) is Ticker
        self.feed.receive_ticker(ticker)
        return ticker

    def run(self, frames: list[bytes]) -> None:
        """Encode the book after each diff; raises when there was none after nearly every one."""
        before = self.feed.books
        for book in self.books(frames):
            encode(book)
        books = self.feed.books - before
        if books < len(frames) - WARM_UP:
            raise AssertionError(f"{books} books of {len(frames)} diffs")


def whole_snapshot(body: bytes) -> Snapshot:
    """Return the snapshot as one of the whole book, so that the engine asks for no other one in the background."""
    return decode_snapshot(body, SYMBOL)._replace(bids_complete=True, asks_complete=True)


def report(recording: Recording, rounds: int, peers: Prepared) -> Iterator[str]:
    """Yield the figures, a line each; `peers` do their own work on the same diffs in the same rounds."""
    frames, count = recording.frames, len(recording.frames)
    ours: Prepared = {
        "loads": lambda: partial(_loads, frames),
        **_stages(recording),
        "engine": lambda: _engine(recording),
    }
    seconds = interleaved(rounds, {**ours, **peers})
    loads, engine = seconds["loads"], seconds["engine"]
    yield f"orjson.loads alone: {each(loads, count)}/diff ({count:,} diffs of {recording.source})"
    yield f"book engine: {each(engine, count)}/diff, {ratio(engine, loads)} orjson.loads alone"
    yield f"  of it {_split(seconds, count)}"
    for name in peers:
        yield f"{name}: {each(seconds[name], count)}/diff; the book engine is {ratio(seconds[name], engine)} faster"
    yield from _growth_with_depth(recording, rounds)
    yield from _growth_with_time(recording, rounds)


def _loads(frames: list[bytes]) -> None:
    loads = orjson.loads
    for frame in frames:
        loads(frame)


def _engine(recording: Recording) -> Work:
    return partial(Engine(recording.snapshot).run, recording.frames)


def _stages(recording: Recording) -> Prepared:
    """Each stage does what the one before it does, and one thing more; what `sync` lacks is encoding."""

    def decode() -> None:
        decoder = Binance().decoder((SYMBOL,))
        for frame in recording.frames:
            decoder.peek(frame)
            decoder.decode(frame)

    def apply(*, top: bool = False) -> None:
        decoder = Binance().decoder((SYMBOL,))
        snapshot = whole_snapshot(recording.snapshot)
        book = OrderBook(snapshot.bids, snapshot.asks, levels=LEVELS)
        for frame in recording.frames:
            decoder.peek(frame)
            diff = decoder.decode(frame)
            assert type(diff) is Diff
            book.apply(diff.bids, diff.asks)
            if top:
                book.best()

    def sync() -> None:
        for _ in Engine(recording.snapshot).books(recording.frames):
            pass

    stages = {"decode": decode, "apply": apply, "top": partial(apply, top=True), "sync": sync}
    return {name: partial(lambda work: work, work) for name, work in stages.items()}


def _split(seconds: Mapping[str, list[float]], count: int) -> str:
    labels = {"decode": "decode", "apply": "apply", "top": "top", "sync": "sync and event", "engine": "encode"}
    costs, before = [], 0.0
    for name, label in labels.items():
        total = median(seconds[name]) / count * 1e6
        costs.append(f"{label} {total - before:.1f}")
        before = total
    return f"{', '.join(costs)} us"


def _growth_with_depth(recording: Recording, rounds: int) -> Iterator[str]:
    def prepare(snapshot: bytes) -> Work:
        engine = Engine(snapshot)
        for book in engine.books(recording.frames[:WARM_UP]):
            encode(book)
        return partial(engine.run, recording.frames[WARM_UP:])

    seconds = interleaved(
        rounds, {f"{depth:,}": partial(prepare, _deepened(recording.snapshot, depth)) for depth in DEPTHS}
    )
    usual, *deeper = seconds
    for depth in deeper:
        yield f"with {depth} levels a side: {ratio(seconds[depth], seconds[usual])} the cost with {usual}"


def _deepened(body: bytes, levels: int) -> bytes:
    """Return the snapshot with so many levels a side: those that it lacks lie where the price does not come."""
    snapshot = orjson.loads(body)
    for side, direction in (("bids", -1), ("asks", 1)):
        rows: list[Level] = snapshot[side][:levels]
        worst, missing = Decimal(rows[-1][0]), levels - len(rows)
        far = worst * (1 + direction * FAR)
        prices = (far + direction * far / 2 * number / missing for number in range(missing))
        snapshot[side] = rows + [[f"{price:.8f}", "1.00000000"] for price in prices]
    return orjson.dumps(snapshot)


def _growth_with_time(recording: Recording, rounds: int) -> Iterator[str]:
    """Compare two passes over the same diffs by one engine, an early and a late one."""
    passes = [recording.frames, *(depth_frames(recording.repeated(number)) for number in range(1, PASSES))]

    def prepare(number: int) -> Work:
        engine = Engine(recording.snapshot)
        for frames in passes[: number - 1]:
            engine.run(frames)
        return partial(engine.run, passes[number - 1])

    seconds = interleaved(rounds, {"early": partial(prepare, 2), "late": partial(prepare, PASSES)})
    yield f"after {PASSES - 1} times the recording: {ratio(seconds['late'], seconds['early'])} the cost after one"
