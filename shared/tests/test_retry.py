"""A publish is repeated until it is confirmed; a lost subscription is made again."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, repeat

import pytest
from broker_steps import message
from clocks import ManualClock, settle
from structlog.testing import capture_logs
from waiting import soon

from fairprice.broker.memory import MemoryBroker
from fairprice.broker.retry import consume, publish_until_confirmed
from fairprice.errors import BrokerUnavailable, StoreUnavailable
from fairprice.runtime.clock import SystemClock
from fairprice.topology import PRICES, PRICES_STORER


class FailingBroker:
    """Fails so many times, then accepts."""

    def __init__(self, failures: int, error: type[Exception] = BrokerUnavailable) -> None:
        self.failures = failures
        self.error = error
        self.published: list[tuple[str, object]] = []

    async def publish(self, exchange, sent):
        self.published.append((exchange, sent))
        if len(self.published) <= self.failures:
            raise self.error("scripted")


class Delays:
    """Makes series of delays of a millisecond and counts what is taken from each."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __call__(self):
        self.taken.append(0)
        mine = len(self.taken) - 1
        while True:
            self.taken[mine] += 1
            yield 0.001


async def test_a_repetition_waits_for_its_delay_on_the_clock_that_was_handed_in():
    clock, broker = ManualClock(), FailingBroker(2)
    publishing = asyncio.create_task(
        publish_until_confirmed(broker, "books", message(1), lambda: iter([3.0, 60.0]), clock)
    )
    attempts = []
    for seconds in (2.9, 0.1, 59.9, 0.1):
        await clock.advance(seconds)
        attempts.append(len(broker.published))
    assert attempts == [1, 2, 2, 3]
    await publishing


async def test_a_lost_subscription_is_made_again_after_its_delay_on_the_clock_that_was_handed_in():
    clock, subscriptions, stop = ManualClock(), Subscriptions(), asyncio.Event()

    async def work(_subscription):
        raise BrokerUnavailable("lost")

    consuming = asyncio.create_task(consume(subscriptions.subscribe, work, lambda: repeat(5.0), stop, clock, queue="q"))
    made = []
    for seconds in (4.9, 0.1, 5.0):
        await clock.advance(seconds)
        made.append(subscriptions.made)
    assert made == [1, 2, 3]
    stop.set()
    await soon(consuming)


@pytest.mark.parametrize("failures", [0, 1, 4])
async def test_a_publish_is_repeated_unchanged_until_the_broker_confirms(failures):
    broker, back_off = FailingBroker(failures), Delays()
    await publish_until_confirmed(broker, "books", message(1), back_off, SystemClock())
    assert broker.published == [("books", message(1))] * (failures + 1)
    assert sum(back_off.taken) == failures


async def test_an_error_that_is_not_transient_is_not_repeated():
    broker = FailingBroker(1, KeyError)
    with pytest.raises(KeyError):
        await publish_until_confirmed(broker, "books", message(1), Delays(), SystemClock())
    assert len(broker.published) == 1


async def test_cancelling_ends_the_repetitions():
    broker = FailingBroker(10**9)
    task = asyncio.create_task(
        publish_until_confirmed(broker, "books", message(1), lambda: repeat(10.0), SystemClock())
    )
    await settle()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert len(broker.published) == 1


class Subscriptions:
    """Each subscription is a number; says which ended."""

    def __init__(self) -> None:
        self.made = 0
        self.ended: list[int] = []

    @asynccontextmanager
    async def subscribe(self):
        self.made += 1
        mine = self.made
        try:
            yield mine
        finally:
            self.ended.append(mine)


@pytest.mark.parametrize("error", [BrokerUnavailable, StoreUnavailable])
async def test_a_lost_subscription_is_left_and_made_again(error):
    subscriptions, seen = Subscriptions(), []

    async def work(subscription):
        assert subscriptions.ended == list(range(1, subscription))
        seen.append(subscription)
        if len(seen) == 7:
            raise ZeroDivisionError
        if len(seen) % 2 == 0:
            raise error("lost")
        return True

    with pytest.raises(ZeroDivisionError):
        await consume(subscriptions.subscribe, work, Delays(), asyncio.Event(), SystemClock(), queue="q")
    assert seen == [1, 1, 2, 2, 3, 3, 4]
    assert subscriptions.ended == [1, 2, 3, 4]


