"""Binance's protocol: wire format, REST, streams."""
