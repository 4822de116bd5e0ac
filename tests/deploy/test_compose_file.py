"""What docker-compose.yml and services/Dockerfile promise: limits, least rights, pinned versions, no secret seen."""

import json
import re
import runpy
import subprocess
from collections import Counter
from inspect import signature
from pathlib import Path

import pytest
import yaml_files
from tables import each_row

from converter.program import PORT as CONVERTER_PORT
from crawler.program import PORT as CRAWLER_PORT
from crawler.venues.table import VENUES
from fairprice.broker.outbox import MIB, Outbox
from fairprice.runtime.lifecycle import DRAIN_TIMEOUT, HARD_STOP
from fairprice.runtime.settings import SECRETS, VARIABLES
from storer.program import PORT as STORER_PORT

ROOT = Path(__file__).parents[2]
COMPOSE = yaml_files.content(ROOT / "docker-compose.yml")
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text()
CREDENTIALS = runpy.run_path(str(ROOT / "deploy" / "credentials" / "credentials.py"))

CHOSEN = ("store-token", "history-token")
"""Volumes of what InfluxDB chose, where the provisioner puts it."""

OURS = {"crawler": CRAWLER_PORT, "converter": CONVERTER_PORT, "storer": STORER_PORT, "gateway": 8000}
CRAWLERS = ("crawler", "crawler-usdm")
SIMULATORS = ("simulator", "simulator-usdm")
ONE_SHOT = {"credentials", "passwords", "provisioner"}

PROXIES = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"}
SET_BY_THE_IMAGE = {"FAIRPRICE_HTTP_HOST", "FAIRPRICE_STATE_DIR"}
FILE_VARIABLES = {f"{name}_FILE" for name in SECRETS}

every_service = each_row("name", SERVICES)


def environment(name):
    return SERVICES[name].get("environment", {})


def volumes(name):
    """Return the mounts of a service: source, target, mode."""
    return [(*volume.split(":"), "rw")[:3] for volume in SERVICES[name].get("volumes", ())]


def is_ours(name):
    return SERVICES[name]["image"].startswith("fairprice/")


@every_service
def test_its_health_is_checked_unless_its_exit_code_tells(name):
    service = SERVICES[name]

    if name in ONE_SHOT:
        assert service["restart"] == "no"
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD" if "healthcheck" in service else is_ours(name)


@every_service
def test_it_is_limited(name):
    service = SERVICES[name]

    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1000
    assert service["logging"]["driver"] == "none" or {"max-size", "max-file"} <= service["logging"]["options"].keys()


@every_service
def test_it_has_no_right_that_it_does_not_need(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "pid", "ipc", "userns_mode", "devices"}
    assert not [source for source, *_ in volumes(name) if "docker.sock" in source]
    if name not in {"credentials", "passwords"}:  # which belong to everybody
        assert "cap_add" not in service
        assert "user" not in service or not service["user"].startswith("0")


@every_service
def test_its_version_is_pinned_in_one_place(name):
    image = SERVICES[name]["image"]

    if is_ours(name):
        assert "build" in SERVICES[name] or SERVICES[name]["pull_policy"] == "never"
    else:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-management)?(@sha256:[0-9a-f]{64})?", image)
        assert Counter(service["image"] for service in SERVICES.values())[image] == 1


@every_service
def test_it_gets_time_to_drain_and_to_end_by_itself_if_something_hangs(name):
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > DRAIN_TIMEOUT + 2 * HARD_STOP


@every_service
def test_it_waits_for_others_by_condition(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if other in ONE_SHOT else "service_healthy")


def test_the_page_waits_for_no_database():
    assert SERVICES["gateway"]["depends_on"].keys() == SERVICES["converter"]["depends_on"].keys()
    assert "provisioner" in SERVICES["storer"]["depends_on"]