async def test_the_log_says_which_queue_is_lost_and_which_is_read_again():
    outcomes = iter([False, True, None])

    async def work(_subscription):
        outcome = next(outcomes)
        if outcome is None:
            raise ZeroDivisionError
        if not outcome:
            raise BrokerUnavailable("lost")
        return True

    with capture_logs() as logs, pytest.raises(ZeroDivisionError):
        await consume(Subscriptions().subscribe, work, Delays(), asyncio.Event(), SystemClock(), queue=PRICES_STORER)
    assert [(line["event"], line["queue"]) for line in logs] == [
        ("subscription lost, subscribing until it is there again", PRICES_STORER),
        ("consuming again", PRICES_STORER),
    ]


async def test_pauses_grow_while_nothing_works_and_begin_anew_once_something_did():
    back_off = Delays()
    outcomes = chain([False] * 3, [True, False], [False, False], [None])

    async def work(_subscription):
        outcome = next(outcomes)
        if outcome is None:
            raise ZeroDivisionError
        if not outcome:
            raise BrokerUnavailable("lost")
        return True

    with pytest.raises(ZeroDivisionError):
        await consume(Subscriptions().subscribe, work, back_off, asyncio.Event(), SystemClock(), queue="q")
    assert back_off.taken == [3, 3]


async def test_subscribing_itself_is_tried_again_too():
    attempts = 0

    @asynccontextmanager
    async def subscribe():
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise BrokerUnavailable("not yet")
        yield attempts

    async def work(subscription):
        raise ZeroDivisionError(subscription)

    with pytest.raises(ZeroDivisionError, match="3"):
        await consume(subscribe, work, Delays(), asyncio.Event(), SystemClock(), queue="q")


async def test_cancelling_ends_the_work_and_leaves_the_subscription():
    subscriptions = Subscriptions()

    async def work(_subscription):
        await asyncio.sleep(10)

    task = asyncio.create_task(
        consume(subscriptions.subscribe, work, Delays(), asyncio.Event(), SystemClock(), queue="q")
    )
    await settle()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert subscriptions.ended == [1]


async def test_a_stop_lets_what_is_being_worked_on_end_and_takes_no_more():
    broker, stop, done = MemoryBroker(), asyncio.Event(), []
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(subscription):
        deliveries = await subscription.receive(1)
        if deliveries:
            begun.set()
            await may_end.wait()
            await deliveries[-1].ack()
            done.append(deliveries)
        return bool(deliveries)

    for number in range(3):
        await broker.publish(PRICES, message(number))
    consuming = asyncio.create_task(
        consume(partial(broker.subscribe, PRICES_STORER, 10), work, Delays(), stop, SystemClock(), queue="q")
    )
    await begun.wait()
    stop.set()
    await settle()
    may_end.set()
    await soon(consuming)
    assert len(done) == 1
    assert broker.depths()[PRICES_STORER] == 2


async def test_a_stop_ends_the_wait_for_a_message():
    stop = asyncio.Event()

    async def work(subscription):
        return bool(await subscription.receive(1))

    subscribe = partial(MemoryBroker().subscribe, PRICES_STORER, 10)
    consuming = asyncio.create_task(consume(subscribe, work, Delays(), stop, SystemClock(), queue="q"))
    await settle()
    stop.set()
    await soon(consuming)


@pytest.mark.parametrize("where", ["subscribing", "pausing"])
async def test_a_stop_does_not_wait_for_a_broker_that_is_away(where):
    stop = asyncio.Event()

    @asynccontextmanager
    async def subscribe():
        if where == "subscribing":
            await asyncio.sleep(10)
        raise BrokerUnavailable("away")
        yield

    consuming = asyncio.create_task(consume(subscribe, None, lambda: repeat(10.0), stop, SystemClock(), queue="q"))
    await settle()
    stop.set()
    await soon(consuming)


async def test_a_subscription_lost_while_it_is_finished_is_not_made_again():
    stop, subscriptions = asyncio.Event(), Subscriptions()

    class Lost:
        async def finish(self):
            raise BrokerUnavailable("lost")

    @asynccontextmanager
    async def subscribe():
        async with subscriptions.subscribe():
            yield Lost()

    async def work(_subscription):
        await stop.wait()
        raise BrokerUnavailable("lost")

    consuming = asyncio.create_task(consume(subscribe, work, lambda: repeat(0.0), stop, SystemClock(), queue="q"))
    await settle()
    stop.set()
    await soon(consuming)
    assert subscriptions.made == 1
