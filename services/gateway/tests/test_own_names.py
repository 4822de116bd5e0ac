"""Who asks for another name than the gateway's, as a page does after DNS rebinding, is answered 421."""

import pytest

from fairprice.errors import SettingsError
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


def test_names_are_given_with_commas_and_without_port():
    settings = GatewaySettings.load({"FAIRPRICE_HTTP_NAMES": "prices.example.org, 192.0.2.7"})
    assert settings.http_names == ("prices.example.org", "192.0.2.7")
    for wrong in ("http://prices.example.org", "prices.example.org:443", "*.example.org"):
        with pytest.raises(SettingsError, match=r"FAIRPRICE_HTTP_NAMES.*without a port"):
            GatewaySettings.load({"FAIRPRICE_HTTP_NAMES": wrong})
