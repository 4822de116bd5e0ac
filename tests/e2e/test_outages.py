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

MORE_THAN_ANY_DISK = str(10**15)
A_WHILE = 4
"""Seconds that a publish is held back before there is room again."""


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


def go_through(pipeline, server, outage, times_noticed):
    """Take the server away and give it back; return how long it took from then to the next row."""
    before, began = times_noticed(), time.monotonic()
    outage(server, lambda: times_noticed() > before)
    return account_of(pipeline, outage.__name__, began)


def account_of(pipeline, name, began):
    """Wait until rows are stored again; return how long it was away, and how long it took to the next row."""
    healed = time.monotonic()
    pipeline.wait_for_more(1)
    recovery = time.monotonic() - healed
    pipeline.wait_for_more(ENOUGH // len(OUTAGES))
    return f"{name} away {healed - began:.1f} s, recovered after {recovery:.1f} s"


def fill_disk(pipeline, crawler, node):
    """Let the broker hold publishers back for a while, which everybody tells, once, and outlives."""
    told = len(crawler.log_lines("warning", "error"))
    node.ctl("set_disk_free_limit", MORE_THAN_ANY_DISK)
    began = time.monotonic()
    try:
        eventually(lambda: "because of an alarm" in (crawler.problems() or {}).get("broker", ""))
        assert crawler.get("/readyz")[0] == 503
        assert crawler.metric("broker_blocked") == 1
        eventually(lambda: crawler.metric("broker_unconfirmed_seconds") > A_WHILE)
        [line] = crawler.log_lines("warning", "error")[told:]
        assert "because of an alarm" in line["problem"]
    finally:
        node.ctl("set_disk_free_limit", "50MB")
    return account_of(pipeline, "full disk", began)


def assert_well(pipeline, services):
    """Fail unless everybody is well, the newest books are the exchange's own, and the newest price is shown."""
    for service in services.values():
        service.until_ready()
    assert_true(pipeline)
    pipeline.finish("storer")
    [newest] = pipeline.newest("fair_price", 1)
    assert services["gateway"].price(newest["symbol"])["update_id"] == newest["update_id"]
    pipeline.finish()


def test_a_broker_that_comes_back_has_lost_nothing(make_pipeline, each_private_broker):
    pipeline, node = make_pipeline(each_private_broker), each_private_broker.node
    services = pipeline.start_chain(storer={"FAIRPRICE_BROKER_URL": f"{pipeline.host.url}{IMPATIENT}"})
    times = [fill_disk(pipeline, services["crawler"], node)]
    losses = lambda: services["storer"].metric("broker_lost_connections_total")  # noqa: E731
    times += [go_through(pipeline, node, outage, losses) for outage in OUTAGES]
    assert all(service.is_running for service in services.values())
    assert_well(pipeline, services)
    pipeline.assert_even("broker", "; ".join(times))


def test_a_database_that_comes_back_gets_everything(pipeline, private_database):
    services = pipeline.start_chain()
    failures = lambda: services["storer"].metric("storer_failures_total")  # noqa: E731
    times = [go_through(pipeline, private_database, outage, failures) for outage in OUTAGES]
    assert_well(pipeline, services)
    pipeline.assert_even("database", "; ".join(times))


MANY = 40
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
    pipeline.finish()
    ledger = pipeline.assert_even(f"broker away at {MANY} symbols")
    assert ledger.gaps == {}
    assert len(Counter(symbol for symbol, _ in ledger.books)) == MANY
