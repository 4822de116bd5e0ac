"""What orchestrators and Prometheus get to see of a service."""

import json
import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE

from fairprice.errors import StartupError
from fairprice.runtime.health import describe, health_routes, serve, serve_health
from fairprice.runtime.metrics import Exporter

HOST = "127.0.0.1"


@pytest.fixture
async def get():
    """Fetch a path of an address; return status, content type and body."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:

        async def fetch(url):
            async with session.get(url) as response:
                return response.status, response.headers["Content-Type"], await response.text()

        yield fetch


def routes(checks=None, registry=None):
    return health_routes(checks or {}, registry or CollectorRegistry())


async def test_a_service_whose_event_loop_runs_is_alive_even_if_it_is_not_ready(get):
    async with serve(routes({"stream": lambda: "not connected"}), HOST, 0) as address:
        status, content_type, body = await get(f"{address}/livez")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    assert json.loads(body) == {"status": "alive"}


async def test_a_service_that_is_not_ready_says_why(get):
    checks = {"stream": lambda: "not connected to ws://x", "books": lambda: None, "store": lambda: "full"}
    async with serve(routes(checks), HOST, 0) as address:
        status, content_type, body = await get(f"{address}/readyz")
    assert (status, content_type) == (503, "application/json")
    problems = {"stream": "not connected to ws://x", "store": "full"}
    assert json.loads(body) == {"status": "not ready", "problems": problems, "notes": {}}


async def test_what_a_person_should_know_changes_nothing_about_being_ready(get):
    notes = {"symbols": lambda: "BTCUSDT is halted", "audit": lambda: None}
    async with serve(health_routes({}, CollectorRegistry(), notes), HOST, 0) as address:
        status, _, body = await get(f"{address}/readyz")
    assert status == 200
    assert json.loads(body) == {"status": "ready", "problems": {}, "notes": {"symbols": "BTCUSDT is halted"}}


async def test_readiness_is_looked_at_with_every_request(get):
    problem: list[str] = ["not in sync"]
    async with serve(routes({"books": lambda: problem[0] if problem else None}), HOST, 0) as address:
        first, _, _ = await get(f"{address}/readyz")
        problem.clear()
        second, _, body = await get(f"{address}/readyz")
    assert (first, second) == (503, 200)
    assert json.loads(body) == {"status": "ready", "problems": {}, "notes": {}}


async def test_metrics_are_what_prometheus_reads(get):
    registry = CollectorRegistry()
    registry.register(Exporter(lambda: [("gateway_clients", (), 3), ("storer_rows_total", ("gap",), 2)]))
    async with serve(routes(registry=registry), HOST, 0) as address:
        status, content_type, body = await get(f"{address}/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    assert [(sample.name, sample.labels, sample.value) for sample in samples] == [
        ("fairprice_gateway_clients", {}, 3),
        ("fairprice_storer_rows_total", {"measurement": "gap"}, 2),
    ]


async def test_other_paths_and_methods_are_refused(get):
    async with serve(routes(), HOST, 0) as address, aiohttp.ClientSession() as session:
        assert (await get(f"{address}/"))[0] == 404
        async with session.post(f"{address}/livez") as response:
            assert response.status == 405


async def test_the_address_names_the_port_that_was_taken(get):
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    async with serve(routes(), HOST, port) as address:
        assert address == f"http://{HOST}:{port}"


async def test_an_address_of_ip_version_6_can_be_opened(get):
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no address ::1")
    async with serve(routes(), "::1", 0) as address:
        assert address.startswith("http://[::1]:")
        assert (await get(f"{address}/livez"))[0] == 200


async def test_a_port_in_use_is_a_startup_error_that_says_what_to_do():
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartupError) as raised:
            async with serve(routes(), HOST, port):
                pytest.fail("it served on a port that was taken")
    text = str(raised.value)
    assert f"cannot listen on {HOST}:{port}" in text
    assert "in use" in text
    assert "FAIRPRICE_HTTP_PORT" in text
    assert "\n" not in text


async def test_a_host_that_is_not_here_is_a_startup_error():
    with pytest.raises(StartupError, match=r"cannot listen on 192\.0\.2\.1:0: .*; FAIRPRICE_HTTP_HOST has to be"):
        async with serve(routes(), "192.0.2.1", 0):
            pytest.fail("it served on an address of somebody else")


async def test_the_port_is_free_again_after_the_context(get):
    with pytest.raises(ZeroDivisionError):
        async with serve(routes(), HOST, 0) as address:
            raise ZeroDivisionError
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(f"{address}/livez")
    port = int(address.rpartition(":")[2])
    async with serve(routes(), HOST, port) as again:
        assert again == address


def test_what_was_looked_at_is_said_line_by_line():
    assert describe({"settings": None, "broker": "not there"}) == "settings   all right\nbroker     not there"


async def test_the_usual_port_gives_way_to_the_environment():
    async with serve_health({"FAIRPRICE_HTTP_PORT": "0"}, "test", 8002, {}) as url:
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(":8002")


@pytest.mark.parametrize("variable", ["", "tcp://10.0.0.1:80"])
async def test_a_port_that_nobody_has_chosen_leaves_the_usual_one(variable):
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    async with serve_health({"FAIRPRICE_HTTP_PORT": variable}, "test", port, {}) as url:
        assert url == f"http://{HOST}:{port}"
