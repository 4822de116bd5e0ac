"""`/livez`, `/readyz` and `/metrics` of a service, and the server that answers them."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fairprice.errors import StartupError

Check = Callable[[], str | None]
"""Returns what is wrong, in words, or None."""


def health_routes(checks: Mapping[str, Check], registry: CollectorRegistry) -> list[web.RouteDef]:
    """Return the three routes: `/livez` answers while the event loop runs, `/readyz` is 503 with the reasons."""

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        problems = {name: problem for name, check in checks.items() if (problem := check())}
        body = {"status": "not ready" if problems else "ready", "problems": problems}
        return web.Response(body=orjson.dumps(body), status=503 if problems else 200, content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]


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
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another port with FAIRPRICE_HTTP_PORT or --port"
            ) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
