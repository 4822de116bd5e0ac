"""The page, JSON and websocket behind real reverse proxies, set up word by word as documented."""

from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from proxies import NAME, PROGRAMS, behind
from structlog.testing import capture_logs
from waiting import soon

pytestmark = pytest.mark.slow  # processes


def needs(proxy, *values):
    """Return a case that is skipped where the proxy is not installed."""
    reason = f"{proxy.lower()} is not installed; on PATH it enables this test"
    return pytest.param(
        proxy, *values, marks=[pytest.mark.may_skip, pytest.mark.skipif(PROGRAMS[proxy] is None, reason=reason)]
    )


class Client:
    """Asks as a browser does that shows the page at this address; every name is found on this machine."""

    def __init__(self, http, page):
        address = urlsplit(page)
        self.headers = {"Host": address.netloc, "Origin": f"http://{address.netloc}"}
        self.url = f"http://127.0.0.1:{address.port}{address.path}"
        self.http = http

    async def get(self, path):
        async with self.http.get(self.url + path, headers=self.headers) as answer:
            return answer.status, await answer.read()

    def listen(self):
        return self.http.ws_connect(f"{self.url}ws?moments=1", headers=self.headers)


@pytest.mark.parametrize(
    ("proxy", "path"),
    [
        needs("nginx", "/"),
        needs("nginx", "/fairprice/"),
        needs("Caddy", "/fairprice/"),
        needs("Traefik", "/fairprice/"),
    ],
)
async def test_page_json_and_websocket_are_served_as_documented(serving, make, tmp_path, proxy, path):
    async with (
        serving(http_names=(NAME,)) as gateway,
        behind(proxy, gateway, tmp_path, path=path) as page,
    ):
        await gateway.publish(make.book(1), make.price(1))
        client = Client(gateway.http, page)
        status, body = await client.get("")
        assert (status, b"<title>Fairprice</title>" in body) == (200, True)
        for file in ("static/page.js", "static/uplot/uPlot.iife.min.js", "readyz", "api/prices/btcusdt"):
            assert (await client.get(file))[0] in {200, 503}
        async with client.listen() as socket:
            while (frame := orjson.loads(await soon(socket.receive_str())))["type"] != "moment":
                pass
            assert frame["update_id"] == make.price(1).update_id


@pytest.mark.parametrize(("proxy", "path"), [needs("nginx", "/"), needs("Caddy", "/fairprice/")])
async def test_without_the_setting_listeners_are_refused_and_the_log_says_what_to_set(serving, tmp_path, proxy, path):
    async with serving() as gateway, behind(proxy, gateway, tmp_path, path=path) as page:
        client = Client(gateway.http, page)
        with capture_logs() as log:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.listen()
            told = [line for line in log if line["log_level"] == "warning"]
        assert refused.value.status == (403 if proxy == "nginx" else 421)  # nginx puts another Host in
        assert len(told) == 1
        assert NAME in str(told[0])


@pytest.mark.parametrize("proxy", [needs("nginx")])
async def test_a_proxy_without_the_lines_for_websockets_is_told_in_the_log(serving, tmp_path, proxy):
    def change(block):
        return "\n".join(line for line in block.splitlines() if "proxy_set_header" not in line)

    async with (
        serving(http_names=(NAME,)) as gateway,
        behind(proxy, gateway, tmp_path, path="/", change=change) as page,
    ):
        client = Client(gateway.http, page)
        with capture_logs() as log:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.listen()
            assert ["Upgrade and Connection" in line["event"] for line in log if line["log_level"] == "warning"] == [
                True
            ]
        assert refused.value.status == 400


@pytest.mark.parametrize("proxy", [needs("nginx"), needs("Caddy"), needs("Traefik")])
async def test_the_path_without_its_slash_leads_to_the_page(serving, tmp_path, proxy):
    async with serving(http_names=(NAME,)) as gateway, behind(proxy, gateway, tmp_path) as page:
        client = Client(gateway.http, page)
        async with gateway.http.get(client.url.rstrip("/"), headers=client.headers, allow_redirects=False) as answer:
            assert answer.status in {301, 302}
            assert urlsplit(answer.headers["Location"]).path == "/fairprice/"
