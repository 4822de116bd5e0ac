"""The history in a real InfluxDB: the contract, and what a person is told where it cannot be read."""

import pytest
from history_contract import BTC, START, HistoryContract
from influx_server import ABSENT, Org, PrivateServer, named_server, new_org, programs
from ports import free_port
from pydantic import SecretStr

from fairprice.errors import StoreUnavailable
from fairprice.store_address import InfluxAddress
from gateway.stored.influxdb import InfluxHistory
from gateway.stored.port import MINUTE

pytestmark = [pytest.mark.influxdb, pytest.mark.xdist_group("influxdb")]

INTEGERS = {"update_id", "from_update_id", "to_update_id", "open_ids"}
MARKS = str.maketrans({mark: f"\\{mark}" for mark in ", ="})


class Kept:
    """Points of two buckets, written as the storer and the task of the bars write them."""

    def __init__(self, org: Org, history: InfluxHistory):
        self._org = org
        self.history = history
        self._lines = {"ticks": [], "bars": []}

    def put(self, measurement, time, venue, symbol, **fields):
        values = ",".join(f"{name}={_value(name, value)}" for name, value in fields.items() if value is not None)
        tags = f"venue={venue.translate(MARKS)},symbol={symbol.translate(MARKS)}"
        bucket = "bars" if measurement == "fair_price_1m" else "ticks"
        self._lines[bucket].append(f"{measurement},{tags} {values} {time}")

    async def store(self):
        for bucket, lines in self._lines.items():
            body = "\n".join(lines).encode()
            if body:
                names = {"org": self._org.name, "bucket": bucket, "precision": "us"}
                self._org.server.call("POST", "/api/v2/write", body, **names)


def _value(name, value):
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if name in INTEGERS else str(value)


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory):
    found = programs()
    if not found:
        yield named_server() or pytest.skip(ABSENT)
        return
    server = PrivateServer(tmp_path_factory.mktemp("influxdb"), found[0])
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def org(influxdb):
    with new_org(influxdb) as org:
        org.make_bucket("bars")
        yield org


def read_token(org):
    resources = [{"type": "buckets", "id": org.bucket_id(name), "orgID": org.id} for name in ("ticks", "bars")]
    permissions = [{"action": "read", "resource": each} for each in resources]
    return org.server.call("POST", "/api/v2/authorizations", {"orgID": org.id, "permissions": permissions})["token"]


@pytest.fixture
async def kept(org):
    history = InfluxHistory(org.address, SecretStr(read_token(org)))
    yield Kept(org, history)
    await history.close()


class TestInfluxdb(HistoryContract):
    """Collects the contract."""


async def test_a_token_that_may_not_read_is_told_with_what_to_do(org):
    for token, told in (("wrong", "answered 401"), (org.make_token("write"), "may not read it")):
        history = InfluxHistory(org.address, SecretStr(token))
        with pytest.raises(StoreUnavailable, match=told) as failure:
            await history.ticks(BTC, START, START + MINUTE, 1_000_000)
        assert "FAIRPRICE_STORE_TOKEN" in str(failure.value)
        await history.close()


async def test_a_server_that_is_away_is_told():
    address = InfluxAddress(f"http://127.0.0.1:{free_port()}", "market", "ticks")
    history = InfluxHistory(address, SecretStr("any"))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await history.keys()
    await history.close()
