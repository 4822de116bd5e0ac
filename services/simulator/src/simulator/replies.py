"""What the REST side answers: replies, and errors in the exchange's shape."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from simulator.faults import Board, Fault

JSON = "application/json;charset=UTF-8"
HTML = "text/html"
BACKEND_TIMEOUT_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer.

    `delay_us` is exchange time to pass before it; with `cut` the connection ends mid-body; `wait_s` is how long it
    tells the client to wait. Where there is `held`, the answer is not known yet: it waits for it, and the answer is
    to be written before its context is left.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON
    delay_us: int = 0
    cut: bool = False
    wait_s: int = 0
    held: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    """Makes a context of the `Reply` that is waited for."""


def json_reply(document: object, status: int = 200) -> Reply:
    """A document as JSON."""
    return Reply(status, orjson.dumps(document))


def error(status: int, code: int, message: str, *, wait_s: int = 0) -> Reply:
    """An error: `{"code":int,"msg":str}`; with a wait, also as `Retry-After`."""
    headers = {"Retry-After": str(wait_s)} if wait_s else {}
    return Reply(status, orjson.dumps({"code": code, "msg": message}), headers, wait_s=wait_s)


def page(status: int, text: str) -> Reply:
    """What something in front of the exchange answers: HTML."""
    return Reply(status, f"<html><body><h1>{text}</h1></body></html>".encode(), content_type=HTML)


def over_limit(wait_s: int, limit: int = 6000) -> Reply:
    """429: the weight limit is broken."""
    message = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return error(429, -1003, message, wait_s=wait_s)


def banned(wait_s: int, until_ms: int) -> Reply:
    """418: the address is banned."""
    message = (
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    return error(418, -1003, message, wait_s=wait_s)


def snapshot_reply(board: Board, symbol: str, now_us: int, body: Callable[[], bytes]) -> Reply:
    """The depth snapshot, or what the faults of the board make of it."""
    if fault := board.take("rate_limit", symbol, now_us):
        return _refused(fault, now_us)
    if fault := board.take("fail_snapshot", symbol, now_us):
        return _failed(fault, body)
    slow = board.take("slow_snapshot", symbol, now_us)
    sparse = board.take("sparse_snapshot", symbol, now_us)
    text = _sparse(body(), sparse.variant) if sparse else body()
    return Reply(200, text, delay_us=slow.microseconds if slow else 0)


def _sparse(body: bytes, variant: str) -> bytes:
    missing = {"empty": ("bids", "asks"), "no_bids": ("bids",), "no_asks": ("asks",)}[variant]
    return orjson.dumps(orjson.loads(body) | {side: [] for side in missing})


def _refused(fault: Fault, now_us: int) -> Reply:
    wait_s = max(1, round(fault.microseconds / 1e6))
    reply = over_limit(wait_s) if fault.variant.startswith("429") else banned(wait_s, now_us // 1000 + wait_s * 1000)
    if fault.variant == "429_without_retry_after":
        return replace(reply, headers={}, wait_s=0)  # the client cannot know
    return replace(reply, headers={}) if fault.variant == "418_text_only" else reply


def _failed(fault: Fault, body: Callable[[], bytes]) -> Reply:
    if fault.variant == "reset":
        return Reply(200, body(), cut=True)
    if fault.variant == "truncated":
        text = body()
        return Reply(200, text[: len(text) // 2])
    if fault.variant == "status":
        return error(fault.status, -1000, "An unknown error occurred while processing the request.")
    return FAILURES[fault.variant]


FAILURES = {
    "timeout": replace(
        error(504, -1007, "Timeout waiting for response from backend server."), delay_us=BACKEND_TIMEOUT_US
    ),
    "html": page(200, "Please wait"),
    "451": error(451, 0, "Service unavailable from a restricted location according to 'b. Eligibility'."),
    "403": page(403, "403 Forbidden"),
}
