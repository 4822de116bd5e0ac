"""`/livez`, `/readyz` and `/metrics` of a service, the server that answers them, and what `<service> check` prints."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from errno import EACCES, EADDRINUSE
from functools import partial
from itertools import chain
from types import MappingProxyType

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from fairprice import __version__
from fairprice.errors import StartupError
from fairprice.runtime import version
from fairprice.runtime.metrics import Exporter, Sample
from fairprice.runtime.settings import HttpSettings, given

Check = Callable[[], str | None]
"""Returns a description of what is wrong, or None."""

NOTHING: Mapping[str, Check] = MappingProxyType({})


def health_routes(
    checks: Mapping[str, Check], registry: CollectorRegistry, notes: Mapping[str, Check] = NOTHING
) -> list[web.RouteDef]:
    """Return the three routes: `/livez` answers while the event loop runs, `/readyz` is 503 with the reasons.

    `notes` are listed there, too, and change nothing about being ready.
    """

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = _found(checks)
        body = {"status": "not ready" if problems else "ready", "problems": problems, "notes": _found(notes)}
        return web.Response(body=orjson.dumps(body), status=503 if problems else 200, content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


def _found(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := check())}


def process_registry(service: str, *samples: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """Return what `/metrics` tells of a process: its version, memory and processor time, and these samples."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    sources: tuple[Callable[[], Iterable[Sample]], ...] = (partial(_build_info, service), *samples)
    registry.register(Exporter(lambda: chain.from_iterable(read() for read in sources)))
    return registry


def _build_info(service: str) -> Iterator[Sample]:
    yield "build_info", (service, __version__, version.PYTHON), 1


@asynccontextmanager
async def serve_health(
    environ: Mapping[str, str],
    service: str,
    port: int,
    checks: Mapping[str, Check],
    *samples: Callable[[], Iterable[Sample]],
    notes: Mapping[str, Check] = NOTHING,
) -> AsyncIterator[str]:
    """Serve `/livez`, `/readyz` and `/metrics` on the usual port, or where the environment says; yield the URL."""
    settings = HttpSettings.load({"FAIRPRICE_HTTP_PORT": str(port)} | given(environ))
    routes = health_routes(checks, process_registry(service, *samples), notes)
    async with serve(routes, settings.http_host, settings.http_port) as url:
        yield url


def describe(problems: Mapping[str, str | None]) -> str:
    """Return what `<service> check` prints: a line for each thing that was looked at."""
    return "\n".join(f"{name:10} {problem or 'all right'}" for name, problem in problems.items())


@asynccontextmanager
async def serve(routes: Iterable[web.AbstractRouteDef], host: str, port: int) -> AsyncIterator[str]:
    """Serve the routes and yield the address, like `http://127.0.0.1:8080`; port 0 takes any free one.

    Raises `StartupError` when the address cannot be had.
    """
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise StartupError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; {_remedy(error)}"
            ) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _remedy(error: OSError) -> str:
    if error.errno in {EADDRINUSE, EACCES}:
        return "choose another port with FAIRPRICE_HTTP_PORT or --port"
    return "FAIRPRICE_HTTP_HOST has to be an address of this machine, like 127.0.0.1 or 0.0.0.0"
