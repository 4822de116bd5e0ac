"""The running storer while InfluxDB is killed, frozen and restarted: what was sent is what is stored."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
import structlog
from exchange_data import START, book, gap, message, price
from hasty_clock import HastyClock
from influx_server import Org, PrivateServer, new_org
from pydantic import SecretStr
from waiting import patience

from fairprice.broker.memory import MemoryBroker
from fairprice.runtime.settings import FileSecret
from fairprice.topology import BOOKS, BOOKS_STORER, DEAD_LETTERS, PRICES, PRICES_STORER
from storer import app
from storer.app import Counters
from storer.measurements import fair_price_point, gap_point, order_book_point
from storer.settings import StorerSettings
from storer.stores.influxdb import open_influxdb

pytestmark = pytest.mark.influxdb

LEVELS = 4


@dataclass
class Traffic:
    """Publishes events without end, in batches, and keeps a ledger of every point that has to be stored."""

    broker: MemoryBroker
    ledger: dict[tuple[str, int], dict[str, object]] = field(default_factory=dict)
    sent: int = 0

    async def run(self) -> None:
        while True:
            await self.publish(20)
            await asyncio.sleep(0.005)

    async def publish(self, count: int) -> None:
        numbers = range(self.sent, self.sent + count)
        prices, books, gaps = [price(n) for n in numbers], [book(n) for n in numbers], [gap(n) for n in numbers[::10]]
        await self.broker.publish(PRICES, message(*prices))
        await self.broker.publish(BOOKS, message(*books, *gaps))
        self.sent += count
        points = [*map(fair_price_point, prices), *(order_book_point(each, LEVELS) for each in books)]
        for point in [*points, *map(gap_point, gaps)]:
            fields = {name: value for name, value in point.fields.items() if value is not None}
            decimals = {name: float(text) for name, text in point.decimals.items() if text is not None}
            self.ledger[point.measurement, point.time] = fields | decimals


@asynccontextmanager
async def storing(broker: MemoryBroker, org: Org, token: SecretStr | None = None, *, speed: float = 20):
    """Run the storer over the broker; yields its counters."""
    counters = Counters()
    options = StorerSettings(store_book_interval=0.0, book_levels=LEVELS)
    store = open_influxdb(org.address, token or SecretStr(org.make_token("write")), timeout=0.5)
    storing = app.run(
        options,
        broker,
        store,
        clock=HastyClock(speed),
        replay=True,
        random=Random(1),
        stop=asyncio.Event(),
        counters=counters,
    )
    task = asyncio.create_task(storing)
    try:
        yield counters
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.close()


@asynccontextmanager
async def flowing(traffic: Traffic):
    task = asyncio.create_task(traffic.run())
    try:
        yield
    finally:
        task.cancel()


async def eventually(condition) -> None:
    async with patience():
        while not condition():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def settled(broker: MemoryBroker) -> None:
    await eventually(lambda: not (broker.depths()[BOOKS_STORER] or broker.depths()[PRICES_STORER]))


def stored(org: Org) -> dict[tuple[str, int], dict[str, object]]:
    keys = ("time", "venue", "symbol")
    return {
        (measurement, row["time"]): {name: value for name, value in row.items() if name not in keys}
        for measurement in ("fair_price", "order_book", "gap")
        for row in org.rows(f"SELECT * FROM {measurement} WHERE time >= {START}u")
    }


def assert_stored_is_sent(org: Org, traffic: Traffic, broker: MemoryBroker, least: int) -> None:
    rows = stored(org)
    for _ in range(60):  # a database that was just killed may still be loading what it has
        if traffic.ledger.items() <= rows.items():
            break
        time.sleep(1)
        rows = stored(org)
    lost, extra = traffic.ledger.keys() - rows.keys(), rows.keys() - traffic.ledger.keys()
    letters = broker.depths()[DEAD_LETTERS]
    print(  # noqa: T201  shown with -s, and when the test fails
        f"sent {len(traffic.ledger)}, stored {len(rows)}, lost {len(lost)}, extra {len(extra)}, dead {letters}"
    )
    assert not lost
    assert not extra
    assert [key for key in rows if rows[key] != traffic.ledger[key]] == []
    assert letters == 0
    assert len(rows) >= least


@pytest.fixture
def own_org(killable: PrivateServer):
    with new_org(killable) as org:
        yield org


async def restart(server: PrivateServer) -> None:
    server.kill()
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.start)


async def freeze(server: PrivateServer) -> None:
    server.freeze()
    await asyncio.sleep(1.5)
    server.thaw()


@pytest.mark.parametrize("fault", [restart, freeze])
async def test_what_was_sent_is_stored_whatever_befalls_the_database(killable, own_org, fault):
    broker = MemoryBroker(capacity=10_000)
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with storing(broker, own_org) as counters, flowing(traffic):
            await eventually(lambda: counters.rows["fair_price"] > 200)
            for _ in range(3):
                failures, rows = counters.failures, counters.rows["fair_price"]
                await fault(killable)
                await eventually(lambda: counters.failures > failures)  # noqa: B023  awaited in its own round
                await eventually(lambda: counters.rows["fair_price"] > rows + 200)  # noqa: B023
                await eventually(lambda: counters.problem() is None)
        async with storing(broker, own_org):
            await settled(broker)
    assert_stored_is_sent(own_org, traffic, broker, least=1000)
    levels = [(each["log_level"], each["event"]) for each in logs]
    assert levels.count(("info", "the store works again")) >= 3
    assert {level for level, _ in levels} == {"info", "error"}


async def test_a_storer_that_is_stopped_in_the_middle_again_and_again_stores_everything_once(own_org):
    broker, draw = MemoryBroker(capacity=10_000), Random(3)
    traffic = Traffic(broker)
    async with flowing(traffic):
        for _ in range(15):
            async with storing(broker, own_org):
                await asyncio.sleep(draw.uniform(0.01, 0.15))
    async with storing(broker, own_org):
        await settled(broker)
    assert_stored_is_sent(own_org, traffic, broker, least=1000)


async def test_three_storers_on_the_same_queues_store_everything_once(own_org):
    broker = MemoryBroker(capacity=10_000)
    traffic = Traffic(broker)
    async with storing(broker, own_org), storing(broker, own_org), storing(broker, own_org):
        for _ in range(25):
            await traffic.publish(20)
        await settled(broker)
    assert_stored_is_sent(own_org, traffic, broker, least=1000)


async def test_a_token_that_is_revoked_stops_everything_until_a_person_puts_another_into_the_file(
    killable, own_org, tmp_path
):
    first = own_org.make_authorization("write")
    file = tmp_path / "token"
    file.write_text(first["token"])
    broker = MemoryBroker(capacity=10_000)
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with storing(broker, own_org, FileSecret(file), speed=200) as counters:
            await traffic.publish(20)
            await settled(broker)
            killable.call("DELETE", f"/api/v2/authorizations/{first['id']}")
            await traffic.publish(500)
            await eventually(lambda: counters.failures > 10)
            assert "put a valid token into FAIRPRICE_STORE_TOKEN" in counters.problem()
            assert broker.depths()[PRICES_STORER] > 0
            file.write_text(own_org.make_token("write"))
            await settled(broker)
            assert counters.problem() is None
    assert_stored_is_sent(own_org, traffic, broker, least=1000)
    for queue in (BOOKS_STORER, PRICES_STORER):
        assert [each["log_level"] for each in logs if each["queue"] == queue] == ["error", "info"]


async def test_one_bad_line_in_thousands_is_one_dead_letter(own_org):
    broker = MemoryBroker(capacity=10_000)
    traffic = Traffic(broker)
    await traffic.publish(500)
    ancient = price(1, event_time=START // 1000)  # milliseconds that were taken for microseconds
    await broker.publish(PRICES, message(price(10_000), ancient, price(10_001), identity="poisoned"))
    async with storing(broker, own_org) as counters:
        await settled(broker)
        assert counters.invalid_lines == 1
    async with broker.subscribe(DEAD_LETTERS, 10) as subscription:
        (delivery,) = await subscription.receive(10)
        assert "no time in microseconds" in str(delivery.message.headers["reason"])
        assert delivery.message.headers["origin_message_id"] == "poisoned"
    assert own_org.count() == 502
