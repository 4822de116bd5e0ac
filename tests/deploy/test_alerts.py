"""Alert rules say what happened and what to do; those of Grafana are complete and name only what exists."""

import re

import dashboards
import yaml_files
from tables import each_row

ALERTS = [rule for rule in dashboards.prometheus_rules() if "alert" in rule]
RULES = dashboards.grafana_rules()
SEVERITIES = {"critical", "warning"}

each_alert = each_row("rule", ALERTS, ids=lambda rule: rule["alert"])
each_rule = each_row("rule", RULES, ids=lambda rule: rule["uid"])


@each_alert
def test_an_alert_of_prometheus_says_what_happened_and_what_to_do(rule):
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert len(rule["annotations"]["runbook"]) > 60
    assert rule["annotations"]["summary"].endswith(".")


def test_what_the_issue_asks_for_has_an_alert():
    assert {
        "FeedStale", "BookOutOfSync", "GapsFrequent", "DeadLetters", "QueueGrowing", "StoreFailing", "BrokerAlarm",
        "ServiceDown", "MessagesUnrouted",
    } <= {rule["alert"] for rule in ALERTS}  # fmt: skip


def test_names_are_given_once():
    names = [rule["alert"] for rule in ALERTS] + [rule["uid"] for rule in RULES] + [rule["title"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_runbooks_name_panels_that_exist():
    titles = {panel["title"] for path in dashboards.DASHBOARDS for panel in dashboards.panels(dashboards.read(path))}
    for rule in [*ALERTS, *RULES]:
        for quoted in re.findall(r'"([A-Z][^"]+)"', rule["annotations"]["runbook"]):
            assert any(title.startswith(quoted) for title in titles), quoted


@each_rule
def test_a_rule_of_grafana_is_complete(rule):
    steps = {step["refId"]: step for step in rule["data"]}
    assert rule["condition"] in steps
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", rule["uid"])
    for reference, step in steps.items():
        assert step["model"]["refId"] == reference
        assert step["datasourceUid"] in {"influxdb", "prometheus", "__expr__"}
        if step["datasourceUid"] == "__expr__":
            assert step["model"]["expression"] in steps
        else:
            assert step["relativeTimeRange"]["from"] > 0


@each_rule
def test_a_rule_of_grafana_has_only_properties_that_grafana_has_published(rule):
    from grafana_foundation_sdk.models import alerting as models

    read = models.Rule.from_json(rule).to_json()
    assert {name: read[name] for name in rule if name != "data"} == {
        name: value for name, value in rule.items() if name != "data"
    }
    for step, known in zip(rule["data"], read["data"], strict=True):
        assert set(step) <= set(known.to_json())


def test_nothing_in_the_alerting_files_can_be_taken_for_a_variable():
    for path in dashboards.ALERTING:
        assert "$" not in path.read_text(), path


def test_the_bridge_carries_every_alert_of_prometheus():
    (record,) = (rule for rule in dashboards.prometheus_rules() if "record" in rule)
    (bridge,) = (rule for rule in RULES if rule["uid"] == "prometheus-alert")
    assert bridge["data"][0]["model"]["expr"] == record["record"]
    assert 'ALERTS{alertstate="firing"}' in record["expr"]
    assert bridge["noDataState"] == "OK"


def test_notifications_go_to_a_contact_point_that_exists():
    files = [yaml_files.content(path) for path in dashboards.ALERTING]
    points = {point["name"] for file in files for point in file.get("contactPoints", ())}
    mutes = {mute["name"] for file in files for mute in file.get("muteTimes", ())}
    (policy,) = (policy for file in files for policy in file.get("policies", ()))
    routes = [policy, *policy["routes"]]
    assert {route["receiver"] for route in routes} <= points
    assert {name for route in routes for name in route.get("mute_time_intervals", ())} == mutes
    folders = {group["folder"] for file in files for group in file.get("groups", ())}
    assert folders == {value for _, _, value in policy["routes"][0]["object_matchers"]}
