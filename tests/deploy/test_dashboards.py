"""The dashboards: well formed, naming only what exists, and each of their queries finds what was stored."""

import asyncio
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from urllib.parse import urlencode
from urllib.request import urlopen

import dashboards
import pytest
import yaml_files
from influx_server import ABSENT, PrivateServer, is_on_path, named_server, new_org
from pydantic import SecretStr
from tables import each_row
from waiting import eventually

from converter import pricing
from converter.pricing import Pricer
from crawler.settings import CrawlerSettings
from fairprice.estimates import DEFAULT
from fairprice.messages import CONFIGURED_VALUE, DEPTH_VALUE, PRICE_VALUES, Audit, Book, Depth, Gap, Model
from fairprice.runtime.metrics import METRICS
from gateway.states import STATUSES
from storer.basis import basis_points
from storer.measurements import audit_point, depth_point, fair_price_point, gap_point, model_point, order_book_point
from storer.stores.influxdb import open_influxdb

ROOT = dashboards.ROOT
BOARDS = {path.stem: dashboards.read(path) for path in dashboards.DASHBOARDS}
PANELS = [panel for board in BOARDS.values() for panel in dashboards.panels(board)]
SOURCES = yaml_files.content(ROOT / "grafana/provisioning/datasources/datasources.yml")["datasources"]
QUERIES = dashboards.queries()
INFLUX_QUERIES = [query for query in QUERIES if query.datasource == "influxdb"]
LEVELS = 20
DISTANCES = [f"{distance:f}" for distance in CrawlerSettings().depth_distances]

LABELS = {metric.name: metric.labels for metric in METRICS}
"""Labels of Fairprice's own metrics."""

FOREIGN = {
    "rabbitmq_alarms_free_disk_space_watermark", "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_detailed_queue_consumers", "rabbitmq_detailed_queue_messages", "rabbitmq_detailed_queue_messages_ready",
    "rabbitmq_detailed_queue_messages_unacked", "rabbitmq_process_resident_memory_bytes",
    "erlang_vm_statistics_runtime_milliseconds", "erlang_vm_statistics_wallclock_time_milliseconds",
    "erlang_vm_statistics_runtime_seconds_total", "erlang_vm_statistics_wallclock_time_seconds_total",
    "go_memstats_sys_bytes", "http_api_requests_total",
    "process_cpu_seconds_total", "process_resident_memory_bytes",
    "up", "ALERTS", "fairprice:alerts_firing",
}  # fmt: skip
"""Metrics that are not Fairprice's own: of RabbitMQ, of InfluxDB, of every process, of Prometheus itself."""

PROMQL = {
    "abs", "absent", "and", "bool", "by", "count", "deriv", "histogram_quantile", "increase", "label_replace", "max",
    "max_over_time", "min", "on", "or", "rate", "scalar", "sum", "unless", "vector",
}  # fmt: skip
INFLUXQL = {
    "select", "as", "from", "where", "and", "group", "order", "by", "time", "desc", "limit", "fill", "none", "null",
    "now", "or", "mean", "min", "max", "first", "last", "count", "sum",
}  # fmt: skip
FIELDS = {
    "fair_price": {"first_update_id", "update_id", "estimator", "status", "latency_ms", "price", *PRICE_VALUES},
    "order_book": {
        f"{side}_{level:02}" for side in ("bid_price", "bid_size", "ask_price", "ask_size") for level in range(LEVELS)
    },
    "gap": {"from_update_id", "to_update_id", "duration_ms", "reason", "open_ids"},
    "audit": {"from_update_id", "to_update_id", "tops", "wrong", "levels", "levels_wrong"},
    "depth": {"update_id", *(f"{side}_quantity_{bps}bps" for side in ("bid", "ask") for bps in DISTANCES)},
    "basis": {"basis_bps", "against"},
    "model": {
        *("beta_500ms", "beta_1s", "beta_5s", "half_width_1s", "half_width_10s"),
        *(f"observations_{span}" for span in ("500ms", "1s", "5s", "10s")),
    },
    "fair_price_1m": {"open", "high", "low", "close", "spread", "count"},
}

DEPTHS = {f"{side}_quantity_{bps}bps": float(bps) for side in ("bid", "ask") for bps in DISTANCES}
DEPTH = Depth("binance", "BTCUSDT", 1, 0, "one", {**DEPTHS, "ask_quantity_0_5bps": 1.5})

every_board = pytest.mark.parametrize("name", BOARDS)


