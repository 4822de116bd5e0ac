"""RabbitMQ and InfluxDB go away, in every way, under the running chain: what was published is what is stored."""

import time
from collections import Counter

import pytest
from ledger import assert_true
from pipeline import ENOUGH
from waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

IMPATIENT = "?heartbeat=2"
"""With it a service gives up a frozen broker after (2 + 1) x 3 seconds; with the usual one the broker thaws earlier."""

UNDER_WAY = 1
"""Seconds after which something is surely under way to whoever is frozen."""


def stop(server, noticed):
    server.stop()
    eventually(noticed)
    server.start()


def kill(server, noticed):
    """Freeze it before, so that what it is asked meanwhile is lost with it."""
    server.freeze()
    time.sleep(UNDER_WAY)
    server.kill()
    eventually(noticed)
    server.start()


def freeze(server, noticed):
    """Hold it for as long as it takes until somebody gives it up."""
    server.freeze()
    try:
        eventually(noticed)
    finally:
        server.thaw()


OUTAGES = (stop, kill, freeze)


def go_through(pipeline, server, outage, noticings):
    """Take the server away and give it back; return how long it took from then to the next row.

    `noticings` returns how often anybody has noticed that it was away.
    """
    noticed_before = noticings()
    before = time.monotonic()
    outage(server, lambda: noticings() > noticed_before)
    healed = time.monotonic()
    pipeline.wait_for_more(1)
    recovery = time.monotonic() - healed
    pipeline.wait_for_more(ENOUGH // len(OUTAGES))
    assert noticings() > noticed_before
    return f"{outage.__name__}: away {healed - before:.1f} s, recovered after {recovery:.1f} s"


def assert_well(pipeline, services):
    """Fail unless everybody is well, the newest price is shown, and the newest books are the exchange's own."""
    for service in services.values():
        service.until_ready()
    assert_true(pipeline)
    services["crawler"].stop()
    pipeline.wait_until_settled()
    pipeline.wait_until_shown(services["gateway"])


def assert_nothing_is_lost(pipeline, services, name, server, metric):
    """Take the server away in every way, one after the other; fail unless all is stored that was published."""
    times = [go_through(pipeline, server, outage, lambda: services["storer"].metric(metric)) for outage in OUTAGES]
    assert_well(pipeline, services)
    again = pipeline.redelivered()
    pipeline.finish()
    pipeline.assert_even(name, "; ".join(times), again=again)


def test_a_broker_that_comes_back_has_lost_nothing(make_pipeline, each_private_broker):
    pipeline = make_pipeline(each_private_broker)
    services = pipeline.start_chain(storer={"FAIRPRICE_BROKER_URL": f"{pipeline.host.url}{IMPATIENT}"})
    assert_nothing_is_lost(pipeline, services, "broker", each_private_broker.node, "broker_lost_connections_total")


def test_a_database_that_comes_back_gets_everything(pipeline, private_database):
    services = pipeline.start_chain(storer={"FAIRPRICE_STORE_TIMEOUT": "2s"})
    assert_nothing_is_lost(pipeline, services, "database", private_database, "storer_failures_total")


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
