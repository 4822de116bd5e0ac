"""The gateway answers to its own names only, and only pages of its own origin may listen.

Else any page on the internet could have its own name point to this machine (DNS rebinding) or open a websocket to it,
and read along as if it were the gateway's own page.

What a proxy adds, like `X-Forwarded-Host`, is not looked at: a page after DNS rebinding can send it as well.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import structlog
from aiohttp import web

from fairprice.runtime.clock import Clock
from fairprice.runtime.occasional import Occasional
from gateway.answers import json_answer, secured

_HERE = ("localhost", "127.0.0.1", "::1")
_JSON = ("/api", "/ws")
_PORTS = {"http": 80, "https": 443}

MOST_ORIGINS = 100
"""Of more foreign names and origins within a minute the log tells together."""

log = structlog.get_logger(__name__)


class OwnNames:
    """Decides by a request's `Host` whether it is meant for the gateway, and by its `Origin` whose page has sent it.

    `host` is the address that is served. Where that is every address of the machine, the one that the connection came
    to is a name of the gateway, too. `names` are further ones, under which a proxy may show the page on any port.
    """

    def __init__(self, host: str, names: Iterable[str], clock: Clock) -> None:
        self._given = frozenset(map(_plain, names))
        self._names = self._given | frozenset(map(_plain, (*_HERE, host)))
        self._is_everywhere = _is_unspecified(host)
        self._refusals = Occasional(clock, capacity=MOST_ORIGINS)

    def guard(self, route: web.RouteDef) -> web.RouteDef:
        """Return the route with an answer of 421 to requests for other names."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if self.includes(request):
                response: web.StreamResponse = await route.handler(request)
                return response
            self._tell("request refused: it is for another name", host=_host(request)[:128])
            return await secured(_refuse)(request)

        return web.RouteDef(route.method, route.path, answer, route.kwargs)

    def includes(self, request: web.Request) -> bool:
        """Return whether the request is for one of the names."""
        name = _host(request)
        return name in self._names or (self._is_everywhere and name == _local_address(request))

    def is_foreign(self, request: web.Request) -> bool:
        """Return whether a page of another origin has sent the request, and tell the log.

        Programs send no `Origin`. A page's own is the `Host` that it asked for, unless a proxy has put its own in that
        place; then it is one of the names that were given, on whatever port the proxy serves.
        """
        text = request.headers.get("Origin")
        if text is None or self._is_own(_address(text), request):
            return False
        self._tell(
            "listener refused: its page is of another origin; if a proxy serves it, add its name to "
            "FAIRPRICE_HTTP_NAMES",
            origin=text[:128],
            host=request.host[:128],
        )
        return True

    def _is_own(self, origin: SplitResult, request: web.Request) -> bool:
        name = _plain(origin.hostname or "")
        default = _PORTS.get(origin.scheme)
        return name in self._given or (
            default is not None
            and (name, _port(origin) or default) == (_host(request), _asked_port(request) or default)
        )

    def _tell(self, event: str, **values: str) -> None:
        suppressed = self._refusals.due((event, *values.values()))
        if suppressed is not None:
            log.warning(event, **values, **({"more_since": suppressed} if suppressed else {}))


async def _refuse(request: web.Request) -> web.StreamResponse:
    text = (
        f"the gateway does not answer to the name {_host(request)[:128]!r}; "
        "if it is one of its own, add it to FAIRPRICE_HTTP_NAMES"
    )
    if request.path.startswith(_JSON):
        return json_answer({"error": text}, 421)
    return web.Response(text=f"{text}\n", status=421)


def _host(request: web.Request) -> str:
    """Return the name in the header `Host` without its port, empty where there is none."""
    name, bracket, _ = request.headers.get("Host", "").partition("]")
    return _plain(name if bracket else name.partition(":")[0])


def _asked_port(request: web.Request) -> int | None:
    return _port(_address(f"//{request.headers.get('Host', '')}"))


def _address(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def _port(address: SplitResult) -> int | None:
    try:
        return address.port
    except ValueError:
        return None


def _plain(name: str) -> str:
    return name.lower().strip("[]").rstrip(".")


def _local_address(request: web.Request) -> str:
    address = request.transport.get_extra_info("sockname") if request.transport else None
    return str(address[0]) if address else ""


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
