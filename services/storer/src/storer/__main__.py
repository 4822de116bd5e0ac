"""`python -m storer`: store over RabbitMQ; `check`, `audit`, `provision`: see `--help`."""

import sys

from fairprice.runtime.launch import launch


def main() -> int:
    """Run the command line and return the exit code."""
    return launch("storer.program")


if __name__ == "__main__":
    sys.exit(main())
