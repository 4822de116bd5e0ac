"""The services as processes of their own, over real servers: the same rows as embedded, whoever is killed."""

import shutil
import time
from collections import Counter

import pytest
from ledger import assert_true
from test_two_crawlers import missing
from waiting import eventually

from storer.stores.sqlite_bars import BARS
from tests.recordings import RECORDINGS

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

ROUNDS = 2
BACKLOG = 1.0
"""Seconds of the market that wait for a service that was killed."""


def best(market):
    """Return the real recording of a market where it is there, else the made-up one."""
    return max(
        (each for each in RECORDINGS if each.market == market and each.whole.is_file()),
        key=lambda it: (it.is_real, not it.is_whole),
    )


@pytest.fixture
def embedded_rows(replay, rows_of):
    def rows(capture):
        _, database = replay(capture)
        rows = rows_of(database)
        assert rows.pop(BARS)  # InfluxDB makes them later, and of what is recent only
        return rows

    return rows


def assert_rows(pipeline, expected):
    """Fail unless the rows are those of the embedded pipeline; a replay in one process has no latency."""
    for measurement, rows in expected.items():
        stored = {row["time"]: row for row in pipeline.rows(measurement)}
        assert stored.keys() == {row["time"] for row in rows}
        for row in rows:
            for column, value in row.items():
                if column != "latency_ms":
                    assert stored[row["time"]].get(column) == value, (measurement, column)


def play(pipeline, recording, rows, replicas):
    """Send the recording through processes, until so many rows are stored, and end them."""
    pipeline.open_exchange("--capture", recording.path, "--speed", "40")
    settings = {"FAIRPRICE_STORE_BOOK_INTERVAL": "1s"}
    working = [pipeline.start(name, **settings) for name in ("storer", "converter") for _ in range(replicas)]
    for service in working:
        service.until_ready()
    pipeline.start("crawler", FAIRPRICE_SYMBOLS="BTCUSDT", FAIRPRICE_VENUE=recording.venue)
    eventually(lambda: pipeline.stored() == rows)
    shares = [each.metric("broker_deliveries_total") for each in working]
    pipeline.finish()
    return shares


@pytest.mark.parametrize("recording", [best("spot"), best("usdm")], ids=str)
def test_a_recording_gives_the_rows_of_the_embedded_pipeline(pipeline, embedded_rows, recording):
    embedded = embedded_rows(recording.path)
    assert {row["venue"] for row in embedded["fair_price"]} == {recording.venue}
    play(pipeline, recording, len(embedded["fair_price"]), replicas=1)
    assert_rows(pipeline, embedded)


def test_three_converters_and_three_storers_give_the_rows_of_one(make_pipeline, oldest, embedded_rows):
    [recording] = [each for each in RECORDINGS if each.market == "spot" and not each.is_real]
    embedded = embedded_rows(recording.path)
    pipeline = make_pipeline(oldest)
    shares = play(pipeline, recording, len(embedded["fair_price"]), replicas=3)
    assert min(shares) > 0, "somebody had nothing to do"
    assert_rows(pipeline, embedded)


def kill_at_work(service):
    """Kill a service that consumes in the midst of a backlog, with as much under way as there ever is."""
    service.kill()
    time.sleep(BACKLOG)
    service.start()
    eventually(lambda: service.metric("broker_deliveries_total"), pause=0.01)
    service.kill()


def test_whoever_is_killed_again_and_again_nothing_is_lost(pipeline):
    services = pipeline.start_chain()
    slowest = Counter()
    for _ in range(ROUNDS):
        for name in ("storer", "converter", "crawler"):
            service = services[name]
            pipeline.note_again(service)
            if name in ("converter", "storer"):
                kill_at_work(service)
            killed = time.monotonic()
            service.kill()
            service.start()
            service.until_ready()
            pipeline.wait_for_more(1)
            slowest[name] = max(slowest[name], time.monotonic() - killed)
            pipeline.wait_for_more(50)
    assert_true(pipeline)
    pipeline.finish()
    times = ", ".join(f"{name} {seconds:.1f}" for name, seconds in slowest.items())
    ledger = pipeline.assert_even("kill -9 of each", f"recovered after {times} s")
    restarts = Counter(symbol for symbol, _ in ledger.gaps)
    assert {gap["reason"] for gap in ledger.gaps.values()} == {"restart"}
    assert restarts == {"BTCUSDT": ROUNDS, "ETHUSDT": ROUNDS}


def test_what_a_crawler_that_has_lost_its_state_has_missed_is_recorded(pipeline):
    """Nobody but the rows knows; the storer looks at them each half a minute."""
    crawler = pipeline.start_chain()["crawler"]
    pipeline.note_again(crawler)
    crawler.kill()
    shutil.rmtree(pipeline.folder / "state")
    time.sleep(BACKLOG)
    crawler.start()
    claims = eventually(lambda: len(found := pipeline.rows("gap")) == 2 and found, 120, lambda: pipeline.rows("gap"))
    pipeline.finish()
    starts, prices = pipeline.rows("start"), pipeline.rows("fair_price")
    assert len(starts) == 4, "each symbol at the first start of all, and at the one that knew nothing"
    for claim in claims:
        symbol, first, last = claim["symbol"], claim["from_update_id"], claim["to_update_id"]
        rows = [row for row in prices if row["symbol"] == symbol]
        assert missing(rows) == claim["open_ids"] == last - first + 1
        assert first - 1 in [row["update_id"] for row in rows]
        assert last + 1 in [start["first_update_id"] for start in starts if start["symbol"] == symbol]
        assert claim["reason"] == "no_state"
