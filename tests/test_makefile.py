import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_port_in_the_environment_is_the_page_s_and_nobody_else_s(tmp_path):
    """Whoever exports `.env` names the page's port: were it everybody's, three of four services could not listen."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$2 ${FAIRPRICE_HTTP_PORT-usual}"\n')
    python.chmod(0o755)
    command = ["make", "--old-file=install", "services", f"BIN={tmp_path}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    environ = inherited | {"FAIRPRICE_HTTP_PORT": "8010"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=True)
    assert sorted(done.stdout.splitlines()) == ["converter usual", "crawler usual", "gateway 8010", "storer usual"]
