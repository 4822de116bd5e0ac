"""`python -m gateway`: page, JSON and websocket over RabbitMQ; `python -m gateway check`: say whether it could."""

import sys

from fairprice.runtime.launch import launch


def main() -> int:
    """Run the command line and return the exit code."""
    return launch("gateway.program")


if __name__ == "__main__":
    sys.exit(main())
