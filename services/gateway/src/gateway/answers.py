"""What all answers of the gateway have in common: headers, and errors as JSON."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "style-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_NOT_KEPT = {"Cache-Control": "no-store"}


def json_answer(value: Any, status: int = 200) -> web.Response:
    """Return an answer that nobody may keep."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json", headers=_NOT_KEPT)


def secured(handler: Handler) -> Handler:
    """Return the handler with security headers on its answers and with its HTTP errors as `{"error": ...}`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = json_answer({"error": error.text}, error.status)
            response.headers.update(
                {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
            )
        if not response.prepared:
            response.headers.update(SECURITY)
        return response

    return answer


async def _not_found(request: web.Request) -> web.StreamResponse:
    if request.method not in {"GET", "HEAD"}:
        raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"], text="the gateway only shows: use GET")
    raise web.HTTPNotFound(text=f"nothing at {request.path}; see / and /api/prices")


def fallback_routes() -> list[web.RouteDef]:
    """Return the route of all that no other route answers; it has to be the last one."""
    return [web.route("*", "/{path:.*}", secured(_not_found))]
