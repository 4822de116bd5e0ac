import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def make(*arguments, **environ):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=inherited | environ, capture_output=True, text=True, check=False)


def test_a_port_in_the_environment_is_the_page_s_and_nobody_else_s(tmp_path):
    """Whoever exports `.env` names the page's port: were it everybody's, three of four services could not listen."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$2 ${FAIRPRICE_HTTP_PORT-usual}"\n')
    python.chmod(0o755)
    done = make("--old-file=install", "services", f"BIN={tmp_path}", FAIRPRICE_HTTP_PORT="8010")
    assert sorted(done.stdout.splitlines()) == ["converter usual", "crawler usual", "gateway 8010", "storer usual"]


@pytest.mark.parametrize("target", ["up", "up-simulated", "down", "passwords", "images"])
@pytest.mark.parametrize(("lacks", "said"), [("compose", "its compose plugin"), ("info", "No Docker engine answers")])
def test_what_the_containers_need_and_do_not_find_is_one_line(tmp_path, target, lacks, said):
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\ntest "$1" != {lacks} || {{ echo Usage: docker; exit 1; }}\n')
    docker.chmod(0o755)
    done = make(target, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 2
    assert said in done.stdout
    assert len(done.stdout.splitlines()) == 1
