"""The embedded broker keeps the contract of all brokers, and a few promises of its own."""

import asyncio

import pytest
from broker_contract import BrokerContract
from broker_steps import message, never, publish, settle_all, soon
from clocks import ManualClock, settle

from fairprice.broker.memory import MemoryBroker
from fairprice.errors import BrokerUnavailable
from fairprice.topology import BOOKS, BOOKS_CONVERTER, BOOKS_STORER, DEAD_LETTERS, EXCHANGES, PRICES, PRICES_STORER


@pytest.fixture
def make_broker():
    async def make(*, exchanges=EXCHANGES, capacity=5000, patience=10.0):
        return MemoryBroker(exchanges, capacity=capacity, timeout=patience)

    return make


class TestMemoryBroker(BrokerContract):
    """Collects the contract."""


async def test_a_queue_holds_exactly_its_capacity_and_unsettled_deliveries_count():
    broker = MemoryBroker(capacity=2)
    await publish(broker, 1, 2, exchange=PRICES)
    async with broker.subscribe(PRICES_STORER, 2) as subscription:
        deliveries = await soon(subscription.receive(2))
        publishing = asyncio.create_task(broker.publish(PRICES, message(3)))
        await never(broker, asyncio.shield(publishing))
        await deliveries[0].ack()
        await soon(publishing)


async def test_the_error_of_a_full_queue_names_it_and_says_what_to_look_at():
    clock = ManualClock()
    broker = MemoryBroker(capacity=1, timeout=30, clock=clock)
    await publish(broker, 1)
    await settle_all(broker, BOOKS_CONVERTER, 1)
    publishing = asyncio.create_task(broker.publish(BOOKS, message(2)))
    await clock.advance(29.9)
    assert not publishing.done()
    await clock.advance(0.1)
    with pytest.raises(BrokerUnavailable, match=r"no room in books\.storer for 30 s; is the consumer alive"):
        await publishing
    assert broker.depths()[BOOKS_CONVERTER] == 0


async def test_depths_count_what_is_not_settled_yet():
    broker = MemoryBroker()
    await publish(broker, 1, 2, 3)
    async with broker.subscribe(BOOKS_STORER, 2) as subscription:
        _, second = await soon(subscription.receive(2))
        assert broker.depths()[BOOKS_STORER] == 3
        await second.ack(multiple=True)
        assert broker.depths() == {
            BOOKS_CONVERTER: 3, BOOKS_STORER: 1, PRICES_STORER: 0, DEAD_LETTERS: 0, "unrouted": 0,
            "quotes.converter": 0,
        }  # fmt: skip
        await soon(subscription.receive(1))
    assert broker.depths()[BOOKS_STORER] == 1


async def test_a_queue_is_empty_when_its_last_delivery_is_settled():
    broker = MemoryBroker()
    await broker.until_empty(PRICES_STORER)
    await publish(broker, 1, 2, exchange=PRICES)
    emptied = asyncio.create_task(broker.until_empty(PRICES_STORER))
    async with broker.subscribe(PRICES_STORER, 10) as subscription:
        first, second = await soon(subscription.receive(2))
        await first.ack()
        await settle()
        assert not emptied.done()
        await second.ack()
        await soon(emptied)


async def test_many_publishers_that_wait_for_room_never_overfill_a_queue():
    broker = MemoryBroker(capacity=3)
    publishers = [asyncio.create_task(broker.publish(PRICES, message(number))) for number in range(50)]
    async with broker.subscribe(PRICES_STORER, 10) as subscription:
        settled = 0
        while settled < 50:
            deliveries = await soon(subscription.receive(2))
            assert broker.depths()[PRICES_STORER] <= 3
            await deliveries[-1].ack(multiple=True)
            settled += len(deliveries)
    await asyncio.gather(*publishers)


async def test_cancelled_waits_leave_nothing_behind():
    broker = MemoryBroker()
    async with broker.subscribe(BOOKS_STORER, 1) as subscription:
        for _ in range(20):
            receiving = asyncio.create_task(subscription.receive(1))
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait({receiving})
        assert not broker._queues[BOOKS_STORER]._waiters


async def test_what_a_tap_forgets_is_counted():
    broker = MemoryBroker()
    async with broker.tap(BOOKS, 2) as tap:
        await publish(broker, 1, 2, 3, 4, 5)
        assert [delivery.message.message_id for delivery in await soon(tap.receive(9))] == [
            message(4).message_id,
            message(5).message_id,
        ]
        await publish(broker, 6)
    assert broker.forgotten == {BOOKS: 3}


async def test_what_is_not_there_is_refused_in_words():
    broker = MemoryBroker([])
    with pytest.raises(BrokerUnavailable, match=r"no queue 'books\.storer'"):
        async with broker.subscribe(BOOKS_STORER, 1):
            pass
    with pytest.raises(BrokerUnavailable, match="no exchange 'books'"):
        async with broker.tap(BOOKS, 1):
            pass
    assert not broker.cast(BOOKS, message(1))
