"""How Binance writes, spot and USD-M futures, by its documents and apart from the code that reads it."""

import json

import orjson

from crawler.venues.binance.venue import Binance
from crawler.venues.binance_usdm.venue import BinanceUsdm


class BinanceWire:
    venue = Binance()
    symbol = "BTCUSDT"
    symbols_path = "/api/v3/exchangeInfo"

    def next_id(self, before, changes):
        return before + changes

    def diff(self, before, last, time_us, bids, asks, *, best, symbol="BTCUSDT"):
        return self._event(symbol, "depth@100ms", e="depthUpdate", E=time_us, s=symbol,
                           U=before + 1, u=last, b=bids, a=asks)  # fmt: skip

    def snapshot(self, update_id, bids, asks):
        return _text(lastUpdateId=update_id, bids=bids, asks=asks)

    def ticker(self, update_id, bid, ask):
        return self._event(self.symbol, "bookTicker", u=update_id, s=self.symbol,
                           b=bid[0], B=bid[1], a=ask[0], A=ask[1])  # fmt: skip

    def reply(self, request_id, refused=None):
        if refused:
            return _text(error={"code": 2, "msg": refused}, id=request_id)
        return _text(result=None, id=request_id)

    def shutdown(self):
        return _text(stream="!serverShutdown", data={"e": "serverShutdown", "E": 1789000000123})

    def symbols(self, trading, halted):
        listed = [{"symbol": trading, "status": "TRADING"}, {"symbol": halted, "status": "BREAK"}]
        return _text(serverTime=1789000000123, rateLimits=[], symbols=listed)

    def read(self, line):
        """Read a line of a recording: a diff, a snapshot, a ticker as a tuple that begins with its kind, or None."""
        frame = orjson.loads(line)
        if "lastUpdateId" in frame:
            return "snapshot", frame["lastUpdateId"], frame["bids"], frame["asks"]
        data, kind = frame["data"], frame["stream"].split("@")[1]
        if kind == "depth":
            return "diff", self.first_id(data), data["u"], data["b"], data["a"]
        if kind == "bookTicker":
            return "ticker", data["u"], (data["b"], data["B"]), (data["a"], data["A"])
        return None

    def first_id(self, data):
        return data["U"]

    def _event(self, symbol, kind, **data):
        return _text(stream=f"{symbol.lower()}@{kind}", data=data)


class BinanceUsdmWire(BinanceWire):
    venue = BinanceUsdm()
    symbols_path = "/fapi/v1/exchangeInfo"

    def next_id(self, before, changes):
        return before + 977 * changes

    def diff(self, before, last, time_us, bids, asks, *, best, symbol="BTCUSDT"):
        milliseconds = time_us // 1000
        return self._event(symbol, "depth@100ms", e="depthUpdate", E=milliseconds, T=milliseconds - 1, s=symbol,
                           U=before + 44, u=last, pu=before, b=bids, a=asks)  # fmt: skip

    def snapshot(self, update_id, bids, asks):
        return _text(lastUpdateId=update_id, E=1789000000123, T=1789000000120, bids=bids, asks=asks)

    def ticker(self, update_id, bid, ask):
        return self._event(self.symbol, "bookTicker", e="bookTicker", u=update_id, s=self.symbol,
                           b=bid[0], B=bid[1], a=ask[0], A=ask[1], T=1789000000120, E=1789000000123)  # fmt: skip

    def first_id(self, data):
        return data["pu"] + 1


def _text(**fields):
    return json.dumps(fields, separators=(",", ":")).encode()
