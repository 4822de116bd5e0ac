"""Where the code leans on how aiormq works inside is one file, written for the versions that are installed."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from fairprice.broker import aiormq_channel

SOURCE = Path(aiormq_channel.__file__).parents[1]
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.mark.parametrize("library", ["aio-pika", "aiormq"])
def test_the_installed_version_is_the_one_that_was_read_and_measured(library):
    """When this fails, read the six points of that file in the new version, measure, and write it down there."""
    assert f"{library} {version(library)}" in aiormq_channel.__doc__


@pytest.mark.parametrize("library", ["aio-pika", "aiormq"])
def test_only_this_minor_version_may_be_installed(library):
    (dependency,) = [
        each for each in tomllib.loads(PROJECT.read_text())["project"]["dependencies"] if each.startswith(library)
    ]
    major, minor, _ = version(library).split(".")
    assert dependency == f"{library}>={version(library)},<{major}.{int(minor) + 1}"


def test_nothing_else_knows_aiormq():
    imports = re.compile(r"^\s*(?:from|import) aiormq\b", re.MULTILINE)
    assert [path.name for path in SOURCE.rglob("*.py") if imports.search(path.read_text())] == ["aiormq_channel.py"]
