"""The gateway answers to its own names only.

Else any page on the internet could have its own name point to this machine (DNS rebinding), and read along as if it
were the gateway's own page.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from aiohttp import web

from gateway.answers import json_answer, secured

_HERE = ("localhost", "127.0.0.1", "::1")
_JSON = ("/api", "/ws")


class OwnNames:
    """Decides by a request's `Host` whether it is meant for the gateway, whatever the port.

    `host` is the address that is served. Where that is every address of the machine, the one that the connection came
    to is a name of the gateway, too.
    """

    def __init__(self, host: str, names: Iterable[str]) -> None:
        self._names = frozenset(map(_plain, (*_HERE, host, *names)))
        self._is_everywhere = _is_unspecified(host)

    def guard(self, route: web.RouteDef) -> web.RouteDef:
        """Return the route with an answer of 421 to requests for other names."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if self.includes(request):
                response: web.StreamResponse = await route.handler(request)
                return response
            return await secured(_refuse)(request)

        return web.RouteDef(route.method, route.path, answer, route.kwargs)

    def includes(self, request: web.Request) -> bool:
        """Return whether the request is for one of the names."""
        name = _host(request)
        return name in self._names or (self._is_everywhere and name == _local_address(request))


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
