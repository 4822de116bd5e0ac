"""Public CI runs the Makefile's targets and nothing else, on pinned actions, with the least rights."""

import os
import re
import shlex
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml_files

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.name: yaml_files.content(path) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = {f"{file}:{name}": job for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()}
OWN_STEPS = {job: definition["steps"] for job, definition in JOBS.items() if "steps" in definition}
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
SERVICES = sorted(
    path.parents[2].name for path in ROOT.glob("services/*/src/*/__main__.py") if path.parent.name != "standalone"
)


def commands(job):
    return [step["run"] for step in OWN_STEPS[job] if "run" in step]


def would_run(target, **environ):
    """Return what make prints instead of running it: the commands of the target itself."""
    command = ["make", "--dry-run", "--no-print-directory", "--old-file=install-dev", "--old-file=install", target]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "FAIRPRICE_"))}
    return subprocess.run(
        command, cwd=ROOT, env=inherited | environ, capture_output=True, text=True, timeout=30, check=True
    ).stdout


def checks(**environ):
    """Return the targets that a check runs side by side."""
    return would_run("check", **environ).partition("scripts.side_by_side")[2].split()


def expression(target):
    """Return which tests a target selects by their marks."""
    command = shlex.split(would_run(target).splitlines()[0])
    return command[len(command) - command[::-1].index("-m")]


@pytest.mark.parametrize("job", [job for job in OWN_STEPS if job.startswith("ci.yml")])
def test_every_step_of_ci_is_a_target_of_the_makefile(job):
    for command in commands(job):
        make, target, *_ = command.split()
        assert make == "make"
        assert target in TARGETS


@pytest.mark.parametrize("job", [job for job in OWN_STEPS if job.startswith("release.yml")])
def test_every_target_that_a_release_makes_exists(job):
    targets = {command.split()[1] for command in commands(job) if command.startswith("make ")}
    assert targets
    assert targets <= TARGETS


def test_the_full_job_checks_what_a_developer_checks():
    assert "make check" in commands("ci.yml:full")


def test_a_check_runs_each_test_once_and_the_containers_where_they_are_wanted():
    """For every set of marks that there can be, exactly one of the targets takes it; of Hypothesis more is tried.

    Rounds on RabbitMQ, of the chain or of a cluster, and a week of a market take minutes: they are left to whoever
    asks for them.
    """
    servers = ("rabbitmq", "influxdb", "compose")
    kinds = (*servers, "slow", "rounds", "week")
    selections = {target: expression(target) for target in checks(FAIRPRICE_TEST_COMPOSE="1") if target != "lint"}
    for size in range(len(kinds) + 1):
        for marks in combinations(kinds, size):
            has = {"hypothesis": False} | {kind: kind in marks for kind in kinds}
            takers = [target for target, selected in selections.items() if eval(selected, has)]
            on_rabbitmq = has["rounds"] and has["rabbitmq"] and not has["compose"]
            is_week = has["week"] and not any(has[server] for server in servers)
            assert len(takers) == (0 if on_rabbitmq or is_week else 1), marks
    assert {*checks(FAIRPRICE_TEST_COMPOSE="1")} - {*checks()} == {"test-containers"}


def test_a_check_looks_at_the_code_and_at_the_coverage():
    assert {"lint", "coverage"} <= {*checks()}
    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports"):
        assert tool in would_run("lint")


def test_a_release_is_checked_first():
    jobs = WORKFLOWS["release.yml"]["jobs"]
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["packages"]["needs"] == "check"
    assert jobs["images"]["needs"] == "packages"


def test_every_promised_python_is_tried():
    documents = (ROOT / "pyproject.toml").read_text()
    versions = JOBS["ci.yml:fast"]["strategy"]["matrix"]["python"]
    oldest, newest = versions[0], versions[-1]
    assert f'requires-python = ">={oldest}"' in documents
    assert versions == [f"3.{minor}" for minor in range(int(oldest[2:]), int(newest[2:]) + 1)]


@pytest.mark.parametrize("job", ["ci.yml:images", "release.yml:images"])
def test_every_service_has_its_image(job):
    assert sorted(JOBS[job]["strategy"]["matrix"]["service"]) == SERVICES


def test_actions_are_pinned_to_commits_with_their_version_beside():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for used in re.findall(r"uses: (.*)", path.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+|\./\.github/workflows/ci\.yml", used), used


def test_rights_are_given_job_by_job_and_no_job_hangs():
    assert all(workflow["permissions"] == {"contents": "read"} for workflow in WORKFLOWS.values())
    assert all(JOBS[job]["timeout-minutes"] <= 60 for job in OWN_STEPS)
    checkouts = [step for steps in OWN_STEPS.values() for step in steps if "checkout@" in step.get("uses", "")]
    assert len(checkouts) == len(OWN_STEPS)
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_from_outside_is_pasted_into_a_command():
    assert [command for job in OWN_STEPS for command in commands(job) if "${{" in command] == []


def test_hooks_before_a_commit_check_the_modules_that_a_check_checks():
    [repository] = yaml_files.content(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook["entry"] for hook in repository["hooks"]}
    modules = re.search(r"^MODULES := (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert repository["repo"] == "local"
    assert re.findall(r"-p (\w+)", hooks["types"]) == modules