@pytest.mark.slow
def test_the_committed_files_are_what_the_generator_writes():
    code = "import json; from grafana.build import files; print(json.dumps(files()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    written = {path.name: path.read_text() for path in dashboards.DASHBOARDS}
    assert json.loads(done.stdout) == written, "run: python -m grafana.build"


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")  # files need the classic schema
@every_board
def test_every_property_is_one_that_grafana_has_published(name):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(BOARDS[name])
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == BOARDS[name]


@every_board
def test_a_dashboard_can_be_found_and_its_panels_told_apart(name):
    board = BOARDS[name]
    assert board["uid"] == name
    assert board["title"]
    assert board["description"]
    for attribute in ("id", "title"):
        values = [panel[attribute] for panel in board["panels"]]
        assert len(set(values)) == len(values)


def test_panels_say_what_is_seen():
    for panel in PANELS:
        assert panel["title"], panel
        assert len(panel["description"]) > 30, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_panels_name_their_data_source():
    known = {(source["type"], source["uid"]) for source in SOURCES}
    for panel in PANELS:
        source = panel["datasource"]
        assert (source["type"], source["uid"]) in known, panel["title"]
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]


@every_board
def test_panels_fill_the_page_and_do_not_overlap(name):
    places = [panel["gridPos"] for panel in BOARDS[name]["panels"]]
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    area = sum(place["w"] * place["h"] for place in places)
    assert area == 24 * max(place["y"] + place["h"] for place in places)


def test_queries_read_metrics_that_exist():
    known = FOREIGN | {f"fairprice_{name}" for name in LABELS}
    known |= {f"{name}_bucket" for name in known if name.endswith("_latency_seconds")}
    for query in QUERIES:
        if query.datasource == "prometheus":
            bare = re.sub(r'"[^"]*"', "", query.text)
            bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)", " ", bare)
            assert set(re.findall(r"[A-Za-z_][A-Za-z0-9_:]*", bare)) <= known | PROMQL, query


def test_queries_choose_by_labels_that_the_metrics_have():
    for query in QUERIES:
        for metric, selector in re.findall(r"\bfairprice_(\w+?)(?:_bucket)?\{([^}]*)\}", query.text):
            assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= {*LABELS[metric], "job", "instance"}, query


def test_no_metric_is_listed_in_vain():
    texts = " ".join(query.text for query in QUERIES if query.datasource == "prometheus")
    assert {name for name in FOREIGN if name not in texts} == set()


@each_row(
    "query", [query for query in INFLUX_QUERIES if query.text.startswith("SELECT")], ids=lambda query: query.panel
)
def test_a_query_names_measurements_and_fields_that_exist(query):
    aliases = set(re.findall(r" AS (\w+)", query.text))
    text = query.text.replace('"bars"."autogen"."fair_price_1m"', "fair_price_1m")
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|/[^/]+/|\b\d+\w*| AS \w+", " ", text)
    words = set(re.findall(r"[a-z_]\w*", bare, re.IGNORECASE))
    measurements = words & FIELDS.keys()
    fields = {field for measurement in measurements for field in FIELDS[measurement]}
    assert measurements
    assert {word for word in words - measurements - fields - aliases if word.lower() not in INFLUXQL} <= {
        "symbol",
        "venue",
    }


def test_every_query_of_a_dashboard_keeps_the_venues_apart():
    for query in QUERIES:
        if query.dashboard in BOARDS and "venue" not in query.panel:
            for metric, selector in re.findall(r"\bfairprice_(\w+?)(?:_bucket)?\b(\{[^}]*\})?", query.text):
                assert "venue" not in LABELS[metric] or 'venue=~"binance"' in selector, query
            for read in re.findall(r"FROM .*? WHERE (.+?)(?:\)|$)", query.text):
                assert "venue = 'binance'" in read or ", venue fill" in read, query


def test_page_and_dashboard_know_every_status_that_the_converter_gives():
    rows = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", pricing.__doc__.split("----\n")[1], re.MULTILINE)
    given = {status for row in rows for status in row.split(", ")}
    assert len(given) == 10
    assert set(STATUSES) == given
    (panel,) = (panel for panel in PANELS if panel["title"] == "Status of the price")
    assert {status for status in given if status not in panel["description"]} == set()


def test_every_metric_is_on_a_dashboard():
    texts = " ".join(query.text for query in QUERIES if query.dashboard in BOARDS)
    of_the_embedded_mode = {"broker_queue_messages", "broker_forgotten_messages_total"}  # there is no Grafana
    assert {name for name in LABELS if f"fairprice_{name}" not in texts} == of_the_embedded_mode


