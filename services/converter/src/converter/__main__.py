"""`python -m converter`: price books over RabbitMQ; `python -m converter check`: say whether it could."""

import sys

from fairprice.runtime.launch import launch


def main() -> int:
    """Run the command line and return the exit code."""
    return launch("converter.program")


if __name__ == "__main__":
    sys.exit(main())
