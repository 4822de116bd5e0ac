"""Which InfluxDB a server is, by what it answers to `GET /ping`: version 2 is needed, others look alike at first.

Version 3 takes the writes of version 2, and has neither its buckets, tokens and tasks, nor one fixed result of writing
a point twice: https://docs.influxdata.com/influxdb3/core/api/server-information/
"""

import re
from collections.abc import Mapping

NEEDED = "Fairprice needs InfluxDB 2, as in the container image influxdb:2; the image's tag `latest` is version 3"

PERHAPS_3 = f"it wants a token for /ping too, which InfluxDB 3 does and InfluxDB 2 does not: {NEEDED}"
"""The problem to report when `/ping` is answered with 401, which a proxy may do as well."""


def named_major(headers: Mapping[str, str]) -> int | None:
    """Return the major version that a reply to `/ping` names, None where it names none."""
    found = re.match(r"v?(\d+)\.", headers.get("X-Influxdb-Version", ""))
    return int(found[1]) if found else None


def another_version(headers: Mapping[str, str]) -> str:
    """Describe a server that is no InfluxDB 2, and what is needed in its place."""
    major, version = named_major(headers), headers.get("X-Influxdb-Version", "").removeprefix("v")
    build = headers.get("X-Influxdb-Build", "")
    edition = f" {build}" if build and build != "OSS" else ""
    return f"is InfluxDB {major}{edition} (version {version}); {NEEDED}"