def test_the_heat_map_of_the_whole_book_has_the_distances_that_crawlers_tell():
    text = query_of("Depth of the whole book over time")
    assert re.findall(r'AS "(\d+)"', text) == DISTANCES
    assert re.findall(r'AS "-(\d+)"', text) == DISTANCES[::-1]


def test_the_fields_are_those_that_the_storer_writes():
    book, price, gap = next(market(1))
    configured = set(fair_price_point(price).fields) - FIELDS["fair_price"]
    assert all(CONFIGURED_VALUE.fullmatch(name) for name in configured)
    point = order_book_point(book, LEVELS)
    assert {*point.fields, *point.decimals} == FIELDS["order_book"] | {"update_id"}
    assert set(gap_point(gap).fields) == FIELDS["gap"]
    audit = audit_point(Audit("binance", "BTCUSDT", 0, "one", 1, 2, tops=1, wrong=1, levels=1, levels_wrong=1))
    assert set(audit.fields) == FIELDS["audit"]
    assert set(model_point(book, book.model).fields) == FIELDS["model"]
    (basis,) = basis_points("BTCUSDT", {"binance": {0: 1.0}, "binance-usdm": {0: 1.1}})
    assert set(basis.fields) == FIELDS["basis"]
    depth = depth_point(DEPTH)
    assert all(DEPTH_VALUE.fullmatch(name) for name in set(depth.fields) - FIELDS["depth"])


def market(minutes: int):
    """Yield a book, its price and a gap for each second of the last minutes."""
    pricer = Pricer(DEFAULT, [Decimal(1), Decimal(5)], [Decimal(10_000), Decimal(100_000)])
    model = Model(0, 1.5, 2.5, 4.5, 7.5, 28.5, 1192, 1187, 1147, 1097)
    now = time.time_ns() // 1000
    for second in range(-60 * minutes, 0):
        at = now + second * 1_000_000
        middle = 60_000 + 20 * (second % 17)
        bids = [[f"{middle - 1 - 2 * level}.50", f"{1 + level * 0.1:.5f}"] for level in range(LEVELS)]
        asks = [[f"{middle + 1 + 2 * level}.50", f"{2 + level * 0.1:.5f}"] for level in range(LEVELS)]
        book = Book("binance", "BTCUSDT", 1, 2, at, at - 1_000_000, at, "test", bids, asks, None, None, model)
        yield book, pricer.price(book, at + 2_000), Gap("binance", "BTCUSDT", 3, 4, at, at + 500_000, "disconnect")


@pytest.fixture(scope="module")
def org(tmp_path_factory):
    server = PrivateServer(tmp_path_factory.mktemp("influxdb")) if is_on_path() else named_server()
    try:
        with new_org(server or pytest.skip(ABSENT)) as org:
            yield org
    finally:
        if isinstance(server, PrivateServer):
            server.kill()


@pytest.fixture(scope="module")
def influxdb(org, tmp_path_factory):
    """Return a function that asks as Grafana does an InfluxDB that holds the last minutes of a market."""
    secrets = provision(org, tmp_path_factory.mktemp("secrets"))
    asyncio.run(store(org, secrets["storer-token"]))
    make_bars(org)
    return lambda query: ask(org, secrets["grafana-password"], query)


def provision(org, folder):
    files = {name: folder / name for name in ("storer-token", "grafana-password")}
    options = {"grafana-user": org.name, **{f"{name}-file": path for name, path in files.items()}}
    subprocess.run(
        [sys.executable, "-m", "storer", "provision", *(f"--{name}={value}" for name, value in options.items())],
        env={"FAIRPRICE_STORE_URL": org.store_url, "FAIRPRICE_STORE_TOKEN": org.server.token},
        check=True,
        capture_output=True,
    )
    return {name: path.read_text().strip() for name, path in files.items()}


async def store(org, token):
    events = list(market(4))
    _, last, _ = events[-1]
    prices = [price for _, price, _ in events]
    prices.append(replace(last, symbol="CROSSED", price=None, status="crossed"))
    prices.append(replace(last, symbol="CROSSED", event_time=last.event_time - 1_000_000))
    books = [order_book_point(book, LEVELS) for book, _, _ in events]
    models = [model_point(book, book.model) for book, _, _ in events[::60]]
    gaps = [gap_point(gap) for _, _, gap in events[::60]]
    minute = last.event_time - last.event_time % 60_000_000
    audit = Audit("binance", "BTCUSDT", minute - 60_000_000, "one", 1, 2, tops=9, wrong=1, levels=9, levels_wrong=1)
    influxdb = open_influxdb(org.address, SecretStr(token))
    others = [audit_point(audit), depth_point(replace(DEPTH, event_time=last.event_time))]
    second = last.event_time - last.event_time % 1_000_000
    others += basis_points("BTCUSDT", {"binance": {second: 60_000.0}, "binance-usdm": {second: 60_060.0}})
    assert await influxdb.write([*books, *models, *map(fair_price_point, prices), *gaps, *others]) == []
    await influxdb.close()


