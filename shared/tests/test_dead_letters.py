"""An invalid line reaches the dead letters with all that a person needs to find out why."""

import asyncio
from dataclasses import replace
from itertools import repeat

import pytest
from broker_steps import soon, take
from clocks import ManualClock, settle

from fairprice.broker.dead_letters import dead_letter
from fairprice.broker.memory import MemoryBroker
from fairprice.broker.port import Message
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.clock import SystemClock
from fairprice.topology import BOOKS_STORER, DEAD_LETTERS

SOURCE = Message(
    b"good\nbad", "books.v1", "books.v1/a/b/2", "crawler/1", 123_456, "binance.BTCUSDT", ("binance.BTCUSDT",)
)


class UncertainBroker(MemoryBroker):
    """Says several times that it does not know, having accepted the message or not."""

    def __init__(self, *accepted: bool) -> None:
        super().__init__()
        self.accepted = iter(accepted)
        self.exchanges: list[str] = []

    async def publish(self, exchange, message):
        self.exchanges.append(exchange)
        accepted = next(self.accepted, None)
        if accepted is not False:
            await super().publish(exchange, message)
        if accepted is not None:
            raise BrokerUnavailable("no confirmation in time")


async def bury(broker, *lines, source=SOURCE):
    for line in lines:
        await soon(
            dead_letter(
                broker,
                line,
                reason="no JSON",
                queue=BOOKS_STORER,
                source=source,
                back_off=lambda: repeat(0.001),
                clock=SystemClock(),
            )
        )


async def letters(broker):
    wanted = broker.depths()[DEAD_LETTERS]
    async with broker.subscribe(DEAD_LETTERS, 100) as subscription:
        return [delivery.message for delivery in await take(subscription, wanted)]


async def test_a_letter_holds_the_line_alone_and_tells_where_it_came_from_and_why():
    broker = MemoryBroker()
    await bury(broker, b"\xff bad")
    (letter,) = await letters(broker)
    assert letter.body == b"\xff bad"
    assert letter.headers == {"reason": "no JSON", "origin": BOOKS_STORER, "origin_message_id": SOURCE.message_id}
    same = {name: getattr(SOURCE, name) for name in ("type", "app_id", "timestamp", "routing_key", "symbols")}
    assert {name: getattr(letter, name) for name in same} == same


async def test_lines_of_one_message_have_ids_of_their_own_and_a_repeated_line_the_same():
    broker = MemoryBroker()
    await bury(broker, b"one", b"two", b"one")
    await bury(broker, b"one", source=replace(SOURCE, message_id="other"))
    one, two, again, elsewhere = [letter.message_id for letter in await letters(broker)]
    assert one == again
    assert len({one, two, elsewhere, SOURCE.message_id}) == 4


async def test_it_returns_only_when_the_dead_letters_have_the_line():
    broker = UncertainBroker(False, False, True, False)
    await bury(broker, b"bad")
    assert broker.exchanges == [DEAD_LETTERS] * 5
    assert {letter.body for letter in await letters(broker)} == {b"bad"}
    assert len({letter.message_id for letter in await letters(broker)}) == 1


async def test_while_the_dead_letters_are_full_it_waits():
    clock = ManualClock()
    broker = MemoryBroker(capacity=1, timeout=1, clock=clock)
    await bury(broker, b"first")
    burying = asyncio.create_task(bury(broker, b"second"))
    await clock.advance(5)
    assert not burying.done()
    async with broker.subscribe(DEAD_LETTERS, 1) as subscription:
        for expected in (b"first", b"second"):
            (letter,) = await take(subscription, 1)
            assert letter.message.body == expected
            await letter.ack()
    await soon(burying)


async def test_cancelling_gives_up_the_line_so_that_its_message_must_stay_unsettled():
    broker = UncertainBroker(*[False] * 1000)
    burying = asyncio.create_task(bury(broker, b"bad"))
    await settle()
    burying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await burying
    assert broker.depths()[DEAD_LETTERS] == 0
