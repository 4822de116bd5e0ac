"""Every venue against the contract, and one that is there for this test only: its folder and a line here."""

import asyncio

import pytest
from binance_wire import BinanceUsdmWire, BinanceWire
from toy.wire import ToyWire
from venue_contract import Play, VenueContract, recorded, remember, snapshots_of

from crawler.venues.table import VENUES

WIRES = [
    BinanceWire(),
    BinanceUsdmWire(),
    ToyWire(),
]


class TestVenues(VenueContract):
    @pytest.fixture(params=WIRES, ids=lambda wire: wire.venue.name)
    def wire(self, request):
        return request.param


def test_every_venue_of_the_table_is_put_to_the_test():
    assert set(VENUES) <= {wire.venue.name for wire in WIRES}


def test_a_venue_goes_by_its_name():
    assert all(venue.name == name for name, venue in VENUES.items())


async def test_a_recording_gives_the_books_that_a_naive_one_gives(recording):
    [wire] = (wire for wire in WIRES if wire.venue.name == recording.venue)
    seen = await asyncio.to_thread(recorded, wire, recording.path)
    remember(seen, each=100)
    play = Play(wire, seen, await snapshots_of(wire, seen))
    play.require_right_books()
    assert len(play.books) == recording.books
    assert play.gaps == []
    assert play.feed.audit.mismatches == 0
