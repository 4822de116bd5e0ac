"""The scripts of others are those that their packages ship, byte for byte, with their licences."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest

UPLOT = Path(str(files("gateway"))) / "static" / "uplot"
AXE = Path(__file__).parent / "axe_core"


@pytest.mark.parametrize(
    ("folder", "script", "version", "licence"),
    [
        (UPLOT, "uPlot.iife.min.js", "(v{})", "MIT License"),
        (AXE, "axe.min.js", "axe v{}", "Mozilla Public License"),
    ],
)
def test_the_files_are_those_that_were_pinned_and_no_others_are_there(folder, script, version, licence):
    pinned = json.loads((folder / "pinned.json").read_text())
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "pinned.json"}
    assert {name: f"sha256-{hashlib.sha256(body).hexdigest()}" for name, body in found.items()} == pinned["files"]
    assert version.format(pinned["version"]).encode() in found[script][:100]
    assert licence.encode() in found["LICENSE"]
