"""The consumer of `examples/`: one file more, and nobody else has to know of it."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import islice

import orjson
import pytest
from brokers import ROOT, VirtualHost
from waiting import eventually

from fairprice.messages import PRICE_VALUES, Price, encode

pytestmark = pytest.mark.rabbitmq

EXAMPLE = ROOT / "examples" / "wide_spread.py"
QUEUE = "own.wide-spread"


def price(number, spread):
    values = dict.fromkeys(PRICE_VALUES, 1.0) | {"spread_bps": spread}
    return encode(Price("binance", "BTCUSDT", number, number, number, number, number, "mid", "ok", 100.5, values))


@pytest.fixture
def host(broker, tmp_path):
    host = VirtualHost(broker, tmp_path)
    yield host
    host.close()


@contextmanager
def running(host):
    """Yield the lines that it logs; end it as the container engine does."""
    user, password = host.users["consumer"]
    environ = {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "FAIRPRICE_BROKER_URL": host.url,
        "FAIRPRICE_BROKER_USER": user,
        "FAIRPRICE_BROKER_PASSWORD_FILE": str(password),
        "FAIRPRICE_LOG_FORMAT": "json",
    }
    consumer = subprocess.Popen([sys.executable, EXAMPLE, "5"], env=environ, stderr=subprocess.PIPE)
    try:
        yield map(orjson.loads, consumer.stderr)
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait() == 0
    finally:
        consumer.kill()
        consumer.wait()
        consumer.stderr.close()


def publish(host, *bodies):
    async def send():
        async with host.channel() as channel:
            await channel.confirm_delivery()
            for body in bodies:
                await channel.basic_publish(body, exchange="prices")

    asyncio.run(send())


def told(lines, number):
    wide = (line for line in lines if line["event"] == "wide spread")
    return [(line["bps"], line["price"]) for line in islice(wide, number)]


def test_it_tells_the_wide_spreads_even_those_of_when_it_was_away(host):
    with running(host) as lines:
        assert next(line["objects"] for line in lines if "objects" in line) == [f"queue {QUEUE}"]
        publish(host, price(1, 4.9), price(2, 5.0), price(3, 6.0))
        assert told(lines, 2) == [(5.0, 100.5), (6.0, 100.5)]
    publish(host, price(4, 7.0), b"no price", price(5, 8.0))
    with running(host) as lines:
        assert told(lines, 2) == [(7.0, 100.5), (8.0, 100.5)]
    eventually(lambda: asyncio.run(host.ready([QUEUE])) == {QUEUE: 0})
