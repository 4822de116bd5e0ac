"""The edge of the exchange: what one connection is sent instead of the truth while faults are armed."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from simulator.exchange_info import HIGHEST_PRICE
from simulator.faults import Board, Fault
from simulator.frames import DAMAGE, Disconnect, Frame, shutdown_frame

HUGE_BYTES = 10 * 1024 * 1024
IDS = re.compile(rb'("(?:U|u|pu|lastUpdateId)"\s*:\s*)(-?[0-9]+)')
"""The ids of an event as text, since decoding all its levels would take twice as long."""

Sent = Frame | Disconnect


@dataclass(slots=True)
class Line:
    """What the edge remembers of one depth stream."""

    past: deque[Frame]
    held: Frame | None = None
    begun: bool = False


class Edge:
    """Passes frames on to one connection, applying the faults of the board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._lines: dict[str, Line] = {}
        self._leaves_us: int | None = None
        self._leaving = Disconnect(1001)

    def pass_on(self, frame: Frame) -> list[Sent]:
        """What the connection is sent for this frame: itself, others, nothing, or the end of the connection."""
        if self._leaves_us is not None and frame.time_us >= self._leaves_us:
            self._leaves_us = None
            return [self._leaving]
        if frame.kind == "depth":
            self._note(frame)
        elif self.board.quiet:
            return [frame]
        ending = self._ending(frame)
        if ending and isinstance(ending[-1], Disconnect):
            return ending
        return ending + self._data(frame)

    def _ending(self, frame: Frame) -> list[Sent]:
        if fault := self.board.take("disconnect", frame.symbol, frame.time_us, frame, self):
            code = None if fault.variant == "abort" else fault.status
            return [Disconnect(code, every_connection=fault.scope == "all")]
        if fault := self.board.take("server_shutdown", frame.symbol, frame.time_us, frame, self):
            self._leaves_us = frame.time_us + fault.microseconds
            self._leaving = Disconnect(fault.status, every_connection=False)
            return [shutdown_frame(frame.time_us), *([self._leaving] if not fault.microseconds else [])]
        return []

    def _data(self, frame: Frame) -> list[Sent]:
        if self.board.take("silence", frame.symbol, frame.time_us, frame, self):
            if frame.kind == "depth":
                line = self._lines[frame.stream]
                line.begun = False
                line.past.append(frame)
            return []
        frames: list[Frame] = [frame]
        if frame.kind == "depth":
            frames = self._depth(frame)
        elif frame.kind == "bookTicker" and self.board.take(
            "ticker_mismatch", frame.symbol, frame.time_us, frame, self
        ):
            frames = [_mismatched(frame)]
        shift = self.board.id_shift(frame.symbol)
        return [_shifted(one, shift) if shift else one for one in frames]

    def _note(self, frame: Frame) -> None:
        line = self._lines.setdefault(frame.stream, Line(deque(maxlen=32)))
        if not line.begun:
            self.board.first_sent[frame.symbol] = frame.first_id
            line.begun = True
        self.board.last_sent[frame.symbol] = (frame.first_id, frame.last_id)

    def _depth(self, frame: Frame) -> list[Frame]:
        line = self._lines[frame.stream]
        held, line.held = line.held, None
        frames = [frame, held] if held else self._faulted(frame, line)
        line.past.append(frame)
        return frames

    def _faulted(self, frame: Frame, line: Line) -> list[Frame]:
        able = [kind for kind, past in NEEDED_PAST.items() if past <= len(line.past)]
        fault = self.board.take(able, frame.symbol, frame.time_us, frame, self)
        return DEPTH_FAULTS[fault.kind](self, frame, fault, line) if fault else [frame]


# One function a kind of depth fault: what is sent for the frame


def _drop(_edge: Edge, _frame: Frame, _fault: Fault, line: Line) -> list[Frame]:
    line.begun = False
    return []


def _duplicate(_edge: Edge, frame: Frame, _fault: Fault, _line: Line) -> list[Frame]:
    return [frame, frame]


def _duplicate_older(_edge: Edge, frame: Frame, fault: Fault, line: Line) -> list[Frame]:
    return [frame, line.past[-min(max(fault.number, 1), len(line.past))]]


