"""`python -m standalone`: a market, the order books, the fair prices, a database and a page, in one process."""

import os
import signal
import sys


def main() -> int:
    """Run the pipeline and return the exit code: 0 done and right, 1 something is wrong, 2 could not be done."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # half a second of loading: Ctrl-C has nothing to drain, nor to trace
    from standalone import program  # noqa: PLC0415  what takes that long

    return program.run(sys.argv[1:], os.environ)


if __name__ == "__main__":
    sys.exit(main())
