import os
import socket
from random import Random

import pytest
from clocks import ManualClock

from crawler import program
from crawler.app import Crawler
from crawler.settings import CrawlerSettings
from fairprice.broker.memory import MemoryBroker
from fairprice.messages import MAX_NAME


class Connected:
    """Streams of which some connections stand."""

    def __init__(self, connections, uncovered=()):
        self.open, self.uncovered = connections, uncovered


@pytest.mark.parametrize(
    ("streams", "problem"),
    [
        (None, "not connected to wss://data-stream.binance.vision"),
        (Connected(0, ("BTCUSDT",)), "not connected to wss://data-stream.binance.vision"),
        (Connected(1, ("BTCUSDT", "ETHUSDT")), "no connection carries BTCUSDT, ETHUSDT"),
        (Connected(2), None),
    ],
)
async def test_who_has_a_connection_for_some_of_many_symbols_only_is_not_ready(streams, problem):
    """Books of symbols that nobody hears of stay as they are: nothing else would tell."""
    settings = CrawlerSettings.load({}, state_dir=None)
    crawler = Crawler(settings, MemoryBroker(), name="one", random=Random(), clock=ManualClock())
    crawler._streams = streams
    assert crawler.checks()["stream"]() == problem


def test_two_crawlers_on_one_machine_have_different_names(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "crawler-host")
    assert program.name({}) == "crawler-host:8001"
    assert program.name({"FAIRPRICE_HTTP_PORT": "8011"}) == "crawler-host:8011"
    assert program.name({"FAIRPRICE_HTTP_PORT": "0"}) == f"crawler-host:{os.getpid()}"
    monkeypatch.setattr(socket, "gethostname", lambda: "x" * 64)
    assert 60 < len(program.name({})) <= MAX_NAME
