"""What our own packages are called where they are installed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "shared/pyproject.toml", *sorted(ROOT.glob("services/*/pyproject.toml"))]
PROJECTS = [tomllib.loads(file.read_text())["project"] for file in FILES]


def test_no_package_has_or_needs_the_name_that_a_stranger_has_on_the_index():
    """An installer that has a choice would take the stranger's `fairprice` instead of ours."""
    ours = {project["name"] for project in PROJECTS}
    needed = {re.match(r"[\w-]+", each)[0] for project in PROJECTS for each in project["dependencies"]}
    assert len(ours) == len(FILES)
    assert "fairprice" not in ours | needed
    assert {name for name in needed if name.startswith("fairprice")} <= ours


def test_each_package_is_taken_from_the_workspace():
    sources = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["sources"]
    assert sources == {project["name"]: {"workspace": True} for project in PROJECTS}
