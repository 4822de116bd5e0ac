"""A service that is asked to end works off what it was handed: nobody is handed it again."""

from contextlib import ExitStack

import pytest
from forwarder import Handovers, forwarding
from ports import free_port

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb, pytest.mark.timeout(150)]

ROUNDS = 5
SERVICES = ("converter", "storer")


def test_after_a_clean_stop_in_mid_stream_nothing_is_handed_over_again(pipeline):
    handovers = {name: Handovers() for name in SERVICES}
    environs = {}
    with ExitStack() as stack:
        for name in SERVICES:
            port = free_port()
            stack.enter_context(forwarding(port, pipeline.host.broker.host, handovers[name].listener))
            environs[name] = {"FAIRPRICE_BROKER_URL": pipeline.host.url_at(f"127.0.0.1:{port}")}
        services = pipeline.start_chain(**environs)
        marked = 0
        for _ in range(ROUNDS):
            for name in SERVICES:
                marked += services[name].metric("broker_deliveries_total", time="again")
                services[name].stop()
                services[name].start()
                services[name].until_ready()
                pipeline.wait_for_more(100)
        marked += pipeline.redelivered()
        pipeline.finish()
    again = {name: {each for each, times in seen.times.items() if times > 1} for name, seen in handovers.items()}
    assert again == {name: set() for name in SERVICES}
    ledger = pipeline.assert_even(f"{ROUNDS} clean stops of each", "handed over again 0", again=marked)
    assert handovers["converter"].times.total() >= len(ledger.books) / 100
    assert ledger.repeated == 0, "prices were published twice"
    assert ledger.gaps == {}
