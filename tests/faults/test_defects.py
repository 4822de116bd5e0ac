"""The suite catches each of the deliberate defects: with it in the code, the tests that are named fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from defects import DEFECTS

pytestmark = pytest.mark.rounds  # each is a session of tests of its own

ROOT = Path(__file__).parents[2]


def failures(source, tests):
    """Run tests with this folder of packages before all others; return the names of those that failed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    path = os.pathsep.join(filter(None, [str(source), environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, f"the tests did not run:\n{run.stdout}{run.stderr}"
    return [line.split()[1] for line in run.stdout.splitlines() if line.startswith("FAILED ")]


def copy_of(defect, folder):
    """Copy the package that holds the defect's file; return where that file is now."""
    source, _, module = defect.file.partition("/src/")
    package = module.partition("/")[0]
    shutil.copytree(ROOT / source / "src" / package, folder / package)
    return folder / module


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_is_caught(tmp_path, defect):
    file = copy_of(defect, tmp_path)
    right = file.read_text()
    assert right.count(defect.old) == 1, f"{defect.file} has changed: tests/defects.py has to follow it"
    file.write_text(right.replace(defect.old, defect.new))
    failed = failures(tmp_path, defect.tests)
    assert [test for test in defect.tests if not any(name.startswith(test) for name in failed)] == []


def test_a_copy_without_a_defect_passes(tmp_path):
    copy_of(DEFECTS[0], tmp_path)
    assert failures(tmp_path, DEFECTS[0].tests) == []


def test_the_table_of_defects_is_complete():
    lines = (ROOT / "tests" / "README.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert rows[2:] == [defect.name for defect in DEFECTS]