def make_bars(org):
    (task,) = org.server.call("GET", "/api/v2/tasks", orgID=org.id)["tasks"]
    path = f"/api/v2/tasks/{task['id']}/runs"
    run = org.server.call("POST", path, {})["id"]

    def succeeded():
        return {each["id"]: each["status"] for each in org.server.call("GET", path)["runs"]}.get(run) == "success"

    eventually(succeeded, why=lambda: org.server.call("GET", f"{path}/{run}/logs"))


def ask(org, password, query):
    """Return columns and rows."""
    parameters = urlencode({"db": "ticks", "q": query, "u": org.name, "p": password})
    with urlopen(f"{org.server.url}/query?{parameters}") as response:
        (result,) = json.load(response)["results"]
    assert "error" not in result, result["error"]
    series = result.get("series", [{"columns": [], "values": []}])
    return series[0]["columns"], [row for each in series for row in each["values"]]


@pytest.mark.influxdb
def test_a_minute_without_a_comparison_is_missing_in_the_count_of_those_compared(influxdb):
    texts = [query.text for query in INFLUX_QUERIES if query.panel == "Hours: compared, agreeing, complete"]
    counts = {columns[1]: sum(row[1] or 0 for row in rows) for columns, rows in map(influxdb, texts)}
    assert counts["minutes compared"] == 1
    assert counts["minutes with prices"] >= 3
    assert (counts["disagreeing tops"], counts["disagreeing levels"]) == (1, 1)
    assert counts["missing ids"] > 0


def query_of(title):
    (query,) = (query for query in INFLUX_QUERIES if query.panel == title)
    return query.text


@pytest.mark.influxdb
@pytest.mark.parametrize("query", INFLUX_QUERIES, ids=lambda query: f"{query.dashboard}-{query.panel}")
def test_each_query_finds_what_was_stored(influxdb, query):
    columns, rows = influxdb(query.text)
    assert rows
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        if not CONFIGURED_VALUE.fullmatch(column.removeprefix("mean_")):  # a band may reach beyond the book
            assert any(value is not None for value in values), f"nothing in {column}"


@pytest.mark.influxdb
def test_ticks_and_bars_are_never_read_for_the_same_range(influxdb):
    for query in INFLUX_QUERIES:
        for interval, comparison in re.findall(r"(\d+) (<|>=) 60000\b", query.text):
            other = {"<": "60000 <", ">=": "59999 >="}[comparison]
            assert influxdb(query.text.replace(f"{interval} {comparison}", other)) == ([], [])


@pytest.mark.influxdb
def test_the_book_is_a_table_with_the_levels_of_both_sides_beside_each_other(influxdb):
    columns, rows = influxdb(query_of("Order book now"))
    assert columns == ["time", "Bid size", "Bid", "Ask", "Ask size"]
    shown = sorted((row[1:] for row in rows), key=lambda row: -row[1])
    book, _, _ = next(market(1))
    sizes = [[float(bid[1]), float(ask[1])] for bid, ask in zip(book.bids, book.asks, strict=True)]
    assert [[bid_size, ask_size] for bid_size, _, _, ask_size in shown] == sizes
    assert all(ask - bid == 2 + 4 * level for level, (_, bid, ask, _) in enumerate(shown))


@pytest.mark.influxdb
def test_a_price_that_must_not_be_trusted_is_none_with_its_status(influxdb):
    columns, rows = influxdb(query_of("Fair price of $symbol now").replace("BTCUSDT", "CROSSED"))
    assert columns == ["time", "price", "status"]
    assert [row[1:] for row in rows] == [[None, "crossed"]]


@pytest.mark.influxdb
def test_influxdb_has_the_metrics_that_are_read_of_it(org, influxdb):
    with urlopen(f"{org.server.url}/metrics") as response:
        text = response.read().decode()
    assert re.search(r"^go_memstats_sys_bytes ", text, re.MULTILINE)
    assert re.search(r'^http_api_requests_total\{.*path="/api/v2/write",response_code="204"', text, re.MULTILINE)
