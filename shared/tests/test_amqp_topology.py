"""What RabbitMQ lacks is declared and bound, whatever interrupts it."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity
from clocks import settle
from waiting import soon

from fairprice.broker import amqp_topology
from fairprice.broker.amqp_topology import Topology
from fairprice.topology import EXCHANGES, PRICES, PRICES_STORER, QUOTES, QUOTES_CONVERTER, Exchange

ALL = {(exchange.name, queue) for exchange in EXCHANGES for queue in exchange.queues}
ONE = (Exchange(PRICES, (PRICES_STORER,)),)


@dataclass
class Server:
    """A broker as far as `Topology` asks it; `hurdles` are raised, one after the other, instead of binding a queue.

    It `refuses` what is declared; about what is `silent` it gives no answer.
    """

    hurdles: list[Exception] = field(default_factory=list)
    there: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    bound: set[tuple[str, str]] = field(default_factory=set)
    refuses: bool = False
    is_closed: bool = False
    channels: int = 0

    async def channel(self, **_options):
        self.channels += 1
        return self

    async def declare_exchange(self, name, *_kind, passive=False, **_options):
        self._declare(f"exchange {name}", passive)

    async def declare_queue(self, name, *, passive=False, **_options):
        if f"queue {name}" in self.silent:
            await asyncio.Event().wait()
        self._declare(f"queue {name}", passive)

    async def get_queue(self, name, *, ensure):
        assert not ensure
        return Queue(self, name)

    def _declare(self, thing, passive):
        if passive and thing not in self.there:
            raise ChannelNotFoundEntity(thing)
        if not passive and self.refuses:
            raise ChannelAccessRefused(thing)
        self.there.add(thing)


@dataclass
class Queue:
    server: Server
    name: str

    async def bind(self, exchange, routing_key):
        assert routing_key == ""
        if self.server.hurdles:
            raise self.server.hurdles.pop(0)
        self.server.bound.add((exchange, self.name))


async def test_what_is_missing_is_declared_and_bound_and_nothing_else_is_touched():
    server, unbound = Server(), set()
    restored = await Topology(server, EXCHANGES, None, unbound).restore()
    assert len(restored.declared) == len(EXCHANGES) + len(ALL)
    assert (server.bound, unbound, restored.missing) == (ALL, set(), {})
    server.bound.clear()
    assert (await Topology(server, EXCHANGES, None, unbound).restore()).declared == ()
    assert server.bound == set()


async def test_a_queue_that_was_declared_when_the_connection_was_lost_is_bound_on_the_next_one():
    server, unbound = Server([ConnectionError("INTERNAL_ERROR")]), set()
    with pytest.raises(ConnectionError):
        await Topology(server, ONE, None, unbound).restore()
    await Topology(server, ONE, None, unbound).restore()
    assert (server.bound, unbound) == ({(PRICES, PRICES_STORER)}, set())


async def test_a_queue_whose_binding_is_refused_is_told_until_it_is_bound():
    server, unbound = Server([ChannelAccessRefused("no"), ChannelAccessRefused("no")]), set()
    topology = Topology(server, ONE, None, unbound)
    for _ in range(2):
        [told] = (await topology.restore()).missing.values()
        assert "cannot be bound" in told
    assert (await topology.restore()).missing == {}
    assert (server.bound, unbound) == ({(PRICES, PRICES_STORER)}, set())


async def test_what_may_not_be_declared_is_missing_by_its_name_and_what_only_is_live_apart():
    server = Server(refuses=True)
    restored = await Topology(server, EXCHANGES, None, set()).restore()
    live = [exchange for exchange in EXCHANGES if exchange.live]
    names = {f"exchange {exchange.name}" for exchange in live}
    names |= {f"queue {queue}" for exchange in live for queue in exchange.queues}
    assert restored.absent.keys() == names
    assert len(restored.missing) == len(EXCHANGES) + len(ALL) - len(names)
    for name, text in {**restored.missing, **restored.absent}.items():
        assert text.startswith(f"{name} is missing, restart RabbitMQ to import its definitions")


async def test_a_queue_of_the_live_view_that_gives_no_answer_holds_nothing_up(monkeypatch):
    """On RabbitMQ 4.3 one whose node is down."""
    monkeypatch.setattr(amqp_topology, "LIVE_TIMEOUT", 0.01)
    server = Server(silent={f"queue {QUOTES_CONVERTER}"})
    restored = await soon(Topology(server, EXCHANGES, None, set()).restore())
    assert restored.missing == {}
    assert "looking at what quotes needs: no answer" in " ".join(restored.absent.values())
    assert server.bound == ALL - {(QUOTES, QUOTES_CONVERTER)}


async def test_a_queue_of_the_live_view_that_gives_no_answer_is_not_asked_again_before_it_has(monkeypatch):
    """Each question left open keeps a channel of the connection, of which there are 2047."""
    monkeypatch.setattr(amqp_topology, "LIVE_TIMEOUT", 0.01)
    server = Server(silent={f"queue {QUOTES_CONVERTER}"})
    topology = Topology(server, EXCHANGES, None, set())
    told = (await soon(topology.restore())).absent
    channels = server.channels
    for _ in range(3):
        assert (await soon(topology.restore())).absent == told
    assert server.channels == channels
    server.silent.clear()
    server.is_closed = True  # the broker is done with the question
    assert not (await soon(topology.restore())).absent


async def test_a_queue_of_the_record_that_gives_no_answer_is_waited_for():
    server = Server(silent={f"queue {PRICES_STORER}"})
    restoring = asyncio.create_task(Topology(server, EXCHANGES, None, set()).restore())
    await settle()
    assert not restoring.done()
    restoring.cancel()
