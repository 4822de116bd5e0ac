"""How the exchange of the tests' venue writes, made apart from the venue that reads it."""

import json
from zlib import crc32

from toy.venue import Toy


class ToyWire:
    venue = Toy()
    symbol = "BTC-USD"
    symbols_path = "/pairs"

    def next_id(self, before, changes):
        return before + 1

    def diff(self, before, last, time_us, bids, asks, *, best, symbol="BTC-USD"):
        proven = [[list(level) for level in side[:10]] for side in reversed(best)]
        crc = crc32(json.dumps(proven, separators=(",", ":")).encode())
        return self._text(kind="change", pair=symbol, n=last, at=time_us // 1000, buy=bids, sell=asks, crc=crc)

    def snapshot(self, update_id, bids, asks):
        return self._text(kind="full", pair=self.symbol, n=update_id, buy=bids, sell=asks)

    def ticker(self, update_id, bid, ask):
        return self._text(kind="best", pair=self.symbol, n=update_id, buy=bid, sell=ask)

    def reply(self, request_id, refused=None):
        return self._text(re=request_id, **({"refused": refused} if refused else {}))

    def shutdown(self):
        return self._text(kind="bye")

    def symbols(self, trading, halted):
        return self._text(**{trading: "open", halted: "closed"})

    def _text(self, **fields):
        return json.dumps(fields, separators=(",", ":")).encode()