@every_service
def test_its_ports_are_open_to_this_machine_only(name):
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port)
        assert "front" in SERVICES[name]["networks"]
    assert "network_mode" not in SERVICES[name] or SERVICES[name]["network_mode"] == "none"


def test_only_crawlers_can_leave():
    leads_out = {name for name, network in COMPOSE["networks"].items() if not keeps_in(network or {})}

    assert {name for name, service in SERVICES.items() if leads_out & set(service.get("networks", ()))} == {
        *CRAWLERS,
        *SIMULATORS,  # which are the exchange
    }


def keeps_in(network):
    masquerade = network.get("driver_opts", {}).get("com.docker.network.bridge.enable_ip_masquerade", "true")
    return network.get("internal", False) or masquerade == "false"


@every_service
def test_no_secret_is_in_its_environment(name):
    for variable, value in environment(name).items():
        if re.search(r"PASSWORD|TOKEN|SECRET_KEY", variable):
            assert variable.endswith("_FILE")
            assert re.match(r"/run/(secrets|store-token|history-token)/", value)
    assert not re.search(r"://[^/]*@", json.dumps(SERVICES[name]))


@every_service
def test_its_settings_exist(name):
    ours = {variable for variable in environment(name) if variable.startswith("FAIRPRICE_")}

    assert ours <= {*VARIABLES, *FILE_VARIABLES}


def test_every_setting_reaches_the_services():
    passed = set().union(*(environment(name) for name in OURS)) & {*VARIABLES, *FILE_VARIABLES}

    assert passed == {*VARIABLES} - {*SECRETS} - SET_BY_THE_IMAGE | FILE_VARIABLES
    assert set(re.findall(r"FAIRPRICE_\w+", DOCKERFILE)) - {"FAIRPRICE_HTTP_PORT"} == SET_BY_THE_IMAGE


def test_the_simulated_stack_differs_in_the_exchange_only():
    text = (ROOT / "deploy" / "simulated.env").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))

    assert settings.pop("COMPOSE_PROJECT_NAME") != COMPOSE["name"]
    profile = settings.pop("COMPOSE_PROFILES")
    assert {name for name, service in SERVICES.items() if profile in service.get("profiles", ())} == {
        *SIMULATORS,
        "crawler-usdm",
    }
    assert settings == {
        f"{prefix}EXCHANGE_{kind}_URL": f"{scheme}://{simulator}:9000"
        for prefix, simulator in zip(("FAIRPRICE_", "FUTURES_"), SIMULATORS, strict=True)
        for kind, scheme in (("REST", "http"), ("STREAM", "ws"))
    }
    for name in SIMULATORS:
        assert "--port=9000" in SERVICES[name]["command"]
        assert name in environment("crawler")["NO_PROXY"].split(",")


def test_futures_are_followed_by_a_crawler_that_differs_in_the_exchange_only():
    spot, futures = (environment(name) for name in CRAWLERS)
    different = {variable for variable in spot if spot[variable] != futures[variable]}

    assert spot.keys() == futures.keys()
    assert different == {
        "FAIRPRICE_VENUE",
        "FAIRPRICE_SYMBOLS",
        "FAIRPRICE_EXCHANGE_REST_URL",
        "FAIRPRICE_EXCHANGE_STREAM_URL",
    }
    assert futures["FAIRPRICE_VENUE"] in VENUES
    assert "futures" in SERVICES["crawler-usdm"]["profiles"]
    assert volumes("crawler") == volumes("crawler-usdm")
    assert SERVICES["crawler-usdm"]["networks"]["bus"]["aliases"] == ["crawler"], "by which Prometheus finds it"
    assert f"--venue={futures['FAIRPRICE_VENUE']}" in SERVICES["simulator-usdm"]["command"]


