"""RabbitMQ and InfluxDB go away, in every way, under the running chain: what was published is what is stored."""

import time
from collections import Counter

import pytest
from ledger import assert_true
from pipeline import ENOUGH
from waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb, pytest.mark.timeout(150)]

IMPATIENT = "?heartbeat=2"
"""With it a service gives up a frozen broker after (2 + 1) x 3 seconds; with the usual one the broker thaws earlier."""

AWAY = 2
"""Seconds between the end and the start."""

PATIENCE = 60


def stop(server, _noticed):
    server.stop()
    time.sleep(AWAY)
    server.start()


def kill(server, _noticed):
    """Freeze it before, so that what it is asked meanwhile is surely under way and lost with it."""
    server.freeze()
    time.sleep(AWAY / 2)
    server.kill()
    time.sleep(AWAY / 2)
    server.start()


def freeze(server, noticed):
    """Hold it for as long as it takes until somebody gives it up."""
    server.freeze()
    try:
        eventually(noticed, PATIENCE)
    finally:
        server.thaw()


def go_through(pipeline, server, outage, noticed):
    """Take the server away and give it back; return how long it took from then to the next row."""
    before = time.monotonic()
    outage(server, noticed)
    healed = time.monotonic()
    pipeline.wait_for_more(1)
    recovery = time.monotonic() - healed
    pipeline.wait_for_more(max(200, ENOUGH - pipeline.stored()))
    return f"away {healed - before:.1f} s, recovered after {recovery:.1f} s"


def assert_well(pipeline, services):
    """Fail unless everybody is well, the newest price is shown, and the newest books are the exchange's own."""
    for service in services.values():
        service.until_ready()
    services["crawler"].stop()
    pipeline.wait_until_settled()
    assert_true(pipeline.exchange, pipeline.rows("order_book"))
    newest = pipeline.rows("fair_price")[-1]
    assert services["gateway"].price(newest["symbol"])["update_id"] == newest["update_id"]


@pytest.mark.parametrize("outage", [stop, kill, freeze])
def test_a_broker_that_comes_back_has_lost_nothing(make_pipeline, each_private_broker, outage):
    pipeline = make_pipeline(each_private_broker)
    services = pipeline.start_chain(storer={"FAIRPRICE_BROKER_URL": f"{pipeline.host.url}{IMPATIENT}"})
    times = go_through(
        pipeline, each_private_broker.node, outage, lambda: services["storer"].metric("broker_lost_connections_total")
    )
    assert_well(pipeline, services)
    assert services["storer"].metric("broker_lost_connections_total") >= 1
    again = pipeline.redelivered()
    pipeline.finish()
    pipeline.assert_even(f"broker {outage.__name__}", times, again=again)


@pytest.mark.parametrize("outage", [stop, kill, freeze])
def test_a_database_that_comes_back_gets_everything(make_pipeline, broker, private_database, outage):
    pipeline = make_pipeline(broker)
    services = pipeline.start_chain()
    times = go_through(pipeline, private_database, outage, lambda: services["storer"].metric("storer_failures_total"))
    assert_well(pipeline, services)
    assert services["storer"].metric("storer_failures_total") >= 1
    again = pipeline.redelivered()
    pipeline.finish()
    pipeline.assert_even(f"database {outage.__name__}", times, again=again)


MANY = 60
"""Symbols at ten books a second each."""


def test_a_broker_that_is_away_for_seconds_costs_no_gap_at_many_symbols(make_pipeline, private_broker):
    pipeline = make_pipeline(private_broker)
    symbols = ",".join(f"S{number:02}USDT" for number in range(MANY))
    pipeline.open_exchange("--symbols", symbols)
    crowd = {"FAIRPRICE_SYMBOLS": symbols, "FAIRPRICE_SNAPSHOT_LEVELS": "100", "FAIRPRICE_STREAM_CONNECTIONS": "2"}
    services = {name: pipeline.start(name, **crowd) for name in ("storer", "converter", "crawler")}
    for service in services.values():
        service.until_ready()
    private_broker.node.stop()
    try:
        eventually(lambda: services["crawler"].metric("crawler_unconfirmed_events") > MANY * 10 * 5)
    finally:
        private_broker.node.start()
    eventually(lambda: services["crawler"].metric("crawler_unconfirmed_events") < MANY * 10)
    published = services["crawler"].metric("crawler_books_total")
    eventually(lambda: pipeline.stored() >= published)  # what a broker tells of its queues is old for a while
    pipeline.finish()
    ledger = pipeline.assert_even(f"broker away at {MANY} symbols")
    assert ledger.gaps == {}
    assert len(Counter(symbol for symbol, _ in ledger.books)) == MANY