def _swap(_edge: Edge, frame: Frame, _fault: Fault, line: Line) -> list[Frame]:
    line.held = frame
    return []


def _overlap(_edge: Edge, frame: Frame, _fault: Fault, line: Line) -> list[Frame]:
    before, event = line.past[-1].event(), frame.event()
    event |= {key: before[key] for key in ("U", "pu") if key in before}
    for side in "ba":
        event[side] = [list(level) for level in (dict(before[side]) | dict(event[side])).items()]
    return [frame.replaced(event)]


def _crossed(_edge: Edge, frame: Frame, _fault: Fault, _line: Line) -> list[Frame]:
    event = frame.event()
    event["b"].insert(0, [HIGHEST_PRICE, "1.00000000"])
    return [frame.replaced(event)]


def _id_reset(edge: Edge, frame: Frame, fault: Fault, _line: Line) -> list[Frame]:
    edge.board.reset_ids(frame, max(fault.number, 1))
    return [frame]


def _clock(_edge: Edge, frame: Frame, fault: Fault, _line: Line) -> list[Frame]:
    event = frame.event()
    event["E"] += fault.microseconds // 1000
    return [frame.replaced(event, time_us=frame.time_us + fault.microseconds)]


def _malformed(_edge: Edge, frame: Frame, fault: Fault, _line: Line) -> list[Frame]:
    if fault.variant in DAMAGE:
        return [frame.replaced(frame.payload, damage=fault.variant)]
    event = frame.event()
    MALFORMATIONS[fault.variant](event)
    broken = frame.replaced(event)
    return [broken, frame] if fault.variant == "unknown_event" else [broken]


DEPTH_FAULTS: dict[str, Callable[[Edge, Frame, Fault, Line], list[Frame]]] = {
    "drop": _drop,
    "duplicate": _duplicate,
    "duplicate_older": _duplicate_older,
    "swap": _swap,
    "overlap": _overlap,
    "crossed": _crossed,
    "id_reset": _id_reset,
    "clock": _clock,
    "malformed": _malformed,
}

NEEDED_PAST = dict.fromkeys(DEPTH_FAULTS, 0) | {"overlap": 1, "duplicate_older": 2}
"""How many events a stream must have carried before a fault can fire on it."""


def _first_level(event: dict[str, Any]) -> list[Any]:
    side = "a" if event["a"] and not event["b"] else "b"
    if not event[side]:
        event[side].append(["0.00000100", "0.00000000"])
    level: list[Any] = event[side][0]
    return level


def _quantity(text: str) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        _first_level(event)[1] = text

    return change


def _number_for_string(event: dict[str, Any]) -> None:
    level = _first_level(event)
    level[:] = [float(part) for part in level]


def _missing_first_id(event: dict[str, Any]) -> None:
    del event["pu" if "pu" in event else "U"]


def _reversed_ids(event: dict[str, Any]) -> None:
    first = "pu" if "pu" in event else "U"
    event[first], event["u"] = event["u"], event[first] - 1


MALFORMATIONS: dict[str, Callable[[dict[str, Any]], None]] = {
    "number_for_string": _number_for_string,
    "missing_first_id": _missing_first_id,
    "reversed_ids": _reversed_ids,
    "negative_quantity": _quantity("-1.00000000"),
    "nan_quantity": _quantity("NaN"),
    "exponent_quantity": _quantity("1e3"),
    "unknown_key": lambda event: event.update(zz={"new": [1, None]}),
    "unknown_event": lambda event: event.update(e="somethingNew"),
    "huge": lambda event: event.update(zz="x" * HUGE_BYTES),
    "wrong_symbol": lambda event: event.update(s="WRONGUSDT"),
}
"""What happens to a decoded depth event."""


def _mismatched(frame: Frame) -> Frame:
    event = frame.event()
    moved = {key: f"{Decimal(event[key]) * Decimal('1.01'):.8f}" for key in "ba"}
    return frame.replaced(event | moved)


def _shifted(frame: Frame, shift: int) -> Frame:
    if frame.kind == "trade":
        return frame
    payload = IDS.sub(lambda found: b"%b%d" % (found[1], int(found[2]) - shift), frame.payload)
    return frame.replaced(payload, damage=frame.damage)
