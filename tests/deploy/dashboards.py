"""Every query of dashboards and alerts, as Grafana and Prometheus would send them for the last minutes.

What Grafana replaces is told in https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml_files

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
ALERTING = sorted((ROOT / "grafana" / "provisioning" / "alerting").glob("*.yml"))
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))

POINTS = 1000
"""Data points that Grafana asks for where a panel does not say."""

SHORT, LONG = 5 * 60, 24 * 3600
"""Seconds of the ranges that queries are asked for: the long one, where one-minute bars take the place of ticks."""

INTERVALS = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600,
)  # fmt: skip
RATE_INTERVAL = "1m"


class Query(NamedTuple):
    """A query, where it is from, and which data source it is for: `influxdb` or `prometheus`."""

    dashboard: str
    panel: str
    datasource: str
    text: str


def queries(symbol: str = "BTCUSDT", venue: str = "binance") -> list[Query]:
    """Return every query of panels, variables, annotations and alert rules."""
    return [*_of_dashboards({"symbol": symbol, "venue": venue}), *_of_grafana_alerts(), *_of_prometheus_rules()]


def rightly_empty() -> dict[tuple[str, str], str]:
    """Return which of them find nothing on a healthy, fresh stack, and why, by dashboard and panel."""
    reasons = {
        ("market", "Gaps"): "a healthy feed has none; the panel shows 0",
        ("market", "annotation Gaps"): "a healthy feed has none",
        ("market", "Hours: compared, agreeing, complete"): "one of its three asks for gaps; an hour without any is 0",
        ("market", "What a full imbalance moves"): "learnt from two minutes without a gap, and told once a minute",
        (
            "market",
            "Basis between venues",
        ): "where another venue is followed, a minute later",
        ("market", "Second witness"): "there is none while quotes are off and one venue is followed",
        ("pipeline", "Alerts that fire or are about to"): "nothing is wrong; the panel says so",
    }
    alerts = {("alerts of Prometheus", alert): "nothing is wrong" for alert in _alerts()}
    bridge = {("alerts of Grafana", "Prometheus has an alert"): "nothing is wrong"}
    return reasons | alerts | bridge


def read(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    dashboard: dict[str, Any] = json.loads(path.read_text())
    return dashboard


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard but its rows."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel


def _of_dashboards(choice: Mapping[str, str]) -> Iterator[Query]:
    for path in DASHBOARDS:
        dashboard = read(path)
        for variable in dashboard.get("templating", {}).get("list", ()):
            # A query of Prometheus names a metric and then a label of it.
            text = re.sub(r"^label_values\((.+), \w+\)$", r"\1", variable["query"])
            text = _substituted(text, choice, POINTS, 0.1)
            yield Query(path.stem, f"variable {variable['name']}", variable["datasource"]["uid"], text)
        for annotation in dashboard.get("annotations", {}).get("list", ()):
            text = _substituted(annotation["target"]["query"], choice, POINTS, 0.1)
            yield Query(path.stem, f"annotation {annotation['name']}", annotation["datasource"]["uid"], text)
        for panel in panels(dashboard):
            points, least = panel.get("maxDataPoints", POINTS), _seconds(panel.get("interval", "100ms"))
            for target in panel["targets"]:
                text = _substituted(target.get("query") or target["expr"], choice, int(points), least)
                yield Query(path.stem, panel["title"], target["datasource"]["uid"], text)


def _of_grafana_alerts() -> Iterator[Query]:
    for rule in grafana_rules():
        for step in rule["data"]:
            if step["datasourceUid"] != "__expr__":
                text = step["model"].get("query") or step["model"]["expr"]
                yield Query("alerts of Grafana", rule["title"], step["datasourceUid"], text)


def _of_prometheus_rules() -> Iterator[Query]:
    for rule in prometheus_rules():
        yield Query("alerts of Prometheus", rule.get("alert") or rule["record"], "prometheus", rule["expr"])


def grafana_rules() -> list[dict[str, Any]]:
    """Return the alert rules that Grafana evaluates."""
    files = [yaml_files.content(path) for path in ALERTING]
    return [rule for file in files for group in file.get("groups", ()) for rule in group["rules"]]


def prometheus_rules() -> list[dict[str, Any]]:
    """Return the rules that Prometheus evaluates."""
    groups = [group for path in RULES for group in yaml_files.content(path)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def _alerts() -> list[str]:
    return [rule.get("alert") or rule["record"] for rule in prometheus_rules()]


def _substituted(text: str, choice: Mapping[str, str], points: int, least: float) -> str:
    """Put in what Grafana puts in for variables and macros."""
    seconds = LONG if "${__interval_ms} >=" in text else SHORT
    interval = next(each for each in INTERVALS if each >= max(seconds / points, least))
    values = {
        "timeFilter": f"time >= now() - {seconds}s AND time <= now()",
        **choice,
        "__interval_ms": f"{interval * 1000:.0f}",
        "__interval": f"{interval * 1000:.0f}ms",
        "__rate_interval": RATE_INTERVAL,
        "__range": f"{seconds}s",
    }
    replaced = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: values[match[1] or match[2]], text)
    assert "$" not in replaced, f"what is left in {replaced}?"
    return replaced


def _seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]
