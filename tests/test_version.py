"""One version for all packages, told by each command, metric and log."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest

import fairprice
from fairprice.runtime.health import process_registry
from fairprice.runtime.version import PYTHON
from scripts import version

ROOT = Path(__file__).parents[1]
COMMANDS = ("crawler", "converter", "storer", "gateway", "simulator", "standalone")


@pytest.fixture
def copy(tmp_path):
    """A tree of the files that tell the version."""
    for path in version.places(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_all_packages_have_one_version():
    assert set(version.read(ROOT).values()) == {fairprice.__version__}


def test_the_version_is_set_everywhere_at_once(copy, capsys):
    assert version.main(["9.8.7rc1"], copy) == 0
    assert set(version.read(copy).values()) == {"9.8.7rc1"}
    assert capsys.readouterr().out == "9.8.7rc1\n"
    assert version.main(["--tag", "v9.8.7rc1"], copy) == 0
    assert version.main(["--tag", "v9.8.7"], copy) == 1


def test_packages_that_disagree_are_named(copy, capsys):
    path = copy / "shared" / "pyproject.toml"
    path.write_text(version.PATTERN.sub(r"\g<1>7.7.7\g<3>", path.read_text()))
    assert version.main([], copy) == 1
    assert f"7.7.7  {path}" in capsys.readouterr().err


def test_the_changelog_tells_of_the_version():
    assert len(version.notes(ROOT, fairprice.__version__)) > 100


def test_only_the_section_of_the_version_is_told(tmp_path):
    (tmp_path / "CHANGELOG.md").write_text("# C\n\n## 1.1.0 (date)\n\nNew.\n\n### How\n\nSo.\n\n## 1.0.0\n\nOld.\n")
    assert version.notes(tmp_path, "1.1.0") == "New.\n\n### How\n\nSo."
    assert version.notes(tmp_path, "1.0.0") == "Old."
    with pytest.raises(ValueError, match=r"says nothing of 1\.2\.0"):
        version.notes(tmp_path, "1.2.0")


@pytest.mark.parametrize("wrong", ["1", "v1.2.3", "1.2.3-beta", "01.2.3"])
def test_what_is_no_version_is_refused(copy, wrong):
    with pytest.raises(SystemExit):
        version.main([wrong], copy)
    assert set(version.read(copy).values()) == {fairprice.__version__}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_its_version(command):
    done = subprocess.run([sys.executable, "-m", command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{command} {fairprice.__version__} (Python {PYTHON})\n"


def test_a_process_tells_its_version_to_prometheus():
    labels = f'python="{PYTHON}",service="crawler",version="{fairprice.__version__}"'
    assert f"fairprice_build_info{{{labels}}} 1.0" in generate_latest(process_registry("crawler")).decode()


def test_a_version_that_the_changelog_does_not_know_is_told_in_a_line(copy):
    assert version.main(["9.8.7"], copy) == 0
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    (copy / "CHANGELOG.md").write_text("# Changelog\n")
    command = [sys.executable, "-m", "scripts.version", "--notes"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: CHANGELOG.md says nothing of 9.8.7\n")
