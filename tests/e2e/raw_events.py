"""Events as any program may write them, by the numbers that are in them; `fields` replace or add."""

import json

START = 1_700_000_000_000_000
"""Microseconds since the epoch."""


def book(number, symbol="SOLUSDT", **fields):
    levels = [[f"{100 + level / 100:.2f}", "1.5000"] for level in range(20)]
    event = {
        "type": "book", "venue": "binance", "symbol": symbol, "first_update_id": number, "update_id": number,
        "event_time": START + number, "previous_event_time": START + number - 1, "received_time": START + number,
        "crawler": "raw", "bids": [["99.99", "2.0000"]], "asks": levels, "floor": None, "ceiling": None,
    }  # fmt: skip
    return json.dumps(event | fields).encode()


def price(number, symbol="ADAUSDT", **fields):
    values = ("bid", "ask", "bid_size", "ask_size", "spread", "spread_bps", "imbalance", "mid", "weighted_mid")
    event = {
        "type": "price", "venue": "binance", "symbol": symbol, "first_update_id": number, "update_id": number,
        "event_time": START + number, "received_time": START + number, "priced_time": START + number + 5,
        "estimator": "mid", "status": "ok", "price": 1.5, "impact_mid": None, **dict.fromkeys(values, 2.5),
    }  # fmt: skip
    return json.dumps(event | fields).encode()
