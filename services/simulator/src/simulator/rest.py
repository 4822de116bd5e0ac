"""The REST side: paths, parameters, weights and errors; requests in, replies out, no sockets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from simulator.dialects import Dialect
from simulator.edge import Edge
from simulator.faults import Board
from simulator.frames import Book
from simulator.instruments import Instrument
from simulator.knobs import Knobs
from simulator.limits import Limits
from simulator.replies import Reply, error, json_reply, page

SYMBOL = re.compile(r"(?:[^\W a-z]|[-.]){1,50}")


class Source(Protocol):
    """What is behind the doors: markets or a recording."""

    dialect: Dialect
    board: Board

    @property
    def instruments(self) -> Sequence[Instrument]:
        """What is traded here."""

    def edge(self) -> Edge:
        """The edge of one more connection."""

    def snapshot(self, symbol: str, limit: int) -> Reply:
        """The answer to a depth request for a symbol traded here."""

    def book_at(self, symbol: str, update_id: int, limit: int | None = None) -> Book:
        """The true book right after this id, `limit` levels a side or all; LookupError says which ids can be had."""

    def set_status(self, symbol: str, status: str) -> None:
        """Changes a symbol's status; LookupError says why not."""

    def update_ids(self) -> Mapping[str, int]:
        """The last id of each symbol."""


@dataclass(frozen=True, slots=True)
class Request:
    """One GET: the parameters as sent, decoded; header names in lower case."""

    path: str
    parameters: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    address: str
    now_us: int

    @property
    def query(self) -> dict[str, str]:
        """Each parameter once."""
        return dict(self.parameters)


