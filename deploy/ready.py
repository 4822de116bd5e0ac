#!/opt/fairprice/bin/python -IS

"""Exits with 0 when the service of this container is ready, else with 1 after printing what is missing.

It is the health check of every service's image. The port is the one of `FAIRPRICE_HTTP_PORT`.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> int:
    """Ask `/readyz`."""
    try:
        connection = HTTPConnection("127.0.0.1", int(os.environ["FAIRPRICE_HTTP_PORT"]), timeout=4)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        sys.stdout.write(answer.read().decode())
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"no answer: {error}")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
