"""Binance's wire format: text in, market data out.

Source: web-socket-streams.md and rest-api.md of the official API documents. Event times arrive in milliseconds, or in
microseconds on connections opened with `timeUnit=MICROSECOND`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from crawler.book.market_data import Diff, Snapshot, Ticker, Top
from crawler.venues.binance.dialect import Dialect
from crawler.venues.port import DiffHead, Event, Reply, Shutdown
from fairprice.errors import InvalidMarketData
from fairprice.messages import Level, are_levels

MICROSECONDS_FROM = 10**14
"""Event times from here on are microseconds already; as milliseconds they would lie beyond the year 5000."""

ID_LIMIT = 1 << 63
"""Ids and times below it fit where they are stored."""

DAY = 86_400_000_000
"""Microseconds: an event time that is farther from the one before it is doubted."""

_START = b'{"stream":"'
_NAME_START = len(_START)
_ID = b'"u":'
_ID_DIGITS = 19
"""Room for the digits of an id and the comma behind it; a longer one is left to `decode`."""

_LEVELS = rb'\[(?:\["[0-9]{1,40}+\.[0-9]{1,40}+","[0-9]{1,40}+\.[0-9]{1,40}+"\],?+)*+\]'
_PLAIN_DIFF = re.compile(rb'\{"stream":[^{}]*\{[^{}\[]*"b":' + _LEVELS + rb',"a":' + _LEVELS + rb"\}\}")
"""JSON with two objects, of which the inner one ends with both sides in plain decimals: how the exchange writes it."""

_PLAIN_TICKER = re.compile(
    rb'"b":"([0-9]{1,40}\.[0-9]{1,40})","B":"([0-9]{1,40}\.[0-9]{1,40})"'
    rb',"a":"([0-9]{1,40}\.[0-9]{1,40})","A":"([0-9]{1,40}\.[0-9]{1,40})"'
)
"""The four values of a ticker in plain decimals, in the order in which the exchange writes them."""

_new = tuple.__new__


class BinanceDecoder:
    """Decodes the frames of combined streams.

    Every price and quantity has to be a plain decimal string. Checking each of some seventy in a frame would cost more
    than all the rest, so one pattern proves it of a frame as a whole; only one that is written otherwise is checked
    string by string.
    """

    def __init__(self, symbols: Iterable[str], dialect: Dialect) -> None:
        self._foreign_fields = dialect.foreign_fields
        self._first_id_field = dialect.first_id_field
        self._first_id_offset = dialect.first_id_offset
        self._symbols = {symbol.lower(): symbol for symbol in symbols}
        self._diff_streams: dict[str, str] = {}
        self._starts: dict[bytes, tuple[str, Callable[[bytes], Top] | None]] = {
            _START + f"{name}@bookTicker".encode(): (symbol, read_ticker) for name, symbol in self._symbols.items()
        }
        self._event_time = 0
        self._doubted_time = -DAY

    def peek(self, frame: bytes) -> DiffHead | Ticker | None:
        """See `Decoder.peek`. Called for each frame of each connection, so it makes as little as it can."""
        known = self._starts.get(frame[: frame.find(b'"', _NAME_START)])
        if known is None:
            return None
        start = frame.find(_ID, _NAME_START) + 4
        end = frame.find(b",", start, start + _ID_DIGITS)
        digits = frame[start:end]
        if end < 0 or not digits.isdigit():
            return None
        symbol, read = known
        if read is None:
            return _new(DiffHead, (symbol, int(digits)))
        return _new(Ticker, (symbol, int(digits), frame, read, False))

    def decode(self, frame: bytes) -> Event | None:
        """See `Decoder.decode`."""
        try:
            envelope = orjson.loads(frame)
        except orjson.JSONDecodeError as error:
            raise InvalidMarketData(f"not JSON: {error}", self._symbol_at_a_glance(frame)) from error
        if type(envelope) is not dict:
            raise InvalidMarketData(f"not as documented: {frame[:80]!r}")
        if "stream" not in envelope:
            return _control(envelope)
        stream = envelope["stream"]
        if type(stream) is not str:
            raise InvalidMarketData(f"not as documented: stream {stream!r:.80}")
        data = envelope.get("data")
        if type(data) is not dict:
            what = "not as documented: data" if "data" in envelope else "field 'data' is missing:"
            raise InvalidMarketData(f"{what} {data!r:.80}", self._symbol_of(stream))
        kind = data.get("e")
        if kind == "depthUpdate":
            return self._diff(frame, stream, data)
        if kind == "serverShutdown":
            return Shutdown()
        if stream in self._diff_streams:
            raise InvalidMarketData(f"stream {stream!r:.80} carries event {kind!r:.80}", self._symbol_of(stream))
        if stream.endswith("@bookTicker"):
            return self._ticker(frame, stream, data)
        return _control(data)  # the documents do not say whether a reply may come wrapped like an event

    def _diff(self, frame: bytes, stream: str, data: dict[str, Any]) -> Diff | None:
        expected = self._diff_streams.get(stream) or self._learn(stream, data)
        if expected is None:
            return None
        try:
            symbol, before, last, time = data["s"], data[self._first_id_field], data["u"], data["E"]
            bids, asks = data["b"], data["a"]
        except KeyError as error:
            raise InvalidMarketData(f"field {error.args[0]!r} is missing", expected) from error
        if symbol != expected:
            raise InvalidMarketData(f"stream {stream!r:.80} carries symbol {symbol!r:.80}", expected)
        if not (type(before) is type(last) is type(time) is int):
            raise self._out_of_range(before, last, time, expected)
        first = before + self._first_id_offset
        if not (0 <= first <= last < ID_LIMIT and 0 < time < ID_LIMIT):
            raise self._out_of_range(before, last, time, expected)
        if not _PLAIN_DIFF.fullmatch(frame):
            _require_levels(expected, bids, asks)
        event_time = time if time >= MICROSECONDS_FROM else time * 1000
        if not -DAY < event_time - self._event_time < DAY:
            self._doubt(event_time, expected)
        self._event_time = event_time
        self._doubted_time = -DAY
        return _new(Diff, (expected, first, last, event_time, bids, asks, None))

    def _out_of_range(self, first: object, last: object, time: object, symbol: str) -> InvalidMarketData:
        text = f"{self._first_id_field}={first!r:.30} u={last!r:.30} E={time!r:.30}"
        return InvalidMarketData(f"ids or time out of range: {text}", symbol)

    def _ticker(self, frame: bytes, stream: str, data: dict[str, Any]) -> Ticker | None:
        symbol = self._symbol_of(stream)
        if symbol is None:
            return None
        update_id = data.get("u")
        if data.get("s") != symbol or type(update_id) is not int or not 0 <= update_id < ID_LIMIT:
            raise InvalidMarketData(f"no bookTicker of {symbol}: {frame[:200]!r}", symbol)
        return Ticker(symbol, update_id, frame, read_ticker)

    def _learn(self, stream: str, data: dict[str, Any]) -> str | None:
        """Return whose diffs a stream carries, None for one that was not asked for; refuse one of another market."""
        symbol = self._symbol_of(stream)
        if symbol is None or stream.split("@")[1] != "depth":
            return None
        for field, why in self._foreign_fields.items():
            if field in data:
                raise InvalidMarketData(f"a diff with {field!r} {why}", symbol)
        self._diff_streams[stream] = symbol
        self._starts[_START + stream.encode()] = symbol, None
        return symbol

    def _symbol_of(self, stream: str) -> str | None:
        return self._symbols.get(stream.partition("@")[0])

    def _symbol_at_a_glance(self, frame: bytes) -> str | None:
        name = frame[_NAME_START : frame.find(b'"', _NAME_START)]
        return self._symbol_of(name.decode(errors="replace"))

    def _doubt(self, event_time: int, symbol: str) -> None:
        """Refuse an event time that is a day from the last one, unless the one before it was there, too.

        Relative, since the clock of this machine says nothing about a recording; a single time is a slip, two are where
        the exchange, or the next recording, now is. Twice the same is one, by two connections.
        """
        before, self._doubted_time = self._doubted_time, event_time
        if self._event_time and not 0 < event_time - before < DAY:
            raise InvalidMarketData(f"its event time {event_time} is more than a day from the one before it", symbol)


def read_ticker(frame: bytes) -> Top:
    """Return the best bid and ask of a `bookTicker` frame; raises `InvalidMarketData`."""
    if plain := _PLAIN_TICKER.search(frame):
        bid, bid_size, ask, ask_size = map(bytes.decode, plain.groups())
        return Top(_level([bid, bid_size]), _level([ask, ask_size]))
    try:
        data = orjson.loads(frame)["data"]
        bid_level, ask_level = [data["b"], data["B"]], [data["a"], data["A"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidMarketData(f"no bookTicker: {error!r}") from error
    if not are_levels([bid_level, ask_level]):
        raise InvalidMarketData(f"no bookTicker: levels {[bid_level, ask_level]!r:.200}")
    return Top(_level(bid_level), _level(ask_level))


def decode_snapshot(body: bytes, symbol: str) -> Snapshot:
    """Return the snapshot in a `depth` reply, no side of it known to be complete; raises `InvalidMarketData`."""
    try:
        data = orjson.loads(body)
        update_id, bids, asks = data["lastUpdateId"], data["bids"], data["asks"]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidMarketData(f"no depth snapshot: {error!r:.200}", symbol) from error
    if type(update_id) is not int or not 0 <= update_id < ID_LIMIT:
        raise InvalidMarketData(f"depth snapshot with lastUpdateId {update_id!r:.30}", symbol)
    _require_levels(symbol, bids, asks)
    if bids and asks and float(bids[0][0]) >= float(asks[0][0]):
        raise InvalidMarketData(f"depth snapshot is crossed: bid {bids[0][0]}, ask {asks[0][0]}", symbol)
    return Snapshot(symbol, update_id, bids, asks, bids_complete=False, asks_complete=False)


def _level(level: Level) -> Level | None:
    """Return the level, None for the zeros that stand for an empty side."""
    return level if float(level[0]) else None


def _require_levels(symbol: str, *sides: object) -> None:
    for side in sides:
        if not are_levels(side):
            raise InvalidMarketData(
                f"not as documented: levels have to be [price, quantity] pairs in decimal strings, not {side!r:.80}",
                symbol,
            )


def _control(reply: Mapping[str, Any]) -> Reply | None:
    """Read the answer to a control message; errors come bare or nested, the documents and the exchange disagree."""
    error = reply.get("error", reply if "code" in reply else None)
    if error is None and "result" not in reply:
        return None
    return Reply(reply.get("id"), None if error is None else f"{error!r:.200}")
