"""YAML of the repository, read once, and ten times as fast where PyYAML has libyaml."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def content(path: Path) -> Any:
    """Return what a file of one document says, which nobody changes."""
    return document(path.read_text())


def document(text: str) -> Any:
    """Return what a text of one document says."""
    return yaml.load(text, LOADER)


def documents(text: str) -> list[Any]:
    """Return what each document of a text says."""
    return list(yaml.load_all(text, LOADER))
