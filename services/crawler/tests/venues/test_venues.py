"""Every venue against the contract, and one that is there for this test only: its folder and a line here."""

import pytest
from binance_wire import BinanceUsdmWire, BinanceWire
from toy.wire import ToyWire
from venue_contract import VenueContract

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
