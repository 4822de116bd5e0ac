"""The benchmark of several processes of a service, short: everything flows through all of them."""

import re
import subprocess
import sys

import pytest

from benchmarks import bench_scaling, servers

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

SHORT = (
    "from benchmarks import bench_scaling\nfor line in bench_scaling.report(2.0, symbols=12, counts=(2,)): print(line)"
)
"""In a process of its own, since it sets up the log."""


@pytest.mark.skipif(servers.missing() is not None, reason=f"the scaling benchmark needs servers: {servers.missing()}")
def test_two_of_each_service_store_what_one_does():
    told = subprocess.run([sys.executable, "-c", SHORT], check=True, stdout=subprocess.PIPE, text=True).stdout

    rates = re.findall(r"2 x (\w+): ([\d,]+) books/s stored", told)
    assert [service for service, _ in rates] == list(bench_scaling.SCALED)
    assert all(int(rate.replace(",", "")) for _, rate in rates)