def test_a_full_outbox_fits_into_the_crawlers_memory():
    """With the books of 300 symbols, half a MiB each, as much for what waits for snapshots, and the program itself."""
    outbox = signature(Outbox).parameters["capacity_bytes"].default / MIB
    a_line, kept_beside_it = 1536, 400
    needed = outbox * (1 + kept_beside_it / a_line) + 300 * 0.5 * 2 + 60

    for name in CRAWLERS:
        assert int(SERVICES[name]["mem_limit"].removesuffix("m")) > needed


def test_only_crawlers_know_the_proxies_and_either_spelling_is_handed_to_them():
    for name in SERVICES:
        proxies = {variable: value for variable, value in environment(name).items() if variable.endswith("_PROXY")}
        assert proxies.keys() == (PROXIES if name in CRAWLERS else set())
        for variable, value in proxies.items():
            assert value.startswith(f"${{{variable.lower()}:-${{{variable}:-}}}}")


@pytest.mark.parametrize("name", [*OURS, "crawler-usdm"])
def test_a_service_is_itself_at_the_broker_and_answers_on_its_usual_port(name):
    users = {user["name"] for user in json.loads((ROOT / "rabbitmq" / "definitions.json").read_text())["users"]}
    service = name.removesuffix("-usdm")

    assert environment(name)["FAIRPRICE_BROKER_USER"] == service
    assert service in users
    assert environment(name)["FAIRPRICE_HTTP_PORT"] == OURS[service]


@every_service
def test_it_sees_no_credentials_but_its_own(name):
    seen = {
        source: mode for source, _, mode in volumes(name) if re.match("credentials|store-token|history-token", source)
    }
    own = {consumers()[name]: "ro"} if name in consumers() else {}

    assert seen == {
        "credentials": dict.fromkeys(["credentials", *consumers().values()], "rw"),
        "passwords": {"credentials": "ro"},
        "provisioner": {"credentials-provisioner": "rw", **dict.fromkeys(CHOSEN, "rw")},
        "gateway": own | {"history-token": "ro"},
        "storer": own | {"store-token": "ro"},
    }.get(name, own)


def consumers():
    """Return the volume of each consumer."""
    named = {name: name if name in CHOSEN else f"credentials-{name}" for name in CREDENTIALS["HANDED_OUT"]}
    return named | {"crawler-usdm": named["crawler"]}


def test_each_consumer_can_read_what_he_gets():
    users = {name: owner for name, (owner, _) in CREDENTIALS["HANDED_OUT"].items() if name in SERVICES}
    image_user = int(re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1])

    for name, owner in users.items():
        fixed = SERVICES[name].get("user", "").partition(":")[0]
        assert owner == (image_user if is_ours(name) else int(fixed or CREDENTIALS["GRAFANA"]))


def test_what_is_handed_out_is_what_is_named():
    handed_out = {name: set(files) for name, (_, files) in CREDENTIALS["HANDED_OUT"].items()}

    for name, service in SERVICES.items():
        words = [*map(str, environment(name).values()), *service.get("command", ())]
        named = set(re.findall(r"/run/secrets/([\w-]+)", " ".join(words)))
        made_there = {"provisioner": {"grafana-token"}, "grafana": {"influxdb-password"}}  # the last by a data source
        assert named ^ handed_out.get(name.removesuffix("-usdm"), set()) == made_there.get(name, set())


def test_an_image_runs_as_nobody_in_particular_and_gets_its_signals():
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^ENTRYPOINT \[", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .* CMD \[", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM ([^\s]*[:.][^\s]*)", DOCKERFILE, re.MULTILINE) == re.findall(
        r"python:3\.\d+\.\d+-slim-\w+", DOCKERFILE
    )
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count("-r ")
    assert all(SERVICES[name]["init"] for name in SERVICES)


def test_the_context_of_a_build_is_a_list_of_what_is_needed():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert not [rule for rule in rules if rule.startswith("!") and re.search(r"\.env|\.git|tests|!\*", rule)]


def test_make_starts_and_stops_it():
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert {"up", "up-simulated", "down", "passwords"} <= {line.split()[0] for line in shown.splitlines()}
