"""The book engine beside cryptofeed: sets up `.venv-peers` from peers.lock, then runs the benchmark there.

Runs with any Python that can make virtual environments: `python3 -m benchmarks.peers [--rounds N]`.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-peers"
PYTHON = ENVIRONMENT / "bin" / "python"
INSTALLED = ENVIRONMENT / "installed"
LOCKS = (ROOT / "benchmarks" / "peers.lock", ROOT / "build.lock")
PACKAGES = ("shared", "services/crawler", "services/simulator")


def main() -> int:
    try:
        if not _is_installed():
            _install()
    except subprocess.CalledProcessError as error:
        print(
            f"cryptofeed could not be installed for Python {sys.version_info.major}.{sys.version_info.minor}; pip says "
            "above why. `make bench` needs none of it. For another Python: make bench-peers PYTHON=python3.11",
            file=sys.stderr,
        )
        return error.returncode
    return subprocess.run(
        [PYTHON, "-m", "benchmarks", "book", "--cryptofeed", *sys.argv[1:]], cwd=ROOT, check=False
    ).returncode


def _is_installed() -> bool:
    return INSTALLED.exists() and all(INSTALLED.stat().st_mtime > lock.stat().st_mtime for lock in LOCKS)


def _install() -> None:
    print(f"Setting up {ENVIRONMENT.name} (once, about a minute).", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    locks = [argument for lock in LOCKS for argument in ("-r", str(lock))]
    packages = [argument for package in PACKAGES for argument in ("-e", str(ROOT / package))]
    subprocess.run([*pip, "--require-hashes", *locks], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *packages], check=True)
    INSTALLED.touch()


if __name__ == "__main__":
    sys.exit(main())
