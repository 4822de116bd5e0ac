"""Which proxy leads to an address, by the variables that other programs read, too.

`HTTPS_PROXY` for https and wss, `HTTP_PROXY` for http and ws, else `ALL_PROXY`, less `NO_PROXY`; in lower case first.
The proxy resolves the names.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp
import structlog
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from python_socks import ProxyType

from fairprice.errors import SettingsError

PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
VARIABLES = {"https": "https_proxy", "wss": "https_proxy", "http": "http_proxy", "ws": "http_proxy"}
TYPES = {"http": ProxyType.HTTP, "socks5": ProxyType.SOCKS5, "socks5h": ProxyType.SOCKS5}
DEFAULT_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; as text it is without user and password."""

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def type(self) -> ProxyType:
        """How the proxy is spoken to: HTTP CONNECT or SOCKS5."""
        return TYPES[self.scheme]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


ProxyFor = Callable[[str], Proxy | None]
"""Chooses the proxy for an address, None for the direct way; raises `SettingsError` for one that cannot be used."""


def proxies(environ: Mapping[str, str]) -> ProxyFor:
    """Return the function that chooses by these variables."""
    return partial(choose, environ)


def choose(environ: Mapping[str, str], address: str) -> Proxy | None:
    """Return the proxy for an address, None where the way is direct; loopback always is.

    Raises `SettingsError` for a proxy that cannot be used.
    """
    target = urlsplit(address)
    if _is_loopback(target.hostname or "") or _is_exempt(_value(environ, "no_proxy")[1], target):
        return None
    for variable in (VARIABLES.get(target.scheme, "all_proxy"), "all_proxy"):
        name, value = _value(environ, variable)
        if value:
            return parse(name, value)
    return None


def parse(variable: str, value: str) -> Proxy:
    """Return the proxy that a variable names; without a scheme it is an HTTP one. Raises `SettingsError`."""
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        host, port = url.hostname, url.port
    except ValueError as error:
        raise SettingsError(f"{variable} is no address of a proxy: {error}") from error
    if url.scheme not in TYPES:
        raise SettingsError(
            f"{variable} names a proxy of the kind {url.scheme}://, which cannot be used here; "
            "http://HOST:PORT and socks5://HOST:PORT can"
        )
    if not host:
        raise SettingsError(f"{variable} names no host; write {url.scheme}://HOST:PORT")
    user = None if url.username is None else unquote(url.username)
    password = unquote(url.password or "") if user is not None else None
    return Proxy(url.scheme, host, port or DEFAULT_PORTS[url.scheme], user, password)


def session(address: str, proxy: Proxy | None) -> aiohttp.ClientSession:
    """Return a session for requests to an address by way of its proxy; its caller closes it."""
    if proxy is None:
        return aiohttp.ClientSession()
    log.info("requests go through a proxy", address=address, proxy=str(proxy))
    return aiohttp.ClientSession(
        connector=_Connector(
            proxy.host,
            proxy.port,
            proxy_type=proxy.type,
            username=proxy.user,
            password=proxy.password,
            rdns=True,
        )
    )


class _Connector(ProxyConnector):
    """Fails like any other connector where the proxy does: the errors of its base are none that aiohttp documents."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own signature
    ) -> Connection:
        """See `aiohttp.BaseConnector.connect`; raises `aiohttp.ClientConnectionError`."""
        try:
            return await super().connect(req, traces, timeout)
        except (ProxyConnectionError, ProxyTimeoutError, ProxyError) as error:
            raise aiohttp.ClientConnectionError(f"the proxy does not lead there: {error}") from error


def _value(environ: Mapping[str, str], variable: str) -> tuple[str, str]:
    for name in (variable, variable.upper()):
        if value := environ.get(name, "").strip():
            return name, value
    return variable, ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _is_exempt(exemptions: str, target: SplitResult) -> bool:
    host = (target.hostname or "").rstrip(".")
    port = target.port or PORTS.get(target.scheme)
    entries = (entry for entry in exemptions.replace(",", " ").lower().split())
    return any(_matches(entry, host, port) for entry in entries)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_within(entry, host)
    name, entry_port = _host_and_port(entry)
    if entry_port not in {None, port}:
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_within(network: str, host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host) in ip_network(network, strict=False)
    return False


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if entry.count(":") > 1 and not entry.startswith("["):
        return entry, None
    with suppress(ValueError):
        url = urlsplit(f"//{entry}")
        return url.hostname or "", url.port
    return entry, None
