"""The table of faults names tests that exist, and every fault."""

import re
from pathlib import Path

TABLE = (Path(__file__).parent / "README.md").read_text()
ROOT = Path(__file__).parents[2]
CRAWLER = ROOT / "services/crawler/tests"
FILES = {
    "sync": CRAWLER / "book/test_depth_sync.py",
    "feed": CRAWLER / "book/test_feed.py",
    "book": CRAWLER / "book/test_order_book.py",
    "streams": CRAWLER / "test_streams.py",
    "websocket": CRAWLER / "test_websocket.py",
    "snapshots": CRAWLER / "test_snapshots.py",
    "rest": CRAWLER / "venues/test_binance_rest.py",
    "decoder": CRAWLER / "venues/test_binance_decoder.py",
    "wire": ROOT / "tests/faults/test_crawler_on_the_wire.py",
    "hostile": ROOT / "tests/faults/test_hostile_exchange.py",
    "twins": ROOT / "tests/faults/test_twins.py",
    "survive": ROOT / "tests/faults/test_books_survive_faults.py",
}
ROWS = "\n".join(line for line in TABLE.splitlines() if line.startswith("|"))
NAMED = re.findall(r"(\w+) `(test_\w+)`", ROWS)


def test_each_test_that_is_named_exists():
    assert len(NAMED) > 50
    missing = [name for place, name in NAMED if not re.search(rf"def {name}\(", FILES[place].read_text())]
    assert missing == []


def test_every_fault_has_a_row_with_a_test():
    rows = dict(re.findall(r"^\| (F\d+) \|(.*)$", TABLE, re.MULTILINE))
    assert list(rows) == [f"F{number}" for number in range(1, 27)]
    assert all("`test_" in row for row in rows.values())
