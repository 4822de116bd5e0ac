"""Gives the tests of this folder an InfluxDB where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from influx_server import ABSENT, UNKILLABLE, Org, PrivateServer, Server, named_server, new_org, programs


@pytest.fixture(scope="session", params=programs() or [None], ids=lambda program: Path(program or "given").name)
def influxdb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of each program that there is; without any the one that a URL names."""
    if not request.param:
        yield named_server() or pytest.skip(ABSENT)
        return
    server = PrivateServer(tmp_path_factory.mktemp("influxdb"), request.param)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def org(influxdb: Server) -> Iterator[Org]:
    with new_org(influxdb) as org:
        yield org


@pytest.fixture
def killable(influxdb: Server) -> Iterator[PrivateServer]:
    """A private server, which is well again afterwards."""
    if not isinstance(influxdb, PrivateServer):
        pytest.skip(UNKILLABLE)
    yield influxdb
    influxdb.thaw()
    influxdb.kill()
    influxdb.start()
