"""The InfluxDB store against a real server: what is kept, what is refused, and what a person is told."""

import math
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from exchange_data import START, gap, price
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from influx_server import Org, Server
from pydantic import SecretStr
from store_contract import Kept, StoreContract

from fairprice.errors import StoreUnavailable
from fairprice.runtime.settings import FileSecret
from fairprice.store_address import InfluxAddress
from storer.measurements import Point, fair_price_point, gap_point
from storer.stores import influxdb
from storer.stores.influxdb import open_influxdb

pytestmark = pytest.mark.influxdb


@asynccontextmanager
async def opened(org: Org, *, token: SecretStr | None = None, address: InfluxAddress | None = None, **options):
    secret = SecretStr(org.make_token("read", "write")) if token is None else token
    store = open_influxdb(address or org.address, secret, **options)
    requests = []
    write = store._api.write

    async def counted(*arguments, record, **keywords):
        requests.append(record.count(b"\n") + 1)
        return await write(*arguments, record=record, **keywords)

    store._api.write = counted
    store.requests = requests
    try:
        yield store
    finally:
        await store.close()


def points(count: int, first: int = 1) -> list[Point]:
    return [fair_price_point(price(number)) for number in range(first, first + count)]


def malformed(number: int) -> Point:
    """Return a point that our side takes for good and the server for none."""
    return Point(
        "order_book", START + number * 1000, "binance", "BTCUSDT", {"update_id": number}, {"bid_price_00": "1,5"}
    )


def conflicting(number: int) -> Point:
    """Return a point whose price is an integer, where the server knows floats."""
    return Point("fair_price", START + number * 1000, "binance", "BTCUSDT", {"price": number, "update_id": number})


class TestInfluxdb(StoreContract):
    """Collects the contract."""

    @pytest.fixture
    async def kept(self, org):
        async with opened(org) as store:
            yield Kept(store, lambda measurement: org.rows(f"SELECT * FROM {measurement} WHERE time >= 0"))


async def test_the_types_of_fields_follow_from_the_names(org):
    async with opened(org) as store:
        await store.write([gap_point(gap(3))])
        assert store.requests == [1]
    assert org.rows("SHOW FIELD KEYS FROM gap") == [
        {"fieldKey": "duration_ms", "fieldType": "float"},
        {"fieldKey": "from_update_id", "fieldType": "integer"},
        {"fieldKey": "open_ids", "fieldType": "integer"},
        {"fieldKey": "reason", "fieldType": "string"},
        {"fieldKey": "to_update_id", "fieldType": "integer"},
    ]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)
TAGS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=10).filter(
    lambda text: not text.endswith("\\") and not any(f"\\{mark}" in text for mark in ",= ")
)
DECIMALS = st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True)
BATCHES = st.lists(st.tuples(TAGS, FLOATS, st.integers(-(2**63), 2**63 - 1), TEXTS, DECIMALS), min_size=60, max_size=60)


