"""The chart's script is the one that its package ships, byte for byte, with its licence."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files("gateway"))) / "static" / "uplot"


def test_the_files_are_those_that_were_pinned_and_no_others_are_there():
    pinned = json.loads((FOLDER / "pinned.json").read_text())
    found = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.name != "pinned.json"}
    assert {name: f"sha256-{hashlib.sha256(body).hexdigest()}" for name, body in found.items()} == pinned["files"]
    assert f"(v{pinned['version']})".encode() in found["uPlot.iife.min.js"][:100]
    assert b"MIT License" in found["LICENSE"]
