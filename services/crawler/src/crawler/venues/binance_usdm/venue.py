"""Binance USD-M futures: spot's protocol with other hosts, limits and ids, so the rest is spot's own code.

A diff names the id at which the one before it ended, `pu`; ids are not counted one by one, so what it adds begins right
behind that, at `pu` + 1.
"""

from typing import ClassVar

from crawler.venues.binance.dialect import COIN_M, Dialect
from crawler.venues.binance.venue import Binance
from crawler.venues.port import Limits

USDM = Dialect(
    first_id_field="pu",
    first_id_offset=1,
    foreign_fields={"ps": COIN_M},
    depth_path="/fapi/v1/depth",
    depth_weights=((5, 2), (10, 2), (20, 2), (50, 2), (100, 5), (500, 10), (1000, 20)),
    is_fixed_depth=True,
    symbols_path="/fapi/v1/exchangeInfo",
    symbols_parameters={},
    symbols_weight=1,
    turnovers_path="/fapi/v1/ticker/24hr",
    turnovers_weight=40,
)


class BinanceUsdm(Binance):
    """USD-M futures; quantities are in the base asset.

    Diffs and tickers come by the path `/public`; on another one a subscription is acknowledged and silent for ever.
    """

    name: str = "binance-usdm"
    rest_url: str = "https://fapi.binance.com"
    stream_url: str = "wss://fstream.binance.com"
    limits: Limits = Limits(weight=2400, attempts=60, messages=10, streams=1024)
    dialect: ClassVar[Dialect] = USDM
    stream_path: ClassVar[str] = "/public/stream"
    rest_endings: ClassVar[str] = r"/fapi(/v\d+)?"
    stream_endings: ClassVar[str] = r"/((public|market|private)/)?(ws|stream)|/(public|market|private)"