@settings(max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
@given(batch=BATCHES)
async def test_strange_values_come_back_as_they_were(org, batch):
    written = [
        Point("gap", START + number, "v", tag, {"a": a, "n": n, "text": text}, {"b": b})
        for number, (tag, a, n, text, b) in enumerate(batch)
    ]
    async with opened(org) as store:
        assert await store.write(written) == []
    rows = {row["time"]: row for row in org.rows("SELECT symbol, a, b, n, text FROM gap WHERE time >= 0")}
    for point, (tag, a, n, text, b) in zip(written, batch, strict=True):
        row = rows[point.time]
        assert (row["symbol"], row["n"], row["text"]) == (tag, n, text)
        assert (float(row["a"]), float(row["b"])) == (a, float(b))
    org.server.call(
        "POST", "/api/v2/delete", {"start": "2024-01-01T00:00:00Z", "stop": "2025-01-01T00:00:00Z"},
        org=org.name, bucket="ticks",
    )  # fmt: skip


async def test_of_two_different_points_with_one_key_the_last_one_stays(org):
    async with opened(org) as store:
        await store.write([fair_price_point(price(1)), fair_price_point(replace(price(1), update_id=9, price=None))])
    (row,) = org.rows("SELECT update_id, price FROM fair_price")
    assert (row["update_id"], row["price"]) == (9, 1.25)  # a missing field replaces nothing: the port says so


async def test_a_batch_larger_than_a_request_is_written_in_parts(org):
    async with opened(org, max_body=5000) as store:
        assert await store.write(points(100)) == []
    assert sum(store.requests) == 100
    assert len(store.requests) > 3
    assert org.count() == 100


async def test_what_our_side_refuses_never_leaves(org):
    nan = Point("fair_price", START, "binance", "BTCUSDT", {"price": math.nan, "update_id": 0})
    async with opened(org) as store:
        (rejection,) = await store.write([*points(2), nan, *points(2, first=3)])
        assert (rejection.index, rejection.reason) == (2, "nan is no number that can be stored")
        assert store.requests == [4]
    assert org.count() == 4


@pytest.mark.parametrize("bad", [malformed, conflicting], ids=["400, nothing stored", "422, the others stored"])
@pytest.mark.parametrize("places", [[0], [999], [3, 500, 501], list(range(400, 450))])
async def test_bad_lines_are_found_and_the_others_are_stored(org, bad, places):
    async with opened(org) as store:
        await store.write(points(1))
        store.requests.clear()
        batch = points(1000)
        for place in places:
            batch[place] = bad(place + 1)
        rejections = await store.write(batch)
        assert [rejection.index for rejection in rejections] == places
        assert len(store.requests) <= 1 + 2 * len(places) * math.ceil(math.log2(1000))
    assert all("invalid" in rejection.reason or "type conflict" in rejection.reason for rejection in rejections)
    assert all(len(rejection.reason) < 500 for rejection in rejections)
    stored = {row["update_id"] for row in org.rows("SELECT update_id FROM fair_price")}
    assert stored == set(range(1, 1001)) - {place + 1 for place in places} | {1}


@pytest.mark.parametrize("bad", [malformed, conflicting])
async def test_a_batch_of_bad_lines_only_takes_one_request(org, bad):
    async with opened(org) as store:
        await store.write(points(1))
        store.requests.clear()
        rejections = await store.write([bad(number) for number in range(2, 500)])
        assert (len(rejections), store.requests) == (498, [498])
    assert org.count() == 1


async def test_points_that_are_older_than_the_bucket_keeps_are_rejected_by_name(org):
    org.make_bucket("short", 3600)
    address = replace(org.address, bucket="short")
    now = time.time_ns() // 1000
    batch = [replace(point, time=now + point.fields["update_id"]) for point in points(3)]
    batch[1] = points(1)[0]
    async with opened(org, address=address, token=SecretStr(org.make_token("write", bucket="short"))) as store:
        (rejection,) = await store.write(batch)
    assert rejection.index == 1
    assert "outside retention policy of duration 1h0m0s" in rejection.reason
    assert len(org.rows("SELECT update_id FROM fair_price", bucket="short")) == 2


async def test_a_write_may_be_compressed(org):
    async with opened(org, compress=True) as store:
        batch = [*points(500), malformed(501)]
        (rejection,) = await store.write(batch)
    assert rejection.index == 500
    assert org.count() == 500


async def test_a_ping_asks_whether_points_would_be_taken(org):
    async with opened(org) as store:
        await store.ping()
    async with opened(org, token=SecretStr(org.make_token("read"))) as store:
        with pytest.raises(StoreUnavailable, match="answered 403"):
            await store.ping()


@pytest.mark.parametrize(
    ("token", "status", "remedy"),
    [("wrong", 401, "put a valid token"), ("", 401, "put a valid token"), ("reader", 403, "the right to write")],
)
async def test_a_token_that_does_not_do_is_for_a_person(org, token, status, remedy):
    secret = SecretStr(org.make_token("read") if token == "reader" else token)
    async with opened(org, token=secret) as store:
        with pytest.raises(StoreUnavailable, match=f"answered {status}.*{remedy}") as raised:
            await store.write(points(1))
    assert raised.value.retry_after == influxdb.SLOWLY
    assert org.count() == 0


@pytest.mark.parametrize("changes", [{"bucket": "tics"}, {"org": "no such organization"}])
async def test_a_bucket_or_organization_that_is_missing_is_for_a_person(org, changes):
    async with opened(org, address=replace(org.address, **changes)) as store:
        with pytest.raises(StoreUnavailable, match=r"answered 404: .* not found; make the organization") as raised:
            await store.write(points(1))
    assert raised.value.retry_after == influxdb.SLOWLY


async def test_a_bucket_that_is_made_later_takes_the_same_batch(org):
    everything = SecretStr(org.server.token)
    async with opened(org, token=everything, address=replace(org.address, bucket="later")) as store:
        with pytest.raises(StoreUnavailable):
            await store.write(points(3))
        org.make_bucket("later")
        assert await store.write(points(3)) == []
    assert len(org.rows("SELECT update_id FROM fair_price", bucket="later")) == 3


async def test_a_token_that_is_revoked_and_replaced_in_its_file_is_taken_at_once(org: Org, influxdb: Server, tmp_path):
    first = org.make_authorization("write")
    file = tmp_path / "token"
    file.write_text(first["token"] + "\n")
    async with opened(org, token=FileSecret(file)) as store:
        await store.write(points(1))
        influxdb.call("DELETE", f"/api/v2/authorizations/{first['id']}")
        with pytest.raises(StoreUnavailable, match="answered 401") as raised:
            await store.write(points(2))
        assert raised.value.retry_after
        file.write_text(org.make_token("write"))
        with pytest.raises(StoreUnavailable, match="answered 401") as raised:
            await store.write(points(2))
        assert raised.value.retry_after is None
        assert await store.write(points(2)) == []
        file.unlink()
        assert await store.write(points(3)) == []
    assert org.count() == 3


async def test_a_token_file_that_vanished_is_said_to_be_so(org, tmp_path):
    file = tmp_path / "token"
    file.write_text("wrong")
    async with opened(org, token=FileSecret(file)) as store:
        file.unlink()
        with pytest.raises(StoreUnavailable, match=r"cannot read InfluxDB's token: .*No such file"):
            await store.write(points(1))


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (lambda org: org.make_token("write"), "may not read it: `storer provision` gives"),
        (lambda org: org.make_token("read", bucket="other"), "may not read it: `storer provision` gives"),
        (lambda _org: "nonsense", "answered 401: .*; put a valid token into FAIRPRICE_STORE_TOKEN"),
    ],
)
async def test_whoever_may_not_read_is_told_what_to_do(org, token, told):
    org.make_bucket("other")
    async with opened(org, token=SecretStr(token(org))) as store:
        with pytest.raises(StoreUnavailable, match=told):
            await store.keys("fair_price", 0, START)
        with pytest.raises(StoreUnavailable, match=told):
            await anext(store.rows("fair_price", ["price"], "binance", "BTCUSDT", 0, START))


async def test_reading_goes_on_with_the_token_that_the_file_holds_now(org, tmp_path):
    file = tmp_path / "token"
    file.write_text(org.make_token("write"))
    async with opened(org, token=FileSecret(file)) as store:
        with pytest.raises(StoreUnavailable):
            await store.keys("fair_price", 0, START)
        file.write_text(org.make_token("read"))
        assert await store.keys("fair_price", 0, START) == []


async def test_a_server_that_is_gone_cannot_be_read():
    async with AsyncExitStack() as stack:
        store = open_influxdb(InfluxAddress("http://127.0.0.1:9", "o", "b"), SecretStr("t"))
        stack.push_async_callback(store.close)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.keys("fair_price", 0, START)
