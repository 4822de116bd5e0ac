"""What may be lost never waits: a connection that is slow, blocked, lost or refused costs casts and nothing else."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from types import SimpleNamespace

import pytest
from broker_steps import channel_to, message, until_cast
from clocks import ManualClock, settle
from rabbitmq_nodes import running
from structlog.testing import capture_logs
from waiting import soon

from fairprice.broker import amqp_casting
from fairprice.broker.amqp import AmqpBroker
from fairprice.broker.amqp_casting import CAPACITY, Caster
from fairprice.errors import BrokerUnavailable
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.topology import LIVE, QUOTES, QUOTES_CONVERTER


class Network:
    """Connections and channels that are told what to do; `sent` has what has gone."""

    def __init__(self):
        self.sent = []
        self.opened = 0
        self.refuse = self.is_open = False
        self.flows, self.accepts = asyncio.Event(), asyncio.Event()
        self.flows.set()
        self.accepts.set()
        self.callbacks = set()

    @asynccontextmanager
    async def connect(self):
        if self.refuse:
            raise BrokerUnavailable("refused")
        self.opened += 1
        self.is_open = True
        below = SimpleNamespace(ready=self.accepts.wait)
        yield SimpleNamespace(transport=SimpleNamespace(connection=below), close_callbacks=self.callbacks)
        self.is_open = False

    async def open(self, _connection, *, confirms):
        assert not confirms
        return self

    def serves(self, _connection):
        return self.is_open

    async def cast(self, exchange, _routing_key, _body, properties):
        assert properties.delivery_mode == 1
        await self.flows.wait()
        self.sent.append((exchange, properties.message_id))

    def lose(self):
        self.is_open = False
        for callback in self.callbacks:
            callback(None, None)


@pytest.fixture
def network(monkeypatch):
    made = Network()
    monkeypatch.setattr(amqp_casting, "Channel", SimpleNamespace(open=made.open))
    return made


@asynccontextmanager
async def casting(network, clock, is_there=lambda _exchange: True, **options):
    caster = Caster(network.connect, is_there, clock=clock, back_off=lambda: iter([1.0] * 100), **options)
    task = asyncio.create_task(caster.run())
    await settle()
    try:
        yield caster
    finally:
        task.cancel()
        await asyncio.wait({task})


async def connect(caster):
    assert not caster.cast(LIVE, message(0)), "the first one finds no connection"
    await settle()


async def test_nothing_is_connected_before_something_is_cast(network):
    async with casting(network, ManualClock()) as caster:
        assert network.opened == 0
        await connect(caster)
        assert network.opened == 1
        assert caster.cast(LIVE, message(1))
        await settle()
    assert network.sent == [(LIVE, "id-1")]
    assert caster.counts == {(LIVE, "dropped"): 1, (LIVE, "sent"): 1}


async def test_where_there_is_no_such_exchange_nothing_is_tried(network):
    async with casting(network, ManualClock(), is_there=lambda exchange: exchange == LIVE) as caster:
        assert not caster.cast(QUOTES, message(1))
        await settle()
        assert network.opened == 0
    assert caster.counts == {(QUOTES, "dropped"): 1}


async def test_while_the_network_takes_nothing_the_newest_wait_and_the_rest_are_dropped_at_once(network):
    async with casting(network, ManualClock(), capacity=3) as caster:
        await connect(caster)
        network.flows.clear()
        for number in range(10):
            assert caster.cast(LIVE, message(number))
            if number == 0:
                await settle()  # it is on its way
        network.flows.set()
        await settle()
    assert network.sent == [(LIVE, f"id-{number}") for number in (0, 7, 8, 9)]
    assert caster.counts == {(LIVE, "dropped"): 7, (LIVE, "sent"): 4}


async def test_an_alarm_drops_what_is_cast_and_its_end_ends_that(network):
    async with casting(network, ManualClock()) as caster:
        await connect(caster)
        network.accepts.clear()
        assert not caster.cast(LIVE, message(1))
        network.accepts.set()
        assert caster.cast(LIVE, message(2))
        await settle()
    assert network.sent == [(LIVE, "id-2")]


async def test_a_lost_connection_is_made_again_and_told_once_a_minute(network):
    clock = ManualClock()
    async with casting(network, clock) as caster:
        await connect(caster)
        with capture_logs() as logs:
            for _ in range(5):
                network.lose()
                await settle()
                assert not caster.cast(LIVE, message(1))
                await clock.advance(1.0)
                assert caster.cast(LIVE, message(2))
                await settle()
        assert len(logs) == 1
    assert network.opened == 6
    assert network.sent == [(LIVE, "id-2")] * 5


async def test_what_waited_for_a_connection_that_is_lost_is_dropped_with_it(network):
    async with casting(network, ManualClock()) as caster:
        await connect(caster)
        network.flows.clear()
        for number in range(3):
            caster.cast(LIVE, message(number))
        await settle()
    assert network.sent == []
    assert caster.counts[LIVE, "dropped"] == 4


async def test_a_refused_connection_is_tried_again_after_pauses(network):
    clock = ManualClock()
    network.refuse = True
    async with casting(network, clock) as caster:
        await connect(caster)
        await clock.advance(5.0)
        network.refuse = False
        await clock.advance(1.0)
        assert caster.cast(LIVE, message(1))
    assert network.opened == 1


def test_what_waits_is_bounded():
    caster = Caster(None, lambda _: True, clock=ManualClock(), back_off=partial(delays, Random(1)))
    caster._connection = SimpleNamespace(transport=None)
    for number in range(3 * CAPACITY):
        caster.cast(LIVE, message(number))
    assert isinstance(caster._waiting, deque)
    assert len(caster._waiting) == CAPACITY


@pytest.mark.rabbitmq
async def test_on_a_server_it_is_transient_and_uses_a_connection_of_its_own(server):
    broker = AmqpBroker(lambda: server.url, name="t", clock=SystemClock(), back_off=partial(delays, Random(1)))
    async with running(broker):
        await until_cast(broker, QUOTES, message(7))
        async with channel_to(server.url) as channel:

            async def got():
                found = await channel.basic_get(QUOTES_CONVERTER, no_ack=True)
                while not found.delivery_tag:
                    found = await channel.basic_get(QUOTES_CONVERTER, no_ack=True)
                return found

            delivered = await soon(got())
        session = await broker._connections.session()
        assert broker._caster._connection not in {None, session.publishing, session.consuming}
    assert delivered.header.properties.delivery_mode == 1
    assert delivered.header.properties.message_id == "id-7"
