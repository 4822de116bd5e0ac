"""Makes the made-up recordings again, byte for byte, and the table of what is known of each recording.

    .venv/bin/python -m tests.recordings.make

The market is the simulator's; the facts are read off the files by the plainest means, with nothing of the crawler.
"""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from simulator import Exchange

HERE = Path(__file__).parent
SYMBOL = "BTCUSDT"
SEEDS = {"spot": 12, "usdm": 13}
SECONDS = 25
SNAPSHOT_AT_US = 300_000
SNAPSHOT_LEVELS = 400
WINDOW_US = 100_000
MADE = {"binance_spot_made_up.ndjson.gz": "spot", "binance_usdm_made_up.ndjson.gz": "usdm"}
REAL = {"binance_spot_btcusdt_20240808.ndjson.gz": "spot", "binance_usdm_btcusdt_20240808.ndjson.gz": "usdm"}
VENUES = {"spot": "binance", "usdm": "binance-usdm"}
DEPTH_STREAMS = {"spot": "btcusdt@depth@100ms", "usdm": "btcusdt@depth@0ms"}
"""As the collector of the real recordings asked for them."""


def made(market: str) -> bytes:
    """Return the text of a recording of the simulator's market."""
    exchange = Exchange((SYMBOL,), SEEDS[market], venue=VENUES[market])
    streams = {f"btcusdt@{kind}" for kind in ("depth@100ms", "bookTicker", "trade")}
    start, lines, has_snapshot = exchange.now_us, [], False
    for window in range(1, SECONDS * 1_000_000 // WINDOW_US + 1):
        for frame in exchange.frames(start + window * WINDOW_US, streams):
            text = frame.on_wire(combined=True).replace(b"btcusdt@depth@100ms", DEPTH_STREAMS[market].encode(), 1)
            lines.append(_line(frame.time_us, text))
        if not has_snapshot and exchange.now_us - start >= SNAPSHOT_AT_US:
            has_snapshot = True
            lines.append(_line(exchange.now_us, exchange.snapshot(SYMBOL, SNAPSHOT_LEVELS).body))
    return b"".join(lines)


def facts(path: Path, market: str) -> dict[str, Any]:
    """Read off a recording what tests compare with."""
    frames = list(_frames(path))
    snapshot_line, snapshot = next((at, frame) for at, frame in enumerate(frames) if "lastUpdateId" in frame)
    depth_stream = DEPTH_STREAMS[market]
    diffs = [frame["data"] for frame in frames if frame.get("stream") == depth_stream]
    later = [diff for diff in diffs if diff["u"] > snapshot["lastUpdateId"]]
    return {
        "file": path.name,
        "market": market,
        "is_real": path.name in REAL,
        "lines": len(frames),
        "diffs": len(diffs),
        "books": len(later),
        "inside": _tops_inside(snapshot, later),
        "snapshot_line": snapshot_line,
        "depth_stream": depth_stream,
    }


def _tops_inside(snapshot: dict[str, Any], diffs: list[dict[str, Any]]) -> int:
    """Count the books whose best bid and ask lie within the prices of the snapshot."""
    bids, asks = ({Decimal(price) for price, _ in snapshot[side]} for side in ("bids", "asks"))
    floor, ceiling = min(bids), max(asks)
    inside = 0
    for diff in diffs:
        for prices, rows in ((bids, diff["b"]), (asks, diff["a"])):
            for price, quantity in rows:
                (prices.add if Decimal(quantity) else prices.discard)(Decimal(price))
        inside += floor <= max(bids) and min(asks) <= ceiling
    return inside


def _frames(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            yield json.loads(line.split(" ", 1)[1])


def _line(time_us: int, text: bytes) -> bytes:
    return b"%d000 %b\n" % (time_us, text)


def main() -> None:
    """Write the recordings, and the facts of those and of the real ones, which have to be there too."""
    from tests.recordings import FACTS, beginning, real_folder

    for file, market in MADE.items():
        (HERE / file).write_bytes(gzip.compress(made(market), mtime=0))
    found = [facts(HERE / file, market) | {"is_whole": True} for file, market in MADE.items()]
    for file, market in REAL.items():
        whole = real_folder() / file
        found += [facts(path, market) | {"is_whole": path == whole} for path in (beginning(whole), whole)]
    FACTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
