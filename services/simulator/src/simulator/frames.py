"""What travels on a stream: frames, and the events they carry, rendered as the exchange renders them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Level = tuple[str, str]
LARGEST_JUMP = 4
"""Futures: how far behind the end of the diff before it a diff's `U` may lie; the ids between are of other symbols."""


def _unharmed(text: bytes) -> bytes:
    return text


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "bad_json": lambda text: text[:-1] + b",,}",
    "truncated": lambda text: text[: len(text) // 2],
    "invalid_utf8": lambda text: text.replace(b'":"', b'":"\xff\xfe', 1),
    "binary": _unharmed,
    "fragmented": _unharmed,
}
"""What happens to the finished text of a frame; the last two change only how it is framed."""


@dataclass(slots=True, eq=False)
class Frame:
    """One event of one stream, rendered when first asked for; shared by every connection that is sent it.

    `kind` is `depth`, `partial`, `bookTicker`, `trade`, `serverShutdown`, or another that a recording holds. `first_id`
    and `last_id` are the event's `U` and `u` (equal where it has one id, 0 where it has none); `time_us` is its event
    time in microseconds. `damage` names what happens to its bytes on the wire (see `DAMAGE`). `server` is the stream
    server whose connections are sent it, None where all are.
    """

    stream: str
    symbol: str
    kind: str
    time_us: int
    first_id: int
    last_id: int
    render: Callable[[], bytes]
    damage: str = ""
    server: int | None = None
    _payload: bytes = field(default=b"", repr=False)

    @property
    def payload(self) -> bytes:
        """The event as JSON, times in milliseconds."""
        if not self._payload:
            self._payload = self.render()
        return self._payload

    def payload_in(self, *, microseconds: bool) -> bytes:
        """The event as JSON with times in the unit the connection asked for."""
        if not microseconds:
            return self.payload
        payload = self.payload
        for key in (b'"E":', b'"T":'):
            payload = payload.replace(key + b"%d" % (self.time_us // 1000), key + b"%d" % self.time_us, 1)
        return payload

    def on_wire(self, *, combined: bool, microseconds: bool = False) -> bytes:
        """The text of the websocket frame, damaged or not, wrapped with the stream's name on a combined connection."""
        payload = self.payload_in(microseconds=microseconds)
        text = b'{"stream":"%b","data":%b}' % (self.stream.encode(), payload) if combined else payload
        return DAMAGE[self.damage](text) if self.damage else text

    def event(self) -> dict[str, Any]:
        """The decoded payload, to be changed at will."""
        event: dict[str, Any] = orjson.loads(self.payload)
        return event

    def replaced(self, event: dict[str, Any] | bytes, *, damage: str = "", time_us: int | None = None) -> "Frame":
        """A frame like this one with another payload."""
        payload = event if isinstance(event, bytes) else orjson.dumps(event)
        return Frame(
            self.stream,
            self.symbol,
            self.kind,
            self.time_us if time_us is None else time_us,
            self.first_id,
            self.last_id,
            lambda: payload,
            damage,
            self.server,
        )


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The end of a connection: a close code and reason, or, without a code, a TCP reset."""

    code: int | None
    reason: str = ""
    every_connection: bool = True


@dataclass(frozen=True, slots=True)
class Book:
    """A whole order book at one update id: `[price, quantity]` as the exchange writes them, best first."""

    symbol: str
    update_id: int
    bids: Sequence[Level]
    asks: Sequence[Level]

    def snapshot(self, limit: int, id_shift: int = 0, times: bytes = b"") -> bytes:
        """The body of a depth request; `times` are the fields that a venue puts behind the id."""
        return b'{"lastUpdateId":%d,%b"bids":%b,"asks":%b}' % (
            self.update_id - id_shift,
            times,
            levels_json(self.bids[:limit]),
            levels_json(self.asks[:limit]),
        )


def levels_json(levels: Sequence[Level]) -> bytes:
    """`[["price","quantity"],...]`."""
    return orjson.dumps(levels)


def depth_update(
    symbol: str, time_us: int, ids: tuple[int, int], bids: Sequence[Level], asks: Sequence[Level]
) -> bytes:
    """The payload of `<symbol>@depth`."""
    return b'{"e":"depthUpdate","E":%d,"s":"%b","U":%d,"u":%d,"b":%b,"a":%b}' % (
        time_us // 1000,
        symbol.encode(),
        *ids,
        levels_json(bids),
        levels_json(asks),
    )


def futures_depth_update(
    symbol: str, time_us: int, ids: tuple[int, int], bids: Sequence[Level], asks: Sequence[Level]
) -> bytes:
    """As `depth_update` for futures: `pu` is where the diff before it ended, and `U` lies somewhere behind that."""
    first_id, last_id = ids
    return b'{"e":"depthUpdate","E":%d,"T":%d,"s":"%b","U":%d,"u":%d,"pu":%d,"b":%b,"a":%b}' % (
        time_us // 1000,
        time_us // 1000,
        symbol.encode(),
        min(first_id + first_id % LARGEST_JUMP, last_id),
        last_id,
        first_id - 1,
        levels_json(bids),
        levels_json(asks),
    )


def book_ticker(symbol: str, _time_us: int, update_id: int, bid: Level, ask: Level) -> bytes:
    """The payload of `<symbol>@bookTicker`."""
    text = '{"u":%d,"s":"%s","b":"%s","B":"%s","a":"%s","A":"%s"}'
    return (text % (update_id, symbol, *bid, *ask)).encode()


def futures_book_ticker(symbol: str, time_us: int, update_id: int, bid: Level, ask: Level) -> bytes:
    """As `book_ticker` for futures, which tell the time."""
    text = '{"e":"bookTicker","u":%d,"s":"%s","b":"%s","B":"%s","a":"%s","A":"%s","T":%d,"E":%d}'
    milliseconds = time_us // 1000
    return (text % (update_id, symbol, *bid, *ask, milliseconds, milliseconds)).encode()


def trade_event(symbol: str, time_us: int, number: int, level: Level, *, buyer_is_maker: bool) -> bytes:
    """The payload of `<symbol>@trade`."""
    milliseconds = time_us // 1000
    text = '{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}'
    maker = "true" if buyer_is_maker else "false"
    return (text % (milliseconds, symbol, number, *level, milliseconds, maker)).encode()


def futures_trade_event(symbol: str, time_us: int, number: int, level: Level, *, buyer_is_maker: bool) -> bytes:
    """As `trade_event` for futures."""
    milliseconds = time_us // 1000
    text = '{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,"p":"%s","q":"%s","X":"MARKET","m":%s}'
    maker = "true" if buyer_is_maker else "false"
    return (text % (milliseconds, milliseconds, symbol, number, *level, maker)).encode()


def futures_snapshot_times(time_us: int) -> bytes:
    """When a futures snapshot was sent and when it was taken."""
    return b'"E":%d,"T":%d,' % (time_us // 1000, time_us // 1000)


def shutdown_frame(time_us: int) -> Frame:
    """The event that announces that this server is about to go."""
    payload = b'{"e":"serverShutdown","E":%d}' % (time_us // 1000)
    return Frame("!serverShutdown", "", "serverShutdown", time_us, 0, 0, lambda: payload)
