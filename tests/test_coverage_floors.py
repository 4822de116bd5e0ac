"""Floors of coverage: pure modules are those of the import contract, and a branch that is missed is told."""

import shutil
import tomllib

import pytest
from coverage import Coverage

from scripts.coverage_floors import ROOT, main, pure_files

PYPROJECT = """
[tool.coverage.run]
branch = true
core = "ctrace"
[tool.coverage.report]
fail_under = 50
[[tool.importlinter.contracts]]
name = "Pure modules do no I/O and read no clock"
source_modules = ["somewhere.exact"]
"""
BRANCH = "def sign(number):\n    if number < 0:\n        number = -1\n    return number\n"


@pytest.fixture
def covered(tmp_path):
    """Run functions of two modules, one pure and one not, under coverage."""

    def cover(*calls):
        (tmp_path / "pyproject.toml").write_text(PYPROJECT)
        package = tmp_path / "src" / "somewhere"
        shutil.rmtree(package, ignore_errors=True)
        package.mkdir(parents=True)
        coverage = Coverage(
            data_file=tmp_path / ".coverage", config_file=tmp_path / "pyproject.toml", include=[f"{package}/*"]
        )
        for name in ("exact", "other"):
            (package / f"{name}.py").write_text(BRANCH)
        with coverage.collect():
            for name, number in calls:
                path = package / f"{name}.py"
                namespace = {}
                exec(compile(path.read_text(), path, "exec"), namespace)
                namespace["sign"](number)
        coverage.save()
        return tmp_path

    return cover


def test_every_branch_of_a_pure_module_and_most_of_the_others_is_enough(covered, capsys):
    assert main(covered(("exact", -1), ("exact", 1), ("other", 1))) == 0
    assert "coverage of pure modules: 100.00 %" in capsys.readouterr().out


def test_a_branch_of_a_pure_module_that_is_missed_is_told(covered, capsys):
    assert main(covered(("exact", -1), ("other", 1))) == 1
    told = capsys.readouterr().out
    assert "2->4" in told
    assert "other.py" not in told


def test_less_than_the_floor_of_all_is_told(covered, capsys):
    folder = covered(("exact", -1), ("exact", 1))
    (folder / "pyproject.toml").write_text(PYPROJECT.replace("50", "101"))
    assert main(folder) == 1
    assert "coverage of all modules: 100.00 % of lines and branches, at least 101 %" in capsys.readouterr().out


def test_every_pure_module_is_a_file():
    patterns = pure_files(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    assert len(patterns) > 40
    for module, package in zip(patterns[::2], patterns[1::2], strict=True):
        assert [*ROOT.glob(f"shared/{module[2:]}"), *ROOT.glob(f"services/{module}"), *ROOT.glob(f"services/{package}")]
