"""Reverse proxies in front of a gateway, set up as docs/reverse-proxy.md says."""

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from ports import free_port
from waiting import patience

DOCUMENT = Path(__file__).parents[3] / "docs/reverse-proxy.md"
NAME = "prices.localhost"
"""Every machine's browser finds names below localhost on the machine itself."""

PROGRAMS = {
    "nginx": shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"),
    "Caddy": shutil.which("caddy"),
    "Traefik": shutil.which("traefik"),
}


def documented(proxy):
    """Return the block that the document has for a proxy."""
    section = DOCUMENT.read_text().partition(f"## {proxy}\n")[2].partition("\n## ")[0]
    return re.search(r"```\w*\n(.*?)```", section, re.DOTALL)[1]


def nginx(block, folder, port):
    """Return the command line of an nginx that needs no rights."""
    block = block.replace("listen 80;", f"listen 127.0.0.1:{port};")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {block} }}"
    )
    return [PROGRAMS["nginx"], "-e", "stderr", "-p", folder, "-c", config]


def caddy(block, folder, port):
    """Return the command line of a Caddy without TLS."""
    config = folder / "Caddyfile"
    config.write_text("{\n admin off\n auto_https off\n}\n" + block.replace(f"{NAME} {{", f"http://{NAME}:{port} {{"))
    return [PROGRAMS["Caddy"], "run", "--adapter", "caddyfile", "--config", config]


def traefik(block, folder, port):
    """Return the command line of a Traefik whose routes are the block."""
    routes = folder / "routes.yml"
    routes.write_text(block)
    entry = f"--entrypoints.web.address=127.0.0.1:{port}"
    return [PROGRAMS["Traefik"], entry, f"--providers.file.filename={routes}", "--global.checknewversion=false"]


COMMANDS = {"nginx": nginx, "Caddy": caddy, "Traefik": traefik}


@asynccontextmanager
async def behind(proxy, gateway, folder, *, path="/fairprice/", change=str):
    """Run a proxy as documented, at a path; yield the address of the page. `change` makes the block another one."""
    port = free_port()
    block = documented(proxy).replace("prices.example.org", NAME)
    block = change(block).replace("127.0.0.1:8000", gateway.url.removeprefix("http://"))
    block = block.replace("location /fairprice/", f"location {path}")
    process = await asyncio.create_subprocess_exec(*map(str, COMMANDS[proxy](block, folder, port)))
    try:
        await _until_open(port, process)
        if proxy == "Traefik":  # which reads its routes after it has opened its port
            await _until_redirected(f"http://127.0.0.1:{port}{path.rstrip('/')}")
        yield f"http://{NAME}:{port}{path}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_redirected(url):
    async with patience(), aiohttp.ClientSession(headers={"Host": NAME}) as http:
        while True:
            async with http.get(url, allow_redirects=False) as answer:
                if answer.status != 404:
                    return
            await asyncio.sleep(0.05)


async def _until_open(port, process):
    async with patience():
        while True:
            assert process.returncode is None, "the proxy has ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
