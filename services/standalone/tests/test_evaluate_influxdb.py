"""What InfluxDB holds is measured as what a file holds."""

import json
from collections.abc import Iterator

import pytest
from influx_server import ABSENT, Org, PrivateServer, named_server, new_org, programs
from pydantic import SecretStr
from test_evaluate_command import points, run, stored

from storer.stores.influxdb import open_influxdb

pytestmark = pytest.mark.influxdb


@pytest.fixture(scope="module")
def org(tmp_path_factory) -> Iterator[Org]:
    own = PrivateServer(tmp_path_factory.mktemp("influxdb"), programs()[0]) if programs() else None
    try:
        with new_org(own or named_server() or pytest.skip(ABSENT)) as org:
            yield org
    finally:
        if own:
            own.kill()


async def test_rows_of_influxdb_give_the_same_figures_as_those_of_a_file(org, tmp_path):
    rows = list(points(1500, drift=0.5, hole=700))
    file = await stored(tmp_path / "rows.db", rows)
    store = open_influxdb(org.address, SecretStr(org.make_token("write")))
    assert await store.write(rows) == []
    await store.close()
    server = {"FAIRPRICE_STORE_URL": org.store_url, "FAIRPRICE_STORE_TOKEN": org.make_token("read")}
    options = ("--from-store", "--since", "all", "--horizon", 0.5, "--json")

    of_the_file, of_the_server = [await run(*options, **where) for where in (file, server)]

    assert of_the_server == of_the_file
    assert of_the_server.found("curve_mid", 0.5)["verdict"] == "beats"
    assert json.loads(of_the_server.text)["symbols"][0]["breaks"] == 1


async def test_a_token_that_may_not_read_is_told(org):
    where = {"FAIRPRICE_STORE_URL": org.store_url, "FAIRPRICE_STORE_TOKEN": org.make_token("write")}
    done = await run("--from-store", **where)

    assert done.exit_code == 2
    assert "the token of FAIRPRICE_STORE_TOKEN may not read it" in done.error
