"""Keeps order books in provable sync with Binance and publishes one book for each diff.

`order_book` and `depth_sync` are pure: they do no I/O and read no clock. `binance` speaks the exchange's protocol,
`app` connects the two, `capture` records.
"""
