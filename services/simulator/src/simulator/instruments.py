"""The catalogue of symbols: what a symbol is called, how it is quoted and how it moves."""

import zlib
from dataclasses import dataclass
from functools import lru_cache

UNIT = 10**8
"""Prices and quantities are written with eight decimals: one unit in the last place is 1 / UNIT."""

QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol. `tick` and `step` are in 1e-8, the price in ticks, volatility relative per square-root second."""

    symbol: str
    base: str
    quote: str
    price: int
    tick: int
    step: int
    touch_size: int
    """Typical quantity at the best price, in steps."""
    depth_exponent: float
    """The level of rank r lies about r ** depth_exponent ticks behind the best price."""
    levels: int = 7000
    volatility: float = 0.00014
    changes_per_second: float = 400.0
    silence_s: float = 0.0
    """Mean length of the silences between bursts of activity; 0: never silent."""
    status: str = "TRADING"

    def price_text(self, ticks: int) -> str:
        """The price as the exchange writes it: eight decimals."""
        return _decimal(ticks * self.tick)

    def quantity_text(self, steps: int) -> str:
        """The quantity as the exchange writes it: eight decimals."""
        return _decimal(steps * self.step)


@lru_cache(maxsize=1 << 14)  # the same prices and sizes come again and again
def _decimal(units: int) -> str:
    whole, rest = divmod(units, UNIT)
    return f"{whole}.{rest:08d}"


CATALOGUE = {
    instrument.symbol: instrument
    for instrument in (
        Instrument("BTCUSDT", "BTC", "USDT", 6_000_000, 1_000_000, 1_000, 150_000, 1.43),
        Instrument("ETHUSDT", "ETH", "USDT", 250_000, 1_000_000, 10_000, 150_000, 1.02, changes_per_second=300.0),
        Instrument("SOLUSDT", "SOL", "USDT", 150_000, 100_000, 100_000, 80_000, 1.0, changes_per_second=250.0),
        Instrument("BNBUSDT", "BNB", "USDT", 60_000, 1_000_000, 100_000, 8_000, 1.0, changes_per_second=150.0),
        Instrument(
            "DUSTUSDT", "DUST", "USDT", 31_400, 10_000, 10_000_000, 500, 1.0, changes_per_second=20.0, silence_s=90.0
        ),
        Instrument("币安人生USDT", "币安人生", "USDT", 123_450, 100, 100_000_000, 9_000, 1.0, changes_per_second=60.0),
        Instrument("HALTUSDT", "HALT", "USDT", 88_000, 10_000, 1_000_000, 4_000, 1.0, status="BREAK"),
    )
}


def instrument_of(symbol: str) -> Instrument:
    """The catalogue's entry, or plausible parameters derived from the name, the same at each call."""
    if symbol in CATALOGUE:
        return CATALOGUE[symbol]
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote), "USDT")
    seed = zlib.crc32(symbol.encode())
    digits = 20_000 + seed % 80_000
    tick = 10 ** (2 + seed // 7 % 5)
    step = 10 ** (3 + seed // 11 % 4)
    return Instrument(
        symbol,
        symbol.removesuffix(quote) or symbol,
        quote,
        price=digits,
        tick=tick,
        step=step,
        touch_size=2_000 + seed % 50_000,
        depth_exponent=1.0,
        levels=6500,
        changes_per_second=60.0 + seed % 120,
    )
