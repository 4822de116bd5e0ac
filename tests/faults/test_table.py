"""The table of faults names every fault, what has to hold, and tests that exist."""

import re
from pathlib import Path

import pytest

TABLE = (Path(__file__).parent / "README.md").read_text()
ROOT = Path(__file__).parents[2]
CRAWLER = ROOT / "services/crawler/tests"
STORER = ROOT / "services/storer/tests"
SHARED = ROOT / "shared/tests"
E2E = ROOT / "tests/e2e"
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
    "pure": ROOT / "tests/faults/test_two_feeds.py",
    "survive": ROOT / "tests/faults/test_books_survive_faults.py",
    "killed": ROOT / "tests/faults/test_killed.py",
    "recorder": ROOT / "tests/faults/test_recorder.py",
    "soak": ROOT / "tests/test_soak.py",
    "chain": CRAWLER / "book/test_chain.py",
    "state": CRAWLER / "test_state.py",
    "verification": CRAWLER / "test_verification.py",
    "messages": SHARED / "test_messages.py",
    "outbox": SHARED / "test_outbox.py",
    "health": SHARED / "test_health.py",
    "contract": SHARED / "broker_contract.py",
    "amqp": SHARED / "test_amqp_faults.py",
    "limits": SHARED / "test_amqp_limits.py",
    "definitions": SHARED / "test_amqp_definitions.py",
    "converter": ROOT / "services/converter/tests/test_converter_app.py",
    "storer": STORER / "test_storer_app.py",
    "influx": STORER / "test_influxdb_faults.py",
    "replies": STORER / "test_influxdb_replies.py",
    "sqlite": STORER / "test_sqlite.py",
    "outages": E2E / "test_outages.py",
    "processes": E2E / "test_processes.py",
    "draining": E2E / "test_draining.py",
    "pair": E2E / "test_two_crawlers.py",
    "lines": E2E / "test_bad_lines.py",
}
ROWS = "\n".join(line for line in TABLE.splitlines() if line.startswith("|"))
NAMED = re.findall(r"(\w+) `(test_\w+)`", ROWS)


def test_each_test_that_is_named_exists():
    assert len(NAMED) > 50
    missing = [name for place, name in NAMED if not re.search(rf"def {name}\(", FILES[place].read_text())]
    assert missing == []


@pytest.mark.parametrize(("letter", "faults"), [("F", 26), ("R", 40)])
def test_every_fault_says_what_has_to_hold_and_names_tests_of_it(letter, faults):
    rows = [line.strip("|").split(" | ") for line in ROWS.splitlines() if line.startswith(f"| {letter}")]
    assert [row[0].strip() for row in rows] == [f"{letter}{number}" for number in range(1, faults + 1)]
    assert [row[0] for row in rows if len(row) != 4 or not all(cell.strip() for cell in row)] == []
    assert [row[0] for row in rows if not re.search(r"`test_|see F\d+", row[3])] == []
