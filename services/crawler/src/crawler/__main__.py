"""`python -m crawler`: books over RabbitMQ; `check` whether it could, `record` what the exchange sends, `verify` it."""

import sys

from fairprice.runtime.launch import launch


def main() -> int:
    """Run the command line and return the exit code."""
    return launch("crawler.program")


if __name__ == "__main__":
    sys.exit(main())
