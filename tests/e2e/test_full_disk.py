"""RabbitMQ holds publishers back while its disk is full: everybody says so, waits, and goes on with everything."""

import time

import pytest
from waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb, pytest.mark.timeout(120)]

MORE_THAN_ANY_DISK = str(10**15)
A_WHILE = 4
"""Seconds that a publish is held back before there is room again."""


@pytest.fixture
def full_disk(each_private_broker):
    """Fill the disk or make room again."""

    def set_full(full):
        each_private_broker.node.ctl("set_disk_free_limit", MORE_THAN_ANY_DISK if full else "50MB")

    yield set_full
    set_full(False)


def test_a_full_disk_of_the_broker_is_told_and_loses_nothing(make_pipeline, each_private_broker, full_disk):
    pipeline = make_pipeline(each_private_broker)
    services = pipeline.start_chain()
    crawler = services["crawler"]
    full_disk(True)
    began = time.monotonic()
    eventually(lambda: "because of an alarm" in crawler.problems().get("broker", ""))
    assert crawler.get("/readyz")[0] == 503
    assert crawler.metric("broker_blocked") == 1
    eventually(lambda: crawler.metric("broker_unconfirmed_seconds") > A_WHILE)
    lines = crawler.log_lines("warning", "error")
    assert len(lines) == 1
    assert "because of an alarm" in lines[0]["problem"]
    assert all(service.is_running for service in services.values())
    full_disk(False)
    healed = time.monotonic()
    pipeline.wait_for_more(1)
    times = f"away {healed - began:.1f} s, recovered after {time.monotonic() - healed:.1f} s"
    pipeline.wait_for_more(200)
    for service in services.values():
        service.until_ready()
    again = pipeline.redelivered()
    pipeline.finish()
    pipeline.assert_even("broker's disk full", times, again=again)
