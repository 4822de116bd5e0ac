"""Every venue by its name: the one line that adds another."""

from collections.abc import Mapping

from crawler.venues.binance.venue import Binance
from crawler.venues.binance_usdm.venue import BinanceUsdm
from crawler.venues.port import Venue

VENUES: Mapping[str, Venue] = {venue.name: venue for venue in (Binance(), BinanceUsdm())}
