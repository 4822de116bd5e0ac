"""`storer provision` against a real server: what it makes, that it makes it once, and what its credentials may do."""

import asyncio
import json
import os
import random
import re
import subprocess
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import preloaded
import pytest
from influx_server import Org, new_org
from pydantic import SecretStr
from waiting import patience

from storer.measurements import Point
from storer.provisioning import bars_script
from storer.stores.influxdb import open_influxdb

needs_influxdb = pytest.mark.influxdb

MINUTE = 60_000_000
FILES = ("storer-token", "gateway-token", "grafana-token", "grafana-password")


def provision(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    variables = {f"FAIRPRICE_STORE_{name.upper()}": value for name, value in environ.items()}
    return preloaded.run("storer", "provision", *arguments, environ=clean | variables, strict=True)


@dataclass
class Place:
    """An organization and a folder for the secrets."""

    org: Org
    folder: Path

    @property
    def user(self) -> str:
        return f"grafana-{self.org.name}"  # a name belongs to one organization of a server

    @property
    def things(self) -> list[str]:
        return [*THINGS, f"InfluxQL user {self.user}"]

    def provision(self, **environ: str) -> dict[str, str]:
        """Return the outcomes by thing."""
        options = ["--grafana-user", self.user, *(f"--{name}-file={self.folder / name}" for name in FILES)]
        done = provision(*options, url=self.org.store_url, token=self.org.server.token, **environ)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
        return {thing: outcome for outcome, thing in lines}

    def secret(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def task(self) -> dict[str, str]:
        (task,) = self.org.server.call("GET", "/api/v2/tasks", orgID=self.org.id)["tasks"]
        return task

    def state(self) -> object:
        """Return everything that InfluxDB keeps for the organization."""
        call, org = self.org.server.call, self.org.id
        mine = ("token", "permissions", "id", "status", "description")
        authorizations = [
            {name: each[name] for name in mine}
            for path in ("/api/v2/authorizations", "/private/legacy/authorizations")
            for each in call("GET", path, orgID=org)["authorizations"]
        ]
        buckets = call("GET", "/api/v2/buckets", orgID=org)["buckets"]
        return authorizations, [(each["name"], each["retentionRules"]) for each in buckets], self.task()["id"]


THINGS = [
    "bucket ticks, keeps 168 h",
    "bucket bars, keeps everything",
    "task fair_price_1m, makes the bars",
    'token "fairprice storer: read and write ticks"',
    'token "fairprice gateway: read"',
    'token "fairprice grafana: read"',
]


@pytest.fixture
def place(org, tmp_path):
    return Place(org, tmp_path / "secrets")


def refused(call, *arguments, **options) -> int:
    with pytest.raises(HTTPError) as raised:
        call(*arguments, **options)
    raised.value.close()
    return raised.value.code


@needs_influxdb
def test_everything_is_made_and_running_it_twice_changes_nothing(place):
    assert place.provision() == {**dict.fromkeys(place.things, "made"), THINGS[0]: "changed"}  # `ticks` was there
    before = place.state(), [place.secret(name) for name in FILES]
    assert place.provision() == dict.fromkeys(place.things, "unchanged")
    assert (place.state(), [place.secret(name) for name in FILES]) == before
    assert {path.stat().st_mode & 0o777 for path in place.folder.iterdir()} == {0o600}
    assert sorted(path.name for path in place.folder.iterdir()) == sorted(FILES)


@needs_influxdb
def test_each_token_may_do_its_work_and_nothing_else(place):
    place.provision(retention="none")
    call, org = place.org.server.call, place.org
    writer, reader, gateway = (place.secret(f"{name}-token") for name in ("storer", "grafana", "gateway"))
    line = b"fair_price,symbol=S,venue=v price=1.5 1723075200000000"
    where = {"org": org.name, "bucket": "ticks", "precision": "us"}

    call("POST", "/api/v2/write", line, token=writer, **where)
    assert refused(call, "POST", "/api/v2/write", line, token=writer, **where | {"bucket": "bars"}) in {403, 404}
    for token in (reader, gateway):
        assert refused(call, "POST", "/api/v2/write", line, token=token, **where) == 403
    for token in (writer, reader, gateway):
        assert [row["price"] for row in org.rows("SELECT price FROM fair_price", token=token)] == [1.5]
        assert org.rows("SELECT * FROM fair_price_1m", bucket="bars", token=token) == []
        assert call("GET", "/api/v2/authorizations", token=token)["authorizations"] == []
        assert refused(call, "POST", "/api/v2/buckets", {"orgID": org.id, "name": "x"}, token=token) in {401, 403}


def ask(org: Org, user: str, password: str, query: str) -> dict[str, list[dict[str, object]]]:
    request = Request(f"{org.server.url}/query?{urlencode({'db': 'ticks', 'q': query})}")
    request.add_header("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
    with urlopen(request) as response:
        return json.load(response)


@needs_influxdb
def test_grafana_reads_both_buckets_by_influxql_with_user_and_password(place):
    place.folder.mkdir()
    (place.folder / "grafana-password").write_text("chosen-beforehand\n")
    place.provision()
    for query in ("SELECT price FROM fair_price", 'SELECT close FROM "bars"."autogen"."fair_price_1m"'):
        assert ask(place.org, place.user, "chosen-beforehand", query) == {"results": [{"statement_id": 0}]}
    assert refused(ask, place.org, place.user, "wrong-password", "SHOW MEASUREMENTS") == 401


@needs_influxdb
def test_what_was_spoilt_is_mended(place):
    place.provision()
    call, org = place.org.server.call, place.org
    call("PATCH", f"/api/v2/tasks/{place.task()['id']}", {"status": "inactive"})
    call("DELETE", f"/api/v2/buckets/{org.bucket_id('bars')}")
    (place.folder / "storer-token").write_text("not a token")
    (place.folder / "grafana-password").write_text("another-password")
    assert place.provision(retention="none") == {
        "bucket ticks, keeps everything": "changed",
        "bucket bars, keeps everything": "made",
        "task fair_price_1m, makes the bars": "changed",
        'token "fairprice storer: read and write ticks"': "changed",
        'token "fairprice gateway: read"': "changed",
        'token "fairprice grafana: read"': "changed",
        f"InfluxQL user {place.user}": "changed",
    }
    assert set(place.provision(retention="none").values()) == {"unchanged"}
    ask(org, place.user, "another-password", "SHOW MEASUREMENTS")


@needs_influxdb
def test_a_token_is_rotated_by_removing_its_file(place):
    """From 2.9 on the server keeps hashes only, so a token that is lost can be replaced and not be read back."""
    place.provision()
    lost = place.secret("storer-token")
    (place.folder / "storer-token").unlink()
    outcomes = place.provision()
    assert [thing for thing, outcome in outcomes.items() if outcome != "unchanged"] == [THINGS[3]]
    where = {"org": place.org.name, "bucket": "ticks"}
    assert refused(place.org.server.call, "POST", "/api/v2/write", b"", token=lost, **where) == 401
    place.org.server.call("POST", "/api/v2/write", b"", token=place.secret("storer-token"), **where)


@needs_influxdb
def test_a_token_of_an_earlier_release_that_may_not_read_is_replaced(place):
    org = place.org
    old = org.make_authorization("write", description="fairprice storer: write ticks")
    place.folder.mkdir()
    (place.folder / "storer-token").write_text(old["token"])
    assert place.provision()[THINGS[3]] == "changed"
    assert org.rows("SELECT * FROM fair_price", token=place.secret("storer-token")) == []
    known = org.server.call("GET", "/api/v2/authorizations", orgID=org.id)["authorizations"]
    assert old["id"] not in {each["id"] for each in known}


@needs_influxdb
def test_a_secret_without_a_file_is_shown_once_and_works(place):
    org = place.org
    first, second = (
        provision("--grafana-user", place.user, url=org.store_url, token=org.server.token) for _ in range(2)
    )
    (line,) = (line for line in first.stdout.splitlines() if "storer" in line)
    token = line.rpartition(" ")[2]
    org.server.call("POST", "/api/v2/write", b"", token=token, org=org.name, bucket="ticks")
    assert [line.split()[0] for line in second.stdout.splitlines()] == ["unchanged"] * 7
    assert token not in second.stdout


@needs_influxdb
def test_two_organizations_on_one_server_do_not_disturb_each_other(place, tmp_path):
    with new_org(place.org.server) as other:
        neighbour = Place(other, tmp_path / "neighbour")
        place.provision()
        neighbour_outcomes = neighbour.provision()
        assert neighbour_outcomes['token "fairprice storer: read and write ticks"'] == "made"
        assert set(place.provision().values()) == {"unchanged"}


@needs_influxdb
async def test_the_task_makes_the_right_bars(place):
    place.provision(retention="none")
    draw = random.Random(4)
    minute = (time.time_ns() // 1000 // MINUTE - 5) * MINUTE
    prices = {minute + draw.randrange(3 * MINUTE): draw.uniform(60000, 61000) for _ in range(400)}
    prices |= {minute: 1.5, minute + MINUTE - 1: 2.5, minute + MINUTE: 70000.5}  # both edges of a minute
    spreads = {at: draw.uniform(0.01, 1) for at in prices}
    points = [
        Point("fair_price", at, "binance", symbol, {"price": price + shift, "spread": spreads[at], "update_id": 1})
        for symbol, shift in (("BTCUSDT", 0.0), ("ETHUSDT", 0.5))
        for at, price in prices.items()
    ]
    points.append(Point("fair_price", minute + 7, "binance", "BTCUSDT", {"price": None, "update_id": 1}))
    store = open_influxdb(place.org.address, SecretStr(place.secret("storer-token")))
    assert await store.write(points) == []
    await store.close()

    await run_task(place)

    for symbol, shift in (("BTCUSDT", 0.0), ("ETHUSDT", 0.5)):
        rows = place.org.rows(f"SELECT * FROM fair_price_1m WHERE symbol = '{symbol}'", bucket="bars")
        bars = {row["time"]: row for row in rows if row["time"] < minute + 3 * MINUTE}
        assert sorted(bars) == [minute, minute + MINUTE, minute + 2 * MINUTE]
        for start, bar in bars.items():
            inside = {at: price + shift for at, price in sorted(prices.items()) if start <= at < start + MINUTE}
            values = list(inside.values())
            mean = sum(spreads[at] for at in inside) / len(inside)
            assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (
                values[0], max(values), min(values), values[-1],
            )  # fmt: skip
            assert bar["count"] == len(values)
            assert bar["spread"] == pytest.approx(mean)
    kinds = {row["fieldKey"]: row["fieldType"] for row in place.org.rows("SHOW FIELD KEYS", bucket="bars")}
    assert kinds == dict.fromkeys(["open", "high", "low", "close", "spread", "count"], "float")


@needs_influxdb
def test_the_bars_of_a_longer_time_can_be_made_at_once(place):
    place.provision(retention="none")
    minute = (time.time_ns() // 1000 // MINUTE - 600) * MINUTE
    line = f"fair_price,symbol=S,venue=v price=1.5 {minute + 7}".encode()
    where = {"org": place.org.name, "bucket": "ticks", "precision": "us"}
    place.org.server.call("POST", "/api/v2/write", line, token=place.secret("storer-token"), **where)
    script = re.sub("option task.*\n", "", bars_script("ticks")).replace("d: 15m", "d: 7d")
    url = f"{place.org.server.url}/api/v2/query?org={place.org.name}"
    request = Request(url, script.encode(), {"Content-Type": "application/vnd.flux"})
    request.add_header("Authorization", f"Token {place.org.server.token}")
    urlopen(request).close()
    (row,) = place.org.rows("SELECT time, close, count FROM fair_price_1m", bucket="bars")
    assert row == {"time": minute, "close": 1.5, "count": 1.0}


async def run_task(place: Place) -> None:
    path = f"/api/v2/tasks/{place.task()['id']}/runs"
    run = place.org.server.call("POST", path, {})["id"]
    status = None
    async with patience():
        while status not in {"success", "failed", "canceled"}:
            await asyncio.sleep(0.05)
            statuses = {each["id"]: each["status"] for each in place.org.server.call("GET", path)["runs"]}
            status = statuses.get(run)
    assert status == "success", place.org.server.call("GET", f"{path}/{run}/logs")


@needs_influxdb
def test_what_stands_in_the_way_is_told_in_one_line(org, tmp_path):
    good = {"url": org.store_url, "token": org.server.token}
    wrong_org = org.store_url.replace(org.name, "nobody")
    assert problem(url=org.store_url, token="wrong") == (
        f"error: InfluxDB at {org.server.url} refuses the token; provision needs the operator's\n"
    )
    assert problem(url=wrong_org, token=org.server.token).startswith("error: InfluxDB shows no organization 'nobody'")
    assert "or use the operator's token" in problem(url=org.store_url, token=org.make_token("read", "write"))
    (tmp_path / "file").write_text("")
    text = problem("--storer-token-file", tmp_path / "file" / "token", **good)
    assert text.startswith(f"error: cannot write {tmp_path / 'file' / 'token'}")


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_in_one_line():
    assert "cannot be reached" in problem(url="influxdb://127.0.0.1:1?org=market&bucket=ticks", token="x")


@pytest.mark.slow
def test_a_sqlite_file_needs_no_provisioning():
    assert problem(url="sqlite:///fairprice.db").startswith("error: FAIRPRICE_STORE_URL: provision is for InfluxDB")


def problem(*arguments: object, **environ: str) -> str:
    done = provision(*arguments, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_bucket_with_a_strange_name_stays_one_word_of_the_task():
    assert 'from(bucket: "a\\"b")' in bars_script('a"b')
    assert bars_script("ticks").count('"bars"') == 1
