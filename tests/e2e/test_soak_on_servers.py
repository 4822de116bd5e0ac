"""A soak of some seconds over real servers: what it compares, and that a service is killed and frozen in it."""

from contextlib import closing
from random import Random

import pytest
from pipeline import Pipeline

from tests.soak.blows import FREEZE, KILL
from tests.soak.on_servers import on_servers
from tests.soak.soak import Soak
from tests.soak.verdict import failures, table

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb, pytest.mark.rounds]  # minutes each: by hand

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
def unwitnessed(broker, database, tmp_path):
    with closing(Pipeline(broker, database, tmp_path / "soak", is_witnessed=False)) as pipeline:
        yield pipeline


async def test_a_short_soak_kills_and_freezes_processes_and_finds_nothing_wrong(unwitnessed):
    async with on_servers(unwitnessed) as stage:
        soak = Soak(stage, SYMBOLS, Random(1), pause=0.5, pace=1.0)
        soak.seen.kinds = (KILL, FREEZE)
        seen = await soak.run(4.0)
    assert [each for each in failures(seen) if "times only" not in each] == []
    assert seen.books == seen.compared > 0
    assert seen.happened.total() > 0
    told = "\n".join(table(seen))
    for name in ("exchange and soak", "storer", "converter", "gateway", "crawler-0", "crawler-1", "books.storer"):
        assert name in told
