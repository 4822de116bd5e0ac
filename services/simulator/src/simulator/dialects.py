"""What differs between the venues that this exchange can be: a row each, everything else is common to them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from simulator import frames
from simulator.exchange_info import futures_symbol, spot_symbol
from simulator.frames import Level
from simulator.instruments import Instrument
from simulator.knobs import Knobs


class SymbolInfo(Protocol):
    """Writes a symbol's entry in `exchangeInfo`."""

    def __call__(self, instrument: Instrument, *, with_sets: bool) -> dict[str, object]:
        """The entry."""


class TradeEvent(Protocol):
    """Writes a trade."""

    def __call__(self, symbol: str, time_us: int, number: int, level: Level, *, buyer_is_maker: bool) -> bytes:
        """The payload of `<symbol>@trade`."""


DepthUpdate = Callable[[str, int, tuple[int, int], list[Level], list[Level]], bytes]
BookTicker = Callable[[str, int, int, Level, Level], bytes]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a venue is spoken to, and how it speaks.

    `rest` begins REST's paths. `doors` are what may stand before `/ws` and `/stream`, each with whether depth and
    tickers are sent there; on the others a subscription is acknowledged and silent for ever. `depth_weights` are
    limit and weight, in order; `depth_limits` the only limits there are, none where any number is taken and cut.
    `has_filters`: `exchangeInfo` can be asked for a part of it. `halted` is the status of a symbol that does not trade.
    """

    name: str
    rest: str
    doors: Mapping[str, bool]
    depth_weights: tuple[tuple[int, int], ...]
    depth_limits: tuple[int, ...]
    default_depth: int
    info_weight: int
    turnovers_weight: int
    has_filters: bool
    statuses: tuple[str, ...]
    halted: str
    rate_limits: tuple[tuple[str, str, int, int], ...]
    knobs: Knobs
    symbol_info: SymbolInfo
    depth_update: DepthUpdate
    book_ticker: BookTicker
    trade_event: TradeEvent
    snapshot_times: Callable[[int], bytes]

    @property
    def deepest(self) -> int:
        """The most levels a side in a snapshot."""
        return self.depth_weights[-1][0]

    def depth_weight(self, limit: str) -> int:
        """What a depth request costs."""
        wanted = min(int(limit), self.deepest) if re.fullmatch(r"[0-9]{1,20}", limit) else self.default_depth
        return next(weight for most, weight in self.depth_weights if wanted <= most)


SPOT = Dialect(
    name="binance",
    rest="/api/v3",
    doors={"": True},
    depth_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    depth_limits=(),
    default_depth=100,
    info_weight=20,
    turnovers_weight=80,
    has_filters=True,
    statuses=("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"),
    halted="BREAK",
    rate_limits=(("ORDERS", "SECOND", 10, 100), ("ORDERS", "DAY", 1, 200_000)),
    knobs=Knobs(),
    symbol_info=spot_symbol,
    depth_update=frames.depth_update,
    book_ticker=frames.book_ticker,
    trade_event=frames.trade_event,
    snapshot_times=lambda _time_us: b"",
)

USDM = Dialect(
    name="binance-usdm",
    rest="/fapi/v1",
    doors={"": False, "/public": True, "/market": False},
    depth_weights=((50, 2), (100, 5), (500, 10), (1000, 20)),
    depth_limits=(5, 10, 20, 50, 100, 500, 1000),
    default_depth=500,
    info_weight=1,
    turnovers_weight=40,
    has_filters=False,
    statuses=("TRADING", "PENDING_TRADING", "PRE_SETTLE", "SETTLING", "CLOSE"),
    halted="SETTLING",
    rate_limits=(("ORDERS", "MINUTE", 1, 1200), ("ORDERS", "SECOND", 10, 300)),
    knobs=Knobs(ping_interval_s=180.0, pong_timeout_s=600.0, messages_per_second=10, weight_per_minute=2400),
    symbol_info=futures_symbol,
    depth_update=frames.futures_depth_update,
    book_ticker=frames.futures_book_ticker,
    trade_event=frames.futures_trade_event,
    snapshot_times=frames.futures_snapshot_times,
)

DIALECTS = {dialect.name: dialect for dialect in (SPOT, USDM)}
"""By the name of the venue."""
