"""The topology as data: nothing that is published can end nowhere."""

from collections import Counter

import pytest

from fairprice import topology
from fairprice.topology import BOOKS, DEAD_LETTERS, EXCHANGES, LIVE, PRICES, QUOTES, UNROUTED, USES

BY_NAME = {exchange.name: exchange for exchange in EXCHANGES}


def test_every_exchange_is_declared_once():
    assert len(BY_NAME) == len(EXCHANGES)


def test_every_queue_is_bound_once():
    bound = Counter(queue for exchange in EXCHANGES for queue in exchange.queues)
    assert set(bound.values()) == {1}


def test_every_exchange_but_the_last_of_the_live_view_has_a_queue():
    assert {exchange.name for exchange in EXCHANGES if not exchange.queues} == {LIVE}


@pytest.mark.parametrize("name", [QUOTES, LIVE])
def test_what_is_live_is_held_up_by_nothing_and_goes_nowhere_else(name):
    exchange = BY_NAME[name]
    assert exchange.live
    assert not exchange.refuse
    assert (exchange.alternate, exchange.dead_letters) == (None, None)


def test_every_name_that_the_module_gives_is_declared():
    queues = {queue for exchange in EXCHANGES for queue in exchange.queues}
    names = {value for name, value in vars(topology).items() if name.isupper() and isinstance(value, str)}
    assert names == BY_NAME.keys() | queues


@pytest.mark.parametrize("name", [BOOKS, PRICES])
def test_what_no_queue_takes_from_a_stream_waits_where_somebody_looks(name):
    alternate = BY_NAME[BY_NAME[name].alternate]
    assert alternate.name == UNROUTED
    assert alternate.queues == (UNROUTED,)


def test_an_alternate_exists_and_has_none_of_its_own():
    for exchange in EXCHANGES:
        if exchange.alternate:
            assert BY_NAME[exchange.alternate].alternate is None


@pytest.mark.parametrize("exchange", [exchange for exchange in EXCHANGES if exchange.name in (BOOKS, PRICES, QUOTES)])
def test_the_queues_of_a_stream_are_called_after_it(exchange):
    assert all(queue.startswith(f"{exchange.name}.") for queue in exchange.queues)


def test_dead_letters_have_a_queue():
    assert BY_NAME[DEAD_LETTERS].queues == (DEAD_LETTERS,)


def test_what_services_use_is_declared_and_each_queue_of_a_stream_has_one_service():
    for use in USES.values():
        assert {*use.publishes, *use.casts, *use.taps} <= BY_NAME.keys()
        assert all(BY_NAME[name].live for name in use.casts)
        assert not any(BY_NAME[name].live for name in use.publishes)
    consumed = Counter(queue for use in USES.values() for queue in use.consumes)
    assert consumed == Counter(queue for name in (BOOKS, PRICES, QUOTES) for queue in BY_NAME[name].queues)


@pytest.mark.parametrize("name", [BOOKS, PRICES])
def test_what_is_delivered_from_a_stream_too_often_goes_where_nothing_is_dropped(name):
    assert BY_NAME[name].dead_letters == DEAD_LETTERS
    assert BY_NAME[DEAD_LETTERS].dead_letters is None
