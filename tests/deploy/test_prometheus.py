"""What Prometheus scrapes, and its rules: files that it accepts, and alerts that fire when they should."""

import os
import re
import shutil
import subprocess
from urllib.parse import urlencode
from urllib.request import urlopen

import dashboards
import pytest
import yaml
import yaml_files

from converter.program import PORT as CONVERTER_PORT
from crawler.program import PORT as CRAWLER_PORT
from storer.program import PORT as STORER_PORT

FOLDER = dashboards.ROOT / "deploy" / "prometheus"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
SERVICES = {"crawler": CRAWLER_PORT, "converter": CONVERTER_PORT, "storer": STORER_PORT, "gateway": 8000}


@pytest.fixture(scope="session")
def promtool():
    program = shutil.which("promtool") or pytest.skip("no promtool on PATH (Debian's package prometheus has it)")

    def run(*arguments):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def scrapes():
    return {job["job_name"]: job for job in yaml_files.content(FOLDER / "prometheus.yml")["scrape_configs"]}


def test_every_instance_of_every_service_is_scraped_where_it_listens():
    found = {}
    for name, job in scrapes().items():
        for lookup in job.get("dns_sd_configs", ()):
            assert lookup["type"] == "A"
            (host,) = lookup["names"]
            found[name] = host, lookup["port"]
    nodes = dict.fromkeys(("rabbitmq", "rabbitmq-queues"), ("rabbitmq", 15692))
    assert found == {name: (name, port) for name, port in SERVICES.items()} | nodes


def test_the_dashboard_knows_every_job():
    pipeline = next(path for path in dashboards.DASHBOARDS if path.stem == "pipeline").read_text()
    (jobs,) = set(re.findall(r"(\d+) - \(count\(count by \(job\)", pipeline))
    assert int(jobs) == len(scrapes())


def test_what_grafana_takes_for_the_scrape_interval_is_it():
    sources = yaml_files.content(dashboards.ROOT / "grafana/provisioning/datasources/datasources.yml")
    (prometheus,) = (each for each in sources["datasources"] if each["uid"] == "prometheus")
    configuration = yaml_files.content(FOLDER / "prometheus.yml")
    assert prometheus["jsonData"]["timeInterval"] == configuration["global"]["scrape_interval"]


def test_prometheus_accepts_its_configuration(promtool, tmp_path):
    text = (FOLDER / "prometheus.yml").read_text().replace("/etc/prometheus", str(FOLDER))
    (tmp_path / "prometheus.yml").write_text(text)
    assert "1 rule files found" in promtool("check", "config", tmp_path / "prometheus.yml")


@pytest.mark.slow(seconds=5)
def test_the_alerts_fire_when_they_should(promtool):
    assert "SUCCESS" in promtool("test", "rules", *TESTS)


def test_prometheus_can_read_every_query_of_the_dashboards(promtool, tmp_path):
    texts = sorted({query.text for query in dashboards.queries() if query.datasource == "prometheus"})
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(texts)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(texts)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


def test_every_alert_is_tested_both_ways():
    fire, keep_silent = set(), set()
    for check in (check for group in groups() for check in group["promql_expr_test"]):
        if alert := re.fullmatch(r'ALERTS\{alertname="(\w+)".*\}', check["expr"]):
            (fire if check["exp_samples"] else keep_silent).add(alert[1])
    alerts = {rule["alert"] for rule in dashboards.prometheus_rules() if "alert" in rule}
    assert fire == keep_silent == alerts


def test_the_healthy_pipeline_of_the_tests_has_every_metric_that_alerts_read():
    healthy = groups()[0]
    series = {re.match(r"\w+", each["series"])[0] for each in healthy["input_series"]}
    read = {
        name
        for rule in dashboards.prometheus_rules()
        for name in re.findall(r"\b(?:fairprice|rabbitmq)_\w+|\bup\b", rule["expr"])
    }
    assert read == series


def groups():
    return [group for path in TESTS for group in yaml_files.content(path)["tests"]]


RENAMED = [
    ("erlang_vm_statistics_runtime_milliseconds", "erlang_vm_statistics_runtime_seconds_total"),
    ("erlang_vm_statistics_wallclock_time_milliseconds", "erlang_vm_statistics_wallclock_time_seconds_total"),
]
"""What RabbitMQ 3.10 to 4.2 and what 4.3 call the same; queries ask for either."""


@pytest.mark.rabbitmq
def test_rabbitmq_has_the_metrics_that_are_read_of_it():
    variable = "FAIRPRICE_TEST_RABBITMQ_PROMETHEUS_URL"
    urls = os.environ.get(variable) or pytest.skip(f"set {variable} to http://HOST:15692/metrics of a RabbitMQ")
    (queues,) = (job for job in scrapes().values() if job.get("params"))
    texts = " ".join(query.text for query in dashboards.queries() if query.datasource == "prometheus")
    asked = set(re.findall(r"\b(?:rabbitmq|erlang)_\w+", texts))
    assert asked >= {name for names in RENAMED for name in names}
    for url in urls.split(","):
        base = url.strip().removesuffix("/metrics")
        detailed = base + queues["metrics_path"] + "?" + urlencode(queues["params"], doseq=True)
        pages = (read(url.strip()), read(detailed))
        had = {name for page in pages for name in re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)}
        other_names = {name for names in RENAMED if had & set(names) for name in names}
        assert asked <= had | other_names


def read(url):
    with urlopen(url) as response:
        return response.read().decode()
