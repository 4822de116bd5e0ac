"""Compares what tests have passed with what they have to pass: a floor for all modules, every branch of the pure ones.

    python -m scripts.coverage_floors      after `pytest --cov`; 1 where a floor is not held

The floor of all is `fail_under` of `tool.coverage.report` in pyproject.toml; the pure modules are those of the import
contract there.
"""

import io
import sys
import tomllib
from pathlib import Path
from typing import Any

from coverage import Coverage

ROOT = Path(__file__).parents[1]
CONTRACT = "Pure modules do no I/O and read no clock"

PURE_FLOOR = 100
"""Percent of lines and branches."""


def pure_files(pyproject: dict[str, Any]) -> list[str]:
    """Return patterns of the pure modules' files."""
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    [modules] = [contract["source_modules"] for contract in contracts if contract["name"] == CONTRACT]
    return [f"*/src/{module.replace('.', '/')}{end}" for module in modules for end in (".py", "/__init__.py")]


def main(folder: Path = ROOT) -> int:
    """Tell both figures, and what is missed where it matters; return the exit code."""
    coverage = Coverage(data_file=folder / ".coverage", config_file=folder / "pyproject.toml")
    coverage.load()
    pyproject = tomllib.loads((folder / "pyproject.toml").read_text())
    floor = pyproject["tool"]["coverage"]["report"]["fail_under"]
    code = 0
    for name, include, least in (("all modules", None, floor), ("pure modules", pure_files(pyproject), PURE_FLOOR)):
        report = io.StringIO()
        reached = coverage.report(include=include, file=report, show_missing=True, skip_covered=True)
        print(f"coverage of {name}: {reached:.2f} % of lines and branches, at least {least:g} %")
        if reached < least:
            code = 1
            print(report.getvalue())
    return code


if __name__ == "__main__":
    sys.exit(main())
