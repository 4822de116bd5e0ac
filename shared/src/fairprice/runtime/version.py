"""Which Fairprice this is, on which Python: for `--version`, the log's first line and the metrics."""

import platform

from fairprice import __version__

PYTHON = platform.python_version()


def describe(command: str) -> str:
    """Return what `<command> --version` prints, like `crawler 1.2.3 (Python 3.13.1)`."""
    return f"{command} {__version__} (Python {PYTHON})"
