"""What a client may say on a websocket, and what is said back: one connection's subscriptions, without the socket."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.knobs import Knobs
from simulator.limits import Limits

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
STREAM = re.compile(r"(?:[^\W@]|[-._])+(?:@[+\w:.-]+)+|![\w]+(?:@[\w+.-]+)*")
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,36}")
TOO_MANY_STREAMS = "Invalid request: too many streams"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and whether the connection ends after it."""

    document: dict[str, Any]
    close: bool = False


class Mistake(Exception):
    """A request that cannot be granted: code and text of the documented error table."""

    def __init__(self, code: int, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.close = close


class Subscriptions:
    """The streams of one connection and the form in which it gets them; a silent one is sent nothing, granted all."""

    def __init__(
        self, limits: Limits, knobs: Knobs, *, combined: bool, streams: Sequence[str] = (), silent: bool = False
    ) -> None:
        self.combined = combined
        self._silent = silent
        self.streams: dict[str, None] = {}
        self._limits = limits
        self._knobs = knobs
        self._methods: dict[str, Callable[[Any], Any]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": lambda _: list(self.streams),
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }
        if streams:
            self._subscribe(list(streams))

    @property
    def sent(self) -> Mapping[str, None]:
        """The streams whose events it is sent."""
        return {} if self._silent else self.streams

    def answer(self, text: str) -> Answer:
        """Carries out one control message."""
        identifier = None
        try:
            request = _decoded(text)
            identifier = _identifier(request)
            result = self._methods[_method(request)](request.get("params", []))
        except Mistake as mistake:
            return Answer(self.error(mistake, identifier), mistake.close)
        return Answer({"result": result, "id": identifier})

    def error(self, mistake: Mistake, identifier: Any) -> dict[str, Any]:
        """The error in the shape this exchange prefers; the bare one has an id only for an unknown property."""
        body = {"code": mistake.code, "msg": str(mistake)}
        if self._knobs.error_shape == "bare":
            return body | ({"id": identifier} if mistake.code == 0 else {})
        return {"error": body, "id": identifier}

    def _subscribe(self, names: Any) -> None:
        added = dict.fromkeys(_stream_names(names))
        if self._limits.too_many_streams(len(self.streams | added)):
            raise Mistake(2, TOO_MANY_STREAMS, close=self._knobs.too_many_streams == "close")
        self.streams |= added

    def _unsubscribe(self, names: Any) -> None:
        for name in _stream_names(names):
            self.streams.pop(name, None)

    def _set_property(self, params: Any) -> None:
        name, value = _parameters(params, 2)
        _check_property(name)
        if not isinstance(value, bool):
            raise Mistake(1, "Invalid value type: expected Boolean")
        self.combined = value

    def _get_property(self, params: Any) -> bool:
        (name,) = _parameters(params, 1)
        _check_property(name)
        return self.combined


def is_stream(name: str) -> bool:
    """Whether this could be a stream's name; it need not exist."""
    return STREAM.fullmatch(name) is not None


def _decoded(text: str) -> dict[str, Any]:
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise Mistake(3, f"Invalid JSON: {problem.msg} at line {problem.lineno} column {problem.colno}") from None
    if not isinstance(request, dict):
        raise Mistake(2, "Invalid request: expected an object")
    return request


def _identifier(request: dict[str, Any]) -> int | str | None:
    identifier = request.get("id")
    is_integer = type(identifier) is int and -(2**63) <= identifier < 2**63
    if is_integer or identifier is None or (isinstance(identifier, str) and IDENTIFIER.fullmatch(identifier)):
        if "id" in request:
            return identifier
        raise Mistake(2, "Invalid request: missing field `id`")
    raise Mistake(2, "Invalid request: request ID must be an integer, a string of at most 36 characters, or null")


def _method(request: dict[str, Any]) -> str:
    if "method" not in request:
        raise Mistake(2, "Invalid request: missing field `method`")
    method = request["method"]
    if method not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        raise Mistake(2, f"Invalid request: unknown variant `{method}`, expected one of {known}")
    return str(method)


def _stream_names(names: Any) -> list[str]:
    if not isinstance(names, list) or not names:
        raise Mistake(2, "Invalid request: missing field `params`")
    if not all(isinstance(name, str) and is_stream(name) for name in names):
        raise Mistake(2, "Invalid request: invalid stream", close=True)
    return names


def _parameters(params: Any, count: int) -> list[Any]:
    if not isinstance(params, list) or not params:
        raise Mistake(2, "Invalid request: property name missing")
    if len(params) > count:
        raise Mistake(2, "Invalid request: too many parameters")
    if not isinstance(params[0], str):
        raise Mistake(2, "Invalid request: property name must be a string")
    if len(params) < count:
        raise Mistake(1, "Invalid value type: expected Boolean")
    return params


def _check_property(name: str) -> None:
    if name != "combined":
        raise Mistake(0, "Unknown property")
