"""The files of the page: ours, and the chart's script in the folder of its package; nothing from the network."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

from aiohttp import web

from gateway.answers import secured

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file ready to be sent, plain and compressed; `tag` names its content."""

    content_type: str
    plain: bytes
    compressed: bytes
    tag: str


def page_routes() -> list[web.RouteDef]:
    """Return the routes of the page at `/` and of its files under `/static/`."""
    folder = Path(str(files("gateway"))) / "static"
    found = [file for file in sorted(folder.rglob("*")) if file.suffix in _TYPES]
    paths = {f"/static/{file.relative_to(folder).as_posix()}": file for file in found}
    paths["/"] = paths.pop("/static/index.html")
    return [web.get(path, secured(partial(_send, file))) for path, file in paths.items()]


async def _send(file: Path, request: web.Request) -> web.Response:
    asset = _read(file)
    compress = "gzip" in request.headers.get("Accept-Encoding", "")
    tag = f"{asset.tag}-gzip" if compress else asset.tag
    # The browser may keep the file but asks each time, so that an upgrade shows at once.
    headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"', "Vary": "Accept-Encoding"}
    if any(known.value == tag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if compress:
        headers["Content-Encoding"] = "gzip"
    body = asset.compressed if compress else asset.plain
    return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)


@cache
def _read(file: Path) -> Asset:
    body = file.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:20]
    return Asset(_TYPES[file.suffix], body, gzip.compress(body, mtime=0), tag)
