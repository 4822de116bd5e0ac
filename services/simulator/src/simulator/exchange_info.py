"""What `exchangeInfo` tells of a symbol, one function a venue."""

from simulator.instruments import Instrument

MOST = "92141578.00000000"
HIGHEST_PRICE = "1000000.00000000"
"""The highest price that an order may have."""
NEVER_MS = 4_133_404_800_000
"""When a perpetual contract is delivered, as the exchange writes it: in the year 2100."""


def spot_symbol(instrument: Instrument, *, with_sets: bool) -> dict[str, object]:
    """An entry of `/api/v3/exchangeInfo`, permission sets included or not."""
    info: dict[str, object] = {
        "symbol": instrument.symbol,
        "status": instrument.status,
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            *_filters(instrument),
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
             "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
        ],
        "permissions": [],
    }  # fmt: skip
    return info | ({"permissionSets": [["SPOT"]]} if with_sets else {})


def futures_symbol(instrument: Instrument, *, with_sets: bool) -> dict[str, object]:
    """An entry of `/fapi/v1/exchangeInfo`, a perpetual contract; futures know no permission sets."""
    del with_sets
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_MS,
        "status": instrument.status,
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": 8,
        "quantityPrecision": 8,
        "filters": [*_filters(instrument), {"filterType": "MIN_NOTIONAL", "notional": "5"}],
        "orderTypes": ["LIMIT", "MARKET"],
    }


def _filters(instrument: Instrument) -> list[dict[str, object]]:
    tick, step = instrument.price_text(1), instrument.quantity_text(1)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": HIGHEST_PRICE, "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": MOST, "stepSize": step},
    ]
