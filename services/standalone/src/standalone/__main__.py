"""`python -m standalone`: a market, the order books, the fair prices, a database and a page, in one process."""

import sys

from fairprice.runtime.launch import launch


def main() -> int:
    """Run the command line and return the exit code."""
    return launch("standalone.program")


if __name__ == "__main__":
    sys.exit(main())
