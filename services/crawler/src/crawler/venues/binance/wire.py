"""Binance's wire format: text in, market data out.

Source: web-socket-streams.md and rest-api.md of the official API documents. Event times arrive in milliseconds, or in
microseconds on connections opened with `timeUnit=MICROSECOND`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from crawler.book.market_data import Diff, Snapshot, Top
from fairprice.errors import InvalidMarketData
from fairprice.messages import are_levels

MICROSECONDS_FROM = 10**14
"""Event times from here on are microseconds already; as milliseconds they would lie beyond the year 5000."""

ID_LIMIT = 1 << 63
"""Ids and times below it fit where they are stored."""

_LEVELS = rb'\[(?:\["[0-9]{1,40}+\.[0-9]{1,40}+","[0-9]{1,40}+\.[0-9]{1,40}+"\],?+)*+\]'
_PLAIN_DIFF = re.compile(rb'\{"stream":[^{}]*\{[^{}\[]*"b":' + _LEVELS + rb',"a":' + _LEVELS + rb"\}\}")
"""JSON with two objects, of which the inner one ends with both sides in plain decimals: how the exchange writes it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a control message; `error` is None for success."""

    id: object
    error: str | None


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server is about to go: a new connection should be opened at once."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed event that is of no use here."""

    stream: str


Frame = Diff | Reply | Shutdown | Unknown


class FrameDecoder:
    """Decodes the frames of combined streams.

    Every price and quantity has to be a plain decimal string. Checking each of some seventy in a frame would cost more
    than all the rest, so the text of the frame is compared with the usual one as a whole; only a frame that is written
    in another way is checked string by string.
    """

    def __init__(self) -> None:
        self._symbols: dict[str, str] = {}

    def decode(self, frame: bytes) -> Frame:
        """Return what a text frame says; raises `InvalidMarketData` that names what is wrong with it."""
        try:
            envelope = orjson.loads(frame)
            if "stream" not in envelope:
                return _control(envelope)
            data = envelope["data"]
            if data.get("e") == "depthUpdate":
                return self._diff(frame, envelope["stream"], data)
        except orjson.JSONDecodeError as error:
            raise InvalidMarketData(f"not JSON: {error}") from error
        except KeyError as error:
            raise InvalidMarketData(f"field {error.args[0]!r} is missing") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidMarketData(f"not as documented: {error}") from error
        return Shutdown() if data.get("e") == "serverShutdown" else Unknown(str(envelope["stream"]))

    def _diff(self, frame: bytes, stream: str, data: dict[str, Any]) -> Diff:
        symbol, first, last, time = data["s"], data["U"], data["u"], data["E"]
        bids, asks = data["b"], data["a"]
        are_integers = type(first) is type(last) is type(time) is int
        if not are_integers or not (0 <= first <= last < ID_LIMIT and 0 < time < ID_LIMIT):
            raise ValueError(f"ids or time out of range: U={first!r:.30} u={last!r:.30} E={time!r:.30}")
        if self._symbols.get(stream) != symbol:
            self._symbols[stream] = _symbol_of(stream, symbol)
        if not _PLAIN_DIFF.fullmatch(frame):
            _require_levels(bids, asks)
        return Diff(symbol, first, last, time if time >= MICROSECONDS_FROM else time * 1000, bids, asks)


def decode_ticker(frame: bytes) -> Top:
    """Return the best bid and ask of a `bookTicker` frame; raises `InvalidMarketData`."""
    try:
        data = orjson.loads(frame)["data"]
        bid, ask = [data["b"], data["B"]], [data["a"], data["A"]]
        _require_levels([bid, ask])
        return Top(bid, ask)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidMarketData(f"no bookTicker: {error}") from error


def ticker_update_id(frame: bytes) -> int:
    """Return the update id of a `bookTicker` frame without decoding the rest; raises `InvalidMarketData`."""
    start = frame.find(b'"u":') + 4
    digits = frame[start : frame.find(b",", start)]
    if start < 4 or not digits.isdigit():
        raise InvalidMarketData(f"no bookTicker: {frame[:200]!r}")
    return int(digits)


def decode_snapshot(body: bytes, limit: int) -> Snapshot:
    """Return the snapshot in a `depth` reply to a request for `limit` levels; raises `InvalidMarketData`."""
    try:
        data = orjson.loads(body)
        update_id, bids, asks = data["lastUpdateId"], data["bids"], data["asks"]
        _require_levels(bids, asks)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidMarketData(f"no depth snapshot: {error}") from error
    if type(update_id) is not int or not 0 <= update_id < ID_LIMIT:
        raise InvalidMarketData(f"depth snapshot with lastUpdateId {update_id!r:.30}")
    if bids and asks and float(bids[0][0]) >= float(asks[0][0]):
        raise InvalidMarketData(f"depth snapshot is crossed: bid {bids[0][0]}, ask {asks[0][0]}")
    return Snapshot("", update_id, bids, asks, len(bids) < limit, len(asks) < limit)


def _require_levels(*sides: object) -> None:
    for side in sides:
        if not are_levels(side):
            raise ValueError(f"levels have to be [price, quantity] pairs in decimal strings, not {side!r:.80}")


def _symbol_of(stream: str, symbol: str) -> str:
    if stream.partition("@")[0] != symbol.lower():
        raise ValueError(f"stream {stream!r:.80} carries symbol {symbol!r:.80}")
    return symbol


def _control(reply: Mapping[str, Any]) -> Reply | Unknown:
    """Read the answer to a control message; errors come bare or nested, the documents and the exchange disagree."""
    error = reply.get("error", reply if "code" in reply else None)
    if error is None and "result" not in reply:
        return Unknown(f"{reply!r:.80}")
    return Reply(reply.get("id"), None if error is None else f"{error!r:.200}")
