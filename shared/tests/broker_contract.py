"""What every implementation of `fairprice.broker.port.Broker` promises, seen from outside only.

A test module per implementation inherits the contract: `class TestMemoryBroker(BrokerContract): ...`, and supplies the
fixture `make_broker`. Awaiting `make_broker(exchanges=..., capacity=..., patience=...)` gives a broker whose queues are
empty, hold about `capacity` messages, and whose publish gives up after `patience` seconds (defaults: see `MakeBroker`).
An AMQP module empties and declares the exchanges, sets the bound by policy, and closes what it opened after the test.
Nothing here tells apart less than `A_WHILE`; bounds may be overshot by `SLACK`; no message is returned 20 times.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from random import Random
from typing import Protocol

import pytest
from broker_steps import (
    A_WHILE,
    SOON,
    a_while,
    draining,
    fill,
    is_empty,
    message,
    never,
    numbers,
    publish,
    settle_all,
    soon,
    take,
    until_cast,
)
from waiting import patience

from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Broker, Message
from fairprice.errors import BrokerUnavailable
from fairprice.topology import (
    BOOKS,
    BOOKS_CONVERTER,
    BOOKS_STORER,
    DEAD_LETTERS,
    EXCHANGES,
    LIVE,
    LIVE_MESSAGES,
    PRICES,
    PRICES_STORER,
    QUOTES,
    QUOTES_CONVERTER,
    UNROUTED,
    Exchange,
)

NO_QUEUES = (Exchange(BOOKS, (), alternate=UNROUTED), Exchange(UNROUTED, (UNROUTED,)))


class MakeBroker(Protocol):
    def __call__(
        self, *, exchanges: Iterable[Exchange] = EXCHANGES, capacity: int = 5000, patience: float = SOON
    ) -> Awaitable[Broker]: ...


class BrokerContract:
    """Inherit it in a test module that supplies `make_broker`."""

    @pytest.fixture
    async def broker(self, make_broker: MakeBroker) -> Broker:
        return await make_broker()

    # ---- publishing

    async def test_a_message_reaches_every_queue_of_its_exchange_and_no_other(self, broker):
        await publish(broker, 1)
        for queue in (BOOKS_CONVERTER, BOOKS_STORER):
            async with broker.subscribe(queue, 10) as subscription:
                (delivery,) = await take(subscription, 1)
                assert numbers([delivery]) == [1]
                await delivery.ack()
        await asyncio.gather(*(is_empty(broker, queue) for queue in (BOOKS_CONVERTER, BOOKS_STORER, PRICES_STORER)))

    @pytest.mark.parametrize(
        "sent",
        [
            Message(bytes(range(256)), "prices.v1", "a/b:c-1", "converter", 0, "batch", ("x.A", "y.B")),
            Message(b"", "books.v1", "empty", "crawler/1", 1, "binance.ETHUSDT", ("binance.ETHUSDT",)),
            Message(b"x" * 300_000, "books.v1", "i" * 200, "a", 1_700_000_000_999_999, "k" * 100, tuple("abc")),
            Message("{}\n{}ü".encode(), "t", "ü1", "ä", 4_000_000_000_000_001, "币", ("binance.币安USDT",)),
            Message(
                b"1", "t", "i", "a", 2, "k", ("s",), {"reason": "ein Grund, länger: 'x'\n", "origin": "q", "n": ""}
            ),
        ],
        ids=["every byte", "empty body", "long", "unicode", "headers"],
    )
    async def test_every_property_of_a_message_survives_the_way(self, broker, sent):
        await soon(broker.publish(PRICES, sent))
        async with broker.subscribe(PRICES_STORER, 1) as subscription:
            (delivery,) = await take(subscription, 1)
            assert delivery.message == sent

    async def test_the_order_of_publishing_is_the_order_of_delivery(self, broker):
        await publish(broker, *range(200))
        assert await settle_all(broker, BOOKS_STORER, 200) == list(range(200))

    async def test_what_no_queue_takes_goes_to_the_alternate_exchange(self, make_broker):
        broker = await make_broker(exchanges=NO_QUEUES)
        await publish(broker, 1)
        assert await settle_all(broker, UNROUTED, 1) == [1]

    async def test_a_publish_waits_for_room_and_goes_on_when_there_is(self, make_broker):
        broker = await make_broker(capacity=4)
        accepted, waiting = await fill(broker, PRICES, 4)
        assert accepted >= 4
        assert await settle_all(broker, PRICES_STORER, accepted + 1) == list(range(1, accepted + 2))
        await soon(waiting)

    async def test_one_full_queue_of_two_holds_the_publisher(self, make_broker):
        broker = await make_broker(capacity=4)
        accepted, waiting = await fill(broker, BOOKS, 4)
        everything = list(range(1, accepted + 2))
        async with draining(broker, BOOKS_CONVERTER) as converter:
            await never(broker, asyncio.shield(waiting))
            async with draining(broker, BOOKS_STORER) as storer:
                await soon(waiting)
                await a_while(broker)
        assert sorted(set(converter)) == everything
        assert storer == everything

    async def test_without_room_in_time_a_publish_fails_and_gets_through_when_repeated(self, make_broker):
        broker = await make_broker(capacity=4, patience=3 * A_WHILE)
        accepted, waiting = await fill(broker, BOOKS, 4)
        with pytest.raises(BrokerUnavailable):
            await soon(waiting)
        for queue in (BOOKS_CONVERTER, BOOKS_STORER):
            await settle_all(broker, queue, accepted)
        await publish(broker, accepted + 1)
        for queue in (BOOKS_CONVERTER, BOOKS_STORER):
            assert set(await settle_all(broker, queue, 1)) == {accepted + 1}

    async def test_cancelling_a_publish_loses_nothing_that_was_accepted(self, make_broker):
        broker = await make_broker(capacity=4)
        accepted, waiting = await fill(broker, PRICES, 4)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await soon(waiting)
        assert await settle_all(broker, PRICES_STORER, accepted) == list(range(1, accepted + 1))
        await publish(broker, 100, exchange=PRICES)
        async with broker.subscribe(PRICES_STORER, 10) as subscription:
            while numbers(await take(subscription, 1)) != [100]:
                pass  # the cancelled one may have arrived all the same

    # ---- casting

    async def test_a_cast_reaches_the_queue_and_the_taps_of_its_exchange_with_all_its_properties(self, broker):
        sent = Message(b"x\n{}", "quotes.v1", "id-1", "crawler/1", 1_700_000_000_123_456, "batch", ("x.A", "y.B"))
        async with broker.tap(QUOTES, 10) as tap, broker.subscribe(QUOTES_CONVERTER, 10) as subscription:
            await until_cast(broker, QUOTES, sent)
            (delivery,) = await take(subscription, 1)
            await delivery.ack()
            assert delivery.message == (await take(tap, 1))[0].message == sent
        await is_empty(broker, BOOKS_CONVERTER)

    async def test_casts_keep_their_order(self, broker):
        async with broker.tap(LIVE, 100) as tap:
            await until_cast(broker, LIVE, message(0))
            for number in range(1, 50):
                assert broker.cast(LIVE, message(number))
            assert numbers(await take(tap, 50)) == list(range(50))

    async def test_casts_that_nobody_takes_hold_up_nothing_and_the_oldest_are_forgotten(self, broker):
        last, end = 10**6, 10**6 + 1
        async with broker.tap(QUOTES, 3 * LIVE_MESSAGES) as tap:
            await until_cast(broker, QUOTES, message(0))
            for number in range(1, 2 * LIVE_MESSAGES + 1):
                broker.cast(QUOTES, message(number))
                if number % 50 == 0:
                    await soon(broker.publish(PRICES, message(number)))
            await until_cast(broker, QUOTES, message(last))
            while numbers(await soon(tap.receive(LIVE_MESSAGES)))[-1] != last:  # the broker may still be reading
                pass
        async with broker.subscribe(QUOTES_CONVERTER, 3 * LIVE_MESSAGES) as subscription:
            await until_cast(broker, QUOTES, message(end))
            seen: list[int] = []
            while not seen or seen[-1] != end:
                seen += numbers(await soon(subscription.receive(LIVE_MESSAGES)))
        assert len(seen) <= LIVE_MESSAGES + 1
        assert seen == sorted(seen)

    async def test_a_cast_to_an_exchange_that_is_not_there_is_dropped_and_the_rest_works(self, make_broker):
        broker = await make_broker(exchanges=[each for each in EXCHANGES if not each.live])
        for number in range(20):
            assert not broker.cast("no-such-exchange", message(number)) or not isinstance(broker, MemoryBroker)
        await publish(broker, 1)
        assert await settle_all(broker, BOOKS_STORER, 1) == [1]

    # ---- receiving

    async def test_a_receive_waits_for_a_first_message_and_not_for_more(self, broker):
        async with broker.subscribe(BOOKS_STORER, 10) as subscription:
            receiving = asyncio.create_task(subscription.receive(10))
            await never(broker, asyncio.shield(receiving))
            await publish(broker, 1)
            assert numbers(await soon(receiving)) == [1]

    async def test_a_receive_never_returns_more_than_asked_for(self, broker):
        await publish(broker, *range(10))
        async with broker.subscribe(BOOKS_STORER, 100) as subscription:
            seen: list[int] = []
            while len(seen) < 10:
                some = numbers(await soon(subscription.receive(3)))
                assert 1 <= len(some) <= 3
                seen += some
        assert seen == list(range(10))

    async def test_prefetch_bounds_the_open_deliveries(self, broker):
        await publish(broker, *range(6))
        async with broker.subscribe(BOOKS_STORER, 3) as subscription:
            opened = await take(subscription, 3)
            await never(broker, subscription.receive(10))
            await opened[0].ack()
            assert numbers(await soon(subscription.receive(10))) == [3]
            await never(broker, subscription.receive(10))
            await opened[2].ack(multiple=True)
            assert numbers(await take(subscription, 2)) == [4, 5]

    async def test_cancelling_a_receive_loses_nothing(self, broker):
        seen: list[int] = []
        async with broker.subscribe(BOOKS_STORER, 100) as subscription:
            for number in range(40):
                receiving = asyncio.create_task(subscription.receive(10))
                await asyncio.sleep(0)
                await publish(broker, number)
                await asyncio.sleep(0.001 * (number % 3))
                receiving.cancel()
                with suppress(asyncio.CancelledError):
                    seen += numbers(await soon(receiving))
            seen += numbers(await take(subscription, 40 - len(seen)))
        assert seen == list(range(40))

    async def test_cancelling_a_receive_settles_nothing(self, broker):
        async with broker.subscribe(BOOKS_STORER, 2) as subscription:
            await publish(broker, 1, 2)
            await take(subscription, 2)
            await never(broker, subscription.receive(1))
        assert await settle_all(broker, BOOKS_STORER, 2) == [1, 2]

    async def test_when_a_subscription_ends_so_does_every_receive(self, broker):
        async with broker.subscribe(BOOKS_STORER, 1) as subscription:
            receiving = asyncio.create_task(subscription.receive(1))
            await a_while(broker)
        with pytest.raises(BrokerUnavailable):
            await soon(receiving)
        await publish(broker, 1)
        with pytest.raises(BrokerUnavailable):
            await soon(subscription.receive(1))

    async def test_a_finished_subscription_hands_over_what_was_delivered_and_takes_no_more(self, broker):
        await publish(broker, *range(5))
        async with broker.subscribe(BOOKS_STORER, 2) as subscription:
            seen = numbers(deliveries := await soon(subscription.receive(1)))
            await soon(subscription.finish())
            while more := await soon(subscription.receive(1)):
                seen += numbers(deliveries := more)
            await deliveries[-1].ack(multiple=True)
            assert await soon(subscription.receive(1)) == []
        async with broker.subscribe(BOOKS_STORER, 10) as subscription:
            rest = await take(subscription, 5 - len(seen))
            assert seen + numbers(rest) == list(range(5))

    async def test_finishing_ends_a_receive_that_waits(self, broker):
        async with broker.subscribe(BOOKS_STORER, 1) as subscription:
            receiving = asyncio.create_task(subscription.receive(1))
            await a_while(broker)
            await soon(subscription.finish())
            assert await soon(receiving) == []
        await publish(broker, 1)
        assert await settle_all(broker, BOOKS_STORER, 1) == [1]

    async def test_nothing_is_lost_or_comes_twice_when_subscribers_finish_under_load(self, broker):
        seen: list[int] = []

        async def consume() -> None:
            async with broker.subscribe(BOOKS_STORER, 20) as subscription:
                (first,) = await soon(subscription.receive(1))
                await first.ack()
                seen.extend(numbers([first]))
                finishing = asyncio.create_task(subscription.finish())
                while deliveries := await soon(subscription.receive(5)):
                    seen.extend(numbers(deliveries))
                    await deliveries[-1].ack(multiple=True)
                await finishing

        publishing = asyncio.create_task(publish(broker, *range(300)))
        while len(seen) < 300:
            await consume()
        await publishing
        assert seen == list(range(300))

    # ---- settling

    async def test_what_was_acknowledged_never_comes_again(self, broker):
        await publish(broker, 1, 2)
        async with broker.subscribe(BOOKS_STORER, 10) as subscription:
            for delivery in await take(subscription, 2):
                await delivery.ack()
        await is_empty(broker, BOOKS_STORER)

    async def test_an_ack_of_several_takes_the_earlier_ones_and_leaves_the_later_ones(self, broker):
        await publish(broker, *range(5))
        async with broker.subscribe(BOOKS_STORER, 10) as subscription:
            deliveries = await take(subscription, 5)
            await deliveries[1].ack()
            await deliveries[2].ack(multiple=True)
        assert await settle_all(broker, BOOKS_STORER, 2) == [3, 4]
        await is_empty(broker, BOOKS_STORER)

    async def test_an_ack_of_several_leaves_other_subscriptions_alone(self, broker):
        await publish(broker, 1, 2)
        async with broker.subscribe(BOOKS_STORER, 1) as first:
            await take(first, 1)
            async with broker.subscribe(BOOKS_STORER, 1) as second:
                (delivery,) = await take(second, 1)
                await delivery.ack(multiple=True)
        assert await settle_all(broker, BOOKS_STORER, 1) == [1]
        await is_empty(broker, BOOKS_STORER)

    @pytest.mark.parametrize("later", [False, True], ids=["itself", "with a later one"])
    @pytest.mark.parametrize("multiple", [False, True], ids=["alone", "all"])
    async def test_settling_twice_is_refused(self, broker, later, multiple):
        await publish(broker, 1, 2)
        async with broker.subscribe(BOOKS_STORER, 2) as subscription:
            deliveries = await take(subscription, 2)
            await deliveries[later].ack(multiple=later)
            with pytest.raises(BrokerUnavailable):
                await deliveries[0].ack(multiple=multiple)

    @pytest.mark.parametrize("multiple", [False, True], ids=["alone", "all"])
    async def test_settling_after_the_subscription_has_ended_is_refused_and_the_message_comes_again(
        self, broker, multiple
    ):
        await publish(broker, 1)
        async with broker.subscribe(BOOKS_STORER, 1) as subscription:
            (delivery,) = await take(subscription, 1)
        with pytest.raises(BrokerUnavailable):
            await delivery.ack(multiple=multiple)
        assert await settle_all(broker, BOOKS_STORER, 1) == [1]
        await is_empty(broker, DEAD_LETTERS)

    # ---- subscribers that go, and several of them

    @pytest.mark.parametrize("way", ["leave", "exception", "cancel"])
    async def test_what_a_subscriber_leaves_unsettled_comes_again_in_order(self, broker, way):
        await publish(broker, *range(6))
        taken = asyncio.Event()

        async def subscriber() -> None:
            async with broker.subscribe(BOOKS_STORER, 4) as subscription:
                deliveries = await take(subscription, 4)
                await deliveries[1].ack()
                taken.set()
                if way == "exception":
                    raise ValueError(way)
                if way == "cancel":
                    await asyncio.Event().wait()

        task = asyncio.create_task(subscriber())
        await soon(taken.wait())
        if way == "cancel":
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or isinstance(task.exception(), ValueError | None)
        async with broker.subscribe(BOOKS_STORER, 10) as subscription:
            assert numbers(await take(subscription, 5)) == [0, 2, 3, 4, 5]

    async def test_subscribers_of_one_queue_share_it(self, broker):
        await publish(broker, *range(3))
        async with broker.subscribe(BOOKS_STORER, 1) as first, broker.subscribe(BOOKS_STORER, 1) as second:
            one, other = await take(first, 1), await take(second, 1)
            assert sorted(numbers(one + other)) == [0, 1]
            await other[0].ack()
            assert numbers(await take(second, 1)) == [2]

    async def test_competing_subscribers_lose_nothing(self, broker):
        seen: list[int] = []
        done = asyncio.Event()

        async def worker() -> None:
            async with broker.subscribe(BOOKS_STORER, 5) as subscription:
                while True:
                    deliveries = await subscription.receive(5)
                    seen.extend(numbers(deliveries))
                    await deliveries[-1].ack(multiple=True)
                    if len(seen) >= 300:
                        done.set()

        workers = [asyncio.create_task(worker()) for _ in range(3)]
        await publish(broker, *range(300))
        await soon(done.wait())
        for task in workers:
            task.cancel()
        await asyncio.wait(workers)
        assert sorted(seen) == list(range(300))
        await is_empty(broker, BOOKS_STORER)

    async def test_each_queue_delivers_each_message_at_least_once_to_consumers_that_keep_dying(self, broker):
        random, total = Random(7), 1000

        async def consume(queue: str) -> set[int]:
            done: set[int] = set()
            while len(done) < total:
                with suppress(ValueError):
                    await live(queue, done)
            return done

        async def live(queue: str, done: set[int]) -> None:
            async with broker.subscribe(queue, 60) as subscription:
                for _ in range(random.randrange(4)):
                    deliveries = await soon(subscription.receive(20))
                    await deliveries[-1].ack(multiple=True)
                    done.update(numbers(deliveries))
                    if len(done) == total:
                        return
                deliveries = await soon(subscription.receive(20))
                half = deliveries[: len(deliveries) // 2 + 1]
                await half[-1].ack(multiple=True)
                done.update(numbers(half))
                raise ValueError("dies with open deliveries")

        async with patience(), asyncio.TaskGroup() as tasks:
            consumers = [tasks.create_task(consume(queue)) for queue in (BOOKS_CONVERTER, BOOKS_STORER)]
            for first in range(0, total, 50):
                await asyncio.gather(*(broker.publish(BOOKS, message(first + each)) for each in range(50)))
        assert [consumer.result() for consumer in consumers] == [set(range(total))] * 2

    # ---- tapping

    async def test_a_tap_sees_all_that_is_published_while_it_lasts(self, broker):
        await publish(broker, 1)
        async with broker.tap(BOOKS, 100) as tap, broker.tap(BOOKS, 100) as other:
            await publish(broker, 2, 3)
            await publish(broker, 4, exchange=PRICES)
            await publish(broker, 5)
            for each in (tap, other):
                assert numbers(await take(each, 3)) == [2, 3, 5]
                await never(broker, each.receive(10))
        assert await settle_all(broker, BOOKS_STORER, 4) == [1, 2, 3, 5]

    async def test_a_tap_receives_more_than_its_capacity_when_nobody_settles(self, broker):
        async with broker.tap(BOOKS, 2) as tap:
            for number in range(10):
                await publish(broker, number)
                assert numbers(await take(tap, 1)) == [number]

    async def test_a_full_tap_forgets_the_oldest_and_never_slows_the_publisher(self, make_broker):
        broker, newest = await make_broker(), []
        async with broker.tap(BOOKS, 5) as tap:
            await publish(broker, *range(100))
            while 99 not in newest:
                await a_while(broker)
                newest = numbers(await soon(tap.receive(100)))
                assert len(newest) <= 5
            assert newest == list(range(100 - len(newest), 100))
            await never(broker, tap.receive(10))
        assert await settle_all(broker, BOOKS_STORER, 100) == list(range(100))

    async def test_a_tap_is_gone_with_its_context(self, make_broker):
        broker = await make_broker(exchanges=NO_QUEUES)
        async with broker.tap(BOOKS, 5) as tap:
            await publish(broker, 1)
            assert numbers(await take(tap, 1)) == [1]
            receiving = asyncio.create_task(tap.receive(1))
            await a_while(broker)
        with pytest.raises(BrokerUnavailable):
            await soon(receiving)
        await publish(broker, 2)
        assert await settle_all(broker, UNROUTED, 1) == [2]
        with pytest.raises(BrokerUnavailable):
            await soon(tap.receive(1))
