"""Lets the test modules of this folder import what they share, and gives them an InfluxDB where there is one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "shared" / "tests")]
pytest.register_assert_rewrite("influx_server", "exchange_data", "store_contract")

from influx_server import ABSENT, UNKILLABLE, Org, PrivateServer, Server, is_on_path, named_server, new_org  # noqa: E402


@pytest.fixture(scope="session")
def private_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    if not is_on_path():
        pytest.skip(UNKILLABLE)
    server = PrivateServer(tmp_path_factory.mktemp("influxdb"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def influxdb(request: pytest.FixtureRequest) -> Server:
    if is_on_path():
        return request.getfixturevalue("private_server")
    return named_server() or pytest.skip(ABSENT)


@pytest.fixture
def org(influxdb: Server) -> Iterator[Org]:
    with new_org(influxdb) as org:
        yield org


@pytest.fixture
def killable(private_server: PrivateServer) -> Iterator[PrivateServer]:
    """The private server, which is well again afterwards."""
    yield private_server
    private_server.thaw()
    private_server.kill()
    private_server.start()
