"""Who asks for another name than the gateway's, as a page does after DNS rebinding, is answered 421."""

import aiohttp
import pytest
from structlog.testing import capture_logs

from fairprice.errors import SettingsError
from gateway.own_names import MOST_ORIGINS
from gateway.settings import GatewaySettings

OWN = [
    "localhost",
    "LOCALHOST:8000",
    "127.0.0.1",
    "127.0.0.1:9",
    "[::1]",
    "[::1]:8000",
    "localhost.",
    "prices.example.org:443",
]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "192.0.2.7",
    "[2001:db8::1]",
    "",
]


async def get(gateway, path, host):
    async with gateway.http.get(gateway.url + path, headers={"Host": host}) as answer:
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.parametrize("host", OWN)
async def test_its_own_names_are_answered_whatever_the_port(serving, host):
    async with serving(http_names=("prices.example.org",)) as gateway:
        for path in ("/", "/api/prices", "/static/page.js"):
            status, _, _ = await get(gateway, path, host)
            assert status == 200


@pytest.mark.parametrize("host", FOREIGN)
async def test_other_names_are_answered_421_with_the_setting_for_more(serving, host):
    async with serving(http_names=("prices.example.org",)) as gateway:
        for path, kind in (("/", "text/plain"), ("/static/page.js", "text/plain"), ("/nothing", "text/plain"),
                           ("/api/prices", "application/json"), ("/ws", "application/json")):  # fmt: skip
            status, content_type, text = await get(gateway, path, host)
            assert (status, content_type) == (421, kind)
            assert "FAIRPRICE_HTTP_NAMES" in text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_may_use_any_name(gateway, path):
    status, _, _ = await get(gateway, path, "gateway:8000")
    assert status in {200, 503}


async def test_a_page_of_a_rebound_name_cannot_listen(gateway):
    headers = {"Host": "evil.example", "Origin": "http://evil.example", "Connection": "Upgrade", "Upgrade": "websocket"}
    async with gateway.http.get(f"{gateway.url}/ws", headers=headers) as answer:
        assert answer.status == 421


async def test_where_every_address_is_served_the_one_that_was_reached_is_a_name(serving):
    async with serving(http_host="0.0.0.0") as gateway:
        gateway.url = gateway.url.replace("0.0.0.0", "127.0.0.2")
        status, _, _ = await get(gateway, "/api/prices", "127.0.0.2:8000")
        assert status == 200
        status, _, _ = await get(gateway, "/api/prices", "127.0.0.3:8000")
        assert status == 421


async def refusal(gateway, origin, **headers):
    """Return the status of a refused listener, None when it may listen."""
    try:
        async with gateway.listen(origin=origin, headers=headers):
            return None
    except aiohttp.WSServerHandshakeError as error:
        return error.status


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "null",
        "http://[",
        "http://127.0.0.1:x",
        "file://",
    ],
)
async def test_pages_of_other_origins_are_refused_and_the_log_says_so_once(gateway, origin):
    with capture_logs() as log:
        for _ in range(50):
            assert await refusal(gateway, origin) == 403
    refused = [line for line in log if line["event"].startswith("listener refused")]
    assert [(line["origin"], line["log_level"]) for line in refused] == [(origin, "warning")]
    assert "FAIRPRICE_HTTP_NAMES" in refused[0]["event"]


async def test_ever_new_origins_do_not_fill_the_log(gateway):
    with capture_logs() as log:
        for number in range(3 * MOST_ORIGINS // 2):
            assert await refusal(gateway, f"https://evil-{number}.example") == 403
    assert len([line for line in log if line["log_level"] == "warning"]) <= MOST_ORIGINS + 1


async def test_a_request_for_another_name_is_in_the_log_once(gateway):
    with capture_logs() as log:
        for _ in range(10):
            await get(gateway, "/", "evil.example")
    assert [line["host"] for line in log if line["event"].startswith("request refused")] == ["evil.example"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("{url}", None),  # opened here
        ("http://localhost:9000", "localhost:9000"),  # by a tunnel on another port
        ("http://localhost:9000", "LOCALHOST:9000"),
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost"),
        ("https://localhost", "localhost:443"),
        ("https://prices.example.org", "prices.example.org"),  # a proxy that keeps the name
        ("https://prices.example.org:8443", "127.0.0.1:8000"),  # one that puts its own upstream's in its place
        ("https://Prices.Example.ORG", "localhost"),
    ],
)
async def test_its_own_page_may_listen_behind_a_tunnel_and_a_proxy(serving, origin, host):
    async with serving(http_names=("prices.example.org",)) as gateway:
        headers = {"Host": host} if host else {}
        assert await refusal(gateway, origin.format(url=gateway.url), **headers) is None


async def test_what_a_page_can_send_itself_opens_nothing(gateway):
    headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    assert await refusal(gateway, "https://evil.example", **headers) == 403


async def test_a_proxy_that_drops_the_upgrade_is_told_in_words(gateway):
    headers = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    with capture_logs() as log:
        for _ in range(3):
            async with gateway.http.get(f"{gateway.url}/ws", headers=headers) as answer:
                assert answer.status == 400
                assert "Upgrade and Connection" in (await answer.json())["error"]
    assert ["Upgrade and Connection" in line["event"] for line in log if line["log_level"] == "warning"] == [True]


def test_names_are_given_with_commas_and_without_port():
    settings = GatewaySettings.load({"FAIRPRICE_HTTP_NAMES": "prices.example.org, 192.0.2.7"})
    assert settings.http_names == ("prices.example.org", "192.0.2.7")
    for wrong in ("http://prices.example.org", "prices.example.org:443", "*.example.org"):
        with pytest.raises(SettingsError, match=r"FAIRPRICE_HTTP_NAMES.*without a port"):
            GatewaySettings.load({"FAIRPRICE_HTTP_NAMES": wrong})
