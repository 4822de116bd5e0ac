"""Servers for tests are found on PATH and by address, and only what is missing is started."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml_files
from servers import FILE, main, missing

ROOT = Path(__file__).parents[1]
RABBITMQ = ["rabbitmq", "rabbitmq-oldest"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, [*RABBITMQ, "influxdb"]),
        ({"FAIRPRICE_TEST_RABBITMQ_URL": "amqp://one"}, ["influxdb"]),
        ({"FAIRPRICE_TEST_RABBITMQ_BIN": "/opt/rabbitmq"}, ["influxdb"]),
        ({"FAIRPRICE_TEST_INFLUXDB_URL": "http://one"}, RABBITMQ),
    ],
)
def test_what_an_address_names_is_not_started(environ, expected):
    assert missing(environ | {"PATH": "/nowhere"}) == expected


def test_what_is_on_path_is_not_started(tmp_path):
    for name in ("rabbitmq-server", "influxd"):
        (tmp_path / name).touch(mode=0o755)
    assert missing({"PATH": str(tmp_path)}) == []


def test_the_newest_servers_of_the_tests_are_those_of_the_stack():
    tests, stack = (yaml_files.content(path)["services"] for path in (FILE, ROOT / "docker-compose.yml"))
    assert {name: tests[name]["image"] for name in ("rabbitmq", "influxdb")} == {
        name: stack[name]["image"] for name in ("rabbitmq", "influxdb")
    }


def test_no_server_of_the_tests_can_be_reached_from_elsewhere():
    ports = [port for service in yaml_files.content(FILE)["services"].values() for port in service["ports"]]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1::\d+", port) for port in ports)


def test_a_command_that_has_its_servers_is_just_run(monkeypatch):
    monkeypatch.setenv("FAIRPRICE_TEST_RABBITMQ_URL", "amqp://one")
    monkeypatch.setenv("FAIRPRICE_TEST_INFLUXDB_URL", "http://one")
    assert main([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def test_a_command_that_is_to_end_ends_by_itself():
    script = "trap 'echo tidied up; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    environ = {"FAIRPRICE_TEST_RABBITMQ_URL": "amqp://one", "FAIRPRICE_TEST_INFLUXDB_URL": "http://one"}
    command = [sys.executable, "-m", "tests.servers", "sh", "-c", script]
    with subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True, cwd=ROOT) as runner:
        assert runner.stdout.readline() == "up\n"
        runner.terminate()
        assert runner.stdout.read() == "tidied up\n"
    assert runner.returncode == 3