class Refused(Exception):
    """A parameter is wrong; `reply` tells the client so."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.reply = error(400, code, message)


class Rest:
    """Answers requests for what a source trades, within limits, at the paths of its venue."""

    def __init__(self, source: Source, limits: Limits, knobs: Knobs) -> None:
        self._source = source
        self._dialect = source.dialect
        self._limits = limits
        self._knobs = knobs
        self._answers = {
            "/depth": self._depth,
            "/exchangeInfo": self._exchange_info,
            "/ping": self._ping,
            "/ticker/24hr": self._turnovers,
            "/time": self._time,
        }

    def answer(self, request: Request) -> Reply:
        """The reply to a request, refusals and limits included."""
        name = request.path.removeprefix(self._dialect.rest)
        if name == request.path or name not in self._answers:
            return self._not_found(request)
        weight = self._weight(name, request)
        reply = self._limits.charge(request.address, weight, request.now_us)
        if reply is None:
            try:
                reply = self._answers[name](request)
            except Refused as refusal:
                reply = refusal.reply
        if reply.wait_s:
            self._limits.note_wait(request.address, reply.wait_s, request.now_us)
        used = str(self._limits.used_weight(request.address))
        return replace(reply, headers={"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used} | reply.headers)

    def _weight(self, name: str, request: Request) -> int:
        if name == "/depth":
            return self._dialect.depth_weight(request.query.get("limit", ""))
        return {"/exchangeInfo": self._dialect.info_weight, "/ticker/24hr": self._dialect.turnovers_weight}.get(name, 1)

    def _not_found(self, request: Request) -> Reply:
        if "text/html" in request.headers.get("accept", ""):
            return page(404, "404 Not Found")
        return error(404, 0, "Not found: this path does not exist.")

    def _ping(self, request: Request) -> Reply:
        _known(request, ())
        return json_reply({})

    def _time(self, request: Request) -> Reply:
        _known(request, ())
        return json_reply({"serverTime": _server_time(request)})

    def _depth(self, request: Request) -> Reply:
        if not request.query.get("symbol"):
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        _known(request, ("symbol", "limit", "symbolStatus"))
        instrument = self._instrument(request.query["symbol"])
        limit = request.query.get("limit", str(self._dialect.default_depth))
        if not re.fullmatch(r"[0-9]{1,20}", limit) or int(limit) == 0:
            raise Refused(-1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
        if self._dialect.depth_limits and int(limit) not in self._dialect.depth_limits:
            raise Refused(-4021, f"Depth limit {limit} is not valid.")
        if "symbolStatus" in request.query and self._status(request) != instrument.status:
            raise Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
        return self._source.snapshot(instrument.symbol, min(int(limit), self._dialect.deepest))

    def _exchange_info(self, request: Request) -> Reply:
        with_sets = request.query.get("showPermissionSets", "true") != "false"
        chosen = self._filtered(request) if self._dialect.has_filters else self._source.instruments
        return json_reply(
            {
                "timezone": "UTC",
                "serverTime": _server_time(request),
                "rateLimits": self._rate_limits(),
                "exchangeFilters": [],
                "symbols": [self._dialect.symbol_info(instrument, with_sets=with_sets) for instrument in chosen],
            }
        )

    def _turnovers(self, request: Request) -> Reply:
        """What was traded: of a made-up market the more, the earlier a symbol was named."""
        _known(request, ())
        named = enumerate(self._source.instruments, 1)
        return json_reply([{"symbol": each.symbol, "quoteVolume": f"{10**9 / place:.8f}"} for place, each in named])

    def _filtered(self, request: Request) -> Sequence[Instrument]:
        query = request.query
        _known(request, ("symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets"))
        if len({"symbol", "symbols"} & set(query)) == 2 or (
            "symbolStatus" in query and {"symbol", "symbols"} & set(query)
        ):
            raise Refused(-1128, "Combination of optional parameters invalid.")
        if "symbol" in query:
            return [self._instrument(query["symbol"])]
        if "symbols" in query:
            return [self._instrument(symbol) for symbol in _symbol_list(query["symbols"])]
        if "symbolStatus" in query:
            status = self._status(request)
            return [instrument for instrument in self._source.instruments if instrument.status == status]
        return self._source.instruments

    def _instrument(self, symbol: str) -> Instrument:
        if not SYMBOL.fullmatch(symbol):
            raise Refused(
                -1100, f"Illegal characters found in parameter 'symbol'; legal range is '^{SYMBOL.pattern}$'."
            )
        found = next((instrument for instrument in self._source.instruments if instrument.symbol == symbol), None)
        if found is None:
            raise Refused(-1121, "Invalid symbol.")
        return found

    def _status(self, request: Request) -> str:
        status = request.query["symbolStatus"]
        if status not in self._dialect.statuses:
            raise Refused(-1122, "Invalid symbolStatus.")
        return status

    def _rate_limits(self) -> list[dict[str, object]]:
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self._knobs.weight_per_minute),
            *self._dialect.rate_limits,
            ("RAW_REQUESTS", "MINUTE", 5, self._knobs.raw_requests_per_5_minutes),
        )
        names = ("rateLimitType", "interval", "intervalNum", "limit")
        return [dict(zip(names, row, strict=True)) for row in rows]


def _known(request: Request, names: Sequence[str]) -> None:
    if len(request.query) < len(request.parameters):
        raise Refused(-1101, "Too many parameters sent for this endpoint.")
    read = sum(name in names for name in request.query)
    if read < len(request.query):
        sent = len(request.query)
        raise Refused(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")


def _server_time(request: Request) -> int:
    microseconds = request.headers.get("x-mbx-time-unit", "") in ("MICROSECOND", "microsecond")
    return request.now_us if microseconds else request.now_us // 1000


def _symbol_list(text: str) -> list[str]:
    try:
        symbols = orjson.loads(text)
    except orjson.JSONDecodeError:
        symbols = None
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise Refused(-1100, "Illegal characters found in parameter 'symbols'; legal is a JSON array of symbols.")
    if len(set(symbols)) < len(symbols):
        raise Refused(-1151, "Symbol is present multiple times in the list.")
    return symbols
