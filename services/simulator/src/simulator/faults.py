"""Faults as data: what can go wrong at the edge of the exchange, armed one by one and counted as they fire.

A fault alters what a client is sent, never the market's truth.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from simulator.frames import Frame

Scope = Literal["all", "one"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of fault does; its variants, the default first; defaults of `seconds`, `code` and `value`."""

    meaning: str
    variants: tuple[str, ...] = ("",)
    seconds: float = 0.0
    code: int = 0
    value: int = 0
    lasts: bool = False
    """Once fired, it goes on for `seconds` of exchange time and counts once."""


MALFORMED = (
    "bad_json", "truncated", "binary", "invalid_utf8", "number_for_string", "missing_first_id", "reversed_ids",
    "negative_quantity", "nan_quantity", "exponent_quantity", "unknown_key", "unknown_event", "huge", "wrong_symbol",
    "fragmented",
)  # fmt: skip

KINDS: Mapping[str, Kind] = {
    # depth events
    "drop": Kind("a depth event is not sent"),
    "duplicate": Kind("a depth event is sent twice"),
    "duplicate_older": Kind("a depth event is followed by one sent `value` events before it", value=3),
    "swap": Kind("two neighbouring depth events change places"),
    "overlap": Kind("a depth event repeats the ids and levels of the one before it"),
    "crossed": Kind("a depth event with right ids holds a bid above the best ask"),
    "id_reset": Kind("from a depth event on all ids of the symbol, snapshots' too, are lower by `value`", value=10**9),
    "clock": Kind("the event time of a depth event is off by `seconds` (negative: the past)", seconds=60.0),
    "malformed": Kind("a depth event is broken as `variant` says", variants=MALFORMED),
    # other events, connections
    "ticker_mismatch": Kind("a bookTicker shows prices that the book does not have at that id"),
    "silence": Kind("no data for `seconds`; socket open, pings go on", seconds=30.0, lasts=True),
    "stop_pings": Kind("no pings for `seconds`; data goes on", seconds=300.0, lasts=True),
    "disconnect": Kind("the connection ends with close code `code`, or by a TCP reset", ("close", "abort"), code=1001),
    "server_shutdown": Kind("serverShutdown is sent, `seconds` later the connection is closed with `code`",
                            seconds=5.0, code=1001),
    "refuse": Kind("handshakes are refused with HTTP status `code`; with `seconds` for as long, from the first on",
                   code=503, lasts=True),
    # replies to SUBSCRIBE and UNSUBSCRIBE
    "late_ack": Kind("a reply is sent `seconds` late", seconds=10.0),
    "no_ack": Kind("a reply is never sent"),
    "wrong_ack_id": Kind("a reply carries another id"),
    "double_ack": Kind("a reply is sent twice"),
    "error_ack": Kind("a request is answered with an error of `variant` shape", ("nested", "bare")),
    # snapshots
    "stale_snapshot": Kind("a snapshot is `seconds` old: older than what the client has buffered", seconds=8.0),
    "boundary_snapshot": Kind(
        "lastUpdateId is exactly: the end of the last event sent; F-1 or F (F: first id of the client's first event); "
        "inside the last event; newer than all sent", ("last_event", "before_first", "first", "inside", "newest")),
    "slow_snapshot": Kind("a snapshot takes `seconds`", seconds=10.0),
    "sparse_snapshot": Kind("a snapshot lacks what `variant` says", ("empty", "no_bids", "no_asks")),
    "fail_snapshot": Kind("a snapshot fails as `variant` says; `code` is the HTTP status of `status`",
                          ("status", "timeout", "reset", "truncated", "html", "451", "403"), code=500),
    "rate_limit": Kind("a snapshot is refused as over the limit; `seconds` is the wait asked for",
                       ("429", "429_without_retry_after", "418", "418_text_only"), seconds=5.0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to be armed: it skips `after` occasions, then fires on the next `count`.

    `symbol` None means any. With `scope` "all" each connection that carries the frame is hit at one firing, with "one"
    only the first. `variant`, `seconds`, `code` and `value` fall back on the kind's defaults (see `KINDS`).

    Raises:
        ValueError: a field is wrong; the message names it and what it may be.
    """

    kind: str
    symbol: str | None = None
    count: int = 1
    after: int = 0
    variant: str = ""
    seconds: float | None = None
    code: int | None = None
    value: int | None = None
    scope: Scope = "all"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not known; known kinds: {', '.join(KINDS)}")
        kind = KINDS[self.kind]
        if self.symbol is not None and not isinstance(self.symbol, str):
            raise ValueError(f"symbol: {self.symbol!r} is not a symbol's name or null")
        for name, least in (("count", 1), ("after", 0)):
            number = getattr(self, name)
            if type(number) is not int or number < least:
                raise ValueError(f"{name}: {number!r} is not an integer of at least {least}")
        if self.variant and self.variant not in kind.variants:
            raise ValueError(f"variant: {self.variant!r} is not one of {self.kind}: {', '.join(kind.variants)}")
        if self.scope not in ("all", "one"):
            raise ValueError(f"scope: {self.scope!r} is neither 'all' nor 'one'")
        for name, types in (("seconds", (int, float)), ("code", (int,)), ("value", (int,))):
            number = getattr(self, name)
            if number is None:
                object.__setattr__(self, name, getattr(kind, name))
            elif isinstance(number, bool) or not isinstance(number, types):
                raise ValueError(f"{name}: {number!r} is not a number")
        object.__setattr__(self, "variant", self.variant or kind.variants[0])

    @property
    def microseconds(self) -> int:
        """`seconds`, with the default filled in, in microseconds."""
        return int((self.seconds or 0.0) * 1e6)

    @property
    def number(self) -> int:
        """`value` with the default filled in."""
        return self.value or 0

    @property
    def status(self) -> int:
        """`code` with the default filled in."""
        return self.code or 0


def fault_from(document: object) -> Fault:
    """A fault from decoded JSON.

    Raises:
        ValueError: as `Fault`, or for a field that does not exist.
    """
    if not isinstance(document, dict) or "kind" not in document:
        raise ValueError(f"kind: is missing; a fault is an object with one of: {', '.join(KINDS)}")
    known = [item.name for item in fields(Fault)]
    if unknown := next((name for name in document if name not in known), None):
        raise ValueError(f"{unknown}: no such field; known fields: {', '.join(known)}")
    return Fault(**document)


@dataclass(slots=True)
class Armed:
    """A fault on the board and what has become of it."""

    number: int
    fault: Fault
    fired: int = 0
    skipped: int = 0
    until_us: int = 0
    frame: Frame | None = None
    owner: object = None

    @property
    def spent(self) -> bool:
        """Whether it will not fire again."""
        return self.fired >= self.fault.count


@dataclass
class Board:
    """All faults, armed and fired, and what clients have been sent, which some faults aim at.

    `id_shifts` is what `id_reset` takes off every id now, and took off before, the newest first; `first_sent` the first
    id of the event a client's buffer begins with; `last_sent` the ids of the event sent last; all by symbol.
    """

    armed: list[Armed] = field(default_factory=list)
    id_shifts: dict[str, list[int]] = field(default_factory=dict)
    first_sent: dict[str, int] = field(default_factory=dict)
    last_sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    _count: int = 0
    _reset_at: Frame | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing was ever armed, so that frames may take the short way."""
        return not self.armed and not self.id_shifts

    def inject(self, fault: Fault) -> int:
        """Arms a fault; returns its number on the board."""
        self._count += 1
        self.armed.append(Armed(self._count, fault))
        return self._count

    def clear(self) -> None:
        """Disarms everything; counters of what fired stay, and so do ids that were reset."""
        self.armed.clear()

    def reset_ids(self, frame: Frame, shift: int) -> None:
        """Lowers all ids of the frame's symbol from this frame on; once, however many connections carry the frame."""
        if self._reset_at is not frame:
            self._reset_at = frame
            shifts = self.id_shifts.setdefault(frame.symbol, [0])
            shifts.insert(0, shifts[0] + shift)

    def id_shift(self, symbol: str) -> int:
        """What is taken off every id of a symbol at present."""
        return self.id_shifts[symbol][0] if symbol in self.id_shifts else 0

    def listing(self) -> list[dict[str, Any]]:
        """Every armed or spent fault as plain data."""
        return [{"id": one.number, **asdict(one.fault), "fired": one.fired, "spent": one.spent} for one in self.armed]

    def take(
        self,
        kinds: str | Iterable[str],
        symbol: str | None,
        now_us: int,
        frame: Frame | None = None,
        owner: object = None,
    ) -> Fault | None:
        """The fault, if any, that fires on this occasion; it is counted.

        `frame` is the occasion where there is one: the same frame on several connections is one occasion. `owner`
        is the connection. `symbol` None stands for a whole connection, which every fault matches.
        """
        wanted = (kinds,) if isinstance(kinds, str) else kinds
        for armed in self.armed:
            fault = armed.fault
            if (
                fault.kind in wanted
                and (symbol is None or fault.symbol in (None, symbol))
                and self._fires(armed, now_us, frame, owner)
            ):
                return fault
        return None

    def _fires(self, armed: Armed, now_us: int, frame: Frame | None, owner: object) -> bool:
        fault = armed.fault
        mine = fault.scope == "all" or armed.owner in (None, owner)
        if now_us < armed.until_us:
            return mine
        if frame is not None and armed.frame is frame:
            return fault.scope == "all" and armed.skipped >= fault.after and armed.fired > 0
        if armed.spent:
            return False
        armed.frame = frame
        if armed.skipped < fault.after:
            armed.skipped += 1
            return False
        armed.fired += 1
        armed.owner = owner
        self.fired[fault.kind] = self.fired.get(fault.kind, 0) + 1
        if KINDS[fault.kind].lasts:
            armed.until_us = now_us + fault.microseconds
        return True
