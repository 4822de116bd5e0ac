"""The benchmark of several processes of a service, short: everything flows through all of them."""

import re

import pytest

from benchmarks import bench_scaling, servers

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]


@pytest.mark.skipif(servers.missing() is not None, reason=f"the scaling benchmark needs servers: {servers.missing()}")
def test_two_of_each_service_store_what_one_does():
    told = list(bench_scaling.report(2.0, symbols=4, counts=(2,)))

    services = [re.search(r"2 x (\w+): ([\d,]+) books/s stored", line).groups() for line in told]
    assert [name for name, _ in services] == list(bench_scaling.SCALED)
    assert all(int(rate.replace(",", "")) for _, rate in services)
