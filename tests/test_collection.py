"""Tests are found whatever a person names, in whichever order, and reported whatever they leave."""

import gc
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import pytest
import rabbitmq_nodes
from rabbitmq_nodes import Given, Programs, server_of

ROOT = Path(__file__).parents[1]
ROOMS = ("tests/e2e/test_draining.py", "tests/deploy/test_alerts.py", "services/storer/tests/test_line_protocol.py")
"""A file of each room whose conftest imports what another room shares, or is imported by one."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "rooms",
    [ROOMS, ROOMS[::-1], *(pytest.param(rooms, marks=pytest.mark.rounds) for rooms in permutations(ROOMS, 2))],
    ids=" then ".join,
)
def test_rooms_may_be_named_in_any_order(rooms):
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *rooms]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(room in done.stdout for room in rooms)


def test_there_are_two_workers_a_core_where_tests_wait_one_where_they_compute_and_what_xdist_s_variable_says(
    request, monkeypatch
):
    conftest = request.config.pluginmanager.getplugin(str(ROOT / "conftest.py"))
    monkeypatch.setattr(conftest.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)

    def workers(markers):
        return conftest.pytest_xdist_auto_num_workers(SimpleNamespace(option=SimpleNamespace(markexpr=markers)))

    assert (workers("not rounds"), workers("not rounds and not slow")) == (6, 3)
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "5")
    assert workers("not rounds") is None


def test_what_empties_one_server_goes_to_one_worker(monkeypatch):
    given = [Given("amqp://a:b@127.0.0.1:1"), Given("amqp://a:b@127.0.0.1:12/")]
    programs = [Programs(Path("/of/3")), Programs(Path("/of/4"))]
    monkeypatch.setattr(rabbitmq_nodes, "GIVEN", given)
    monkeypatch.setattr(rabbitmq_nodes, "PROGRAMS", programs)
    tests = ("test_a.py::test_one", "test_a.py::TestMany::test_two", "test_b.py::test_three")
    groups = [{server_of(f"{test}[{server}-books]") for test in tests} for server in (*given, *programs)]
    assert groups == [
        {"127.0.0.1:1"}, {"127.0.0.1:12"},
        {"test_a.py /of/3", "test_b.py /of/3"}, {"test_a.py /of/4", "test_b.py /of/4"},
    ]  # fmt: skip
    assert server_of("tests/e2e/test_c.py::test_four") == "tests/e2e/test_c.py"


def test_no_garbage_is_collected_while_a_report_is_made(request):
    conftest = request.config.pluginmanager.getplugin(str(ROOT / "conftest.py"))
    making = conftest.pytest_runtest_makereport(request.node, None)
    next(making)
    assert not gc.isenabled()
    with pytest.raises(StopIteration):
        making.send(SimpleNamespace(skipped=False))
    assert gc.isenabled()
