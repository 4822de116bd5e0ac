"""Who is asked to end works off what it was handed; neither that nor a gateway that is killed is noticed by others."""

from contextlib import ExitStack

import pytest
from forwarder import Handovers, forwarding
from ports import free_port

from fairprice.topology import BOOKS, LIVE, PRICES

pytestmark = [pytest.mark.rabbitmq, pytest.mark.influxdb]

ROUNDS = 4
SERVICES = ("converter", "storer")


def test_after_clean_stops_in_mid_stream_and_kills_of_the_gateway_nothing_is_handed_over_again(pipeline):
    handovers = {name: Handovers() for name in SERVICES}
    environs = {}
    with ExitStack() as stack:
        for name in SERVICES:
            port = free_port()
            stack.enter_context(forwarding(port, pipeline.host.broker.host, handovers[name].listener))
            environs[name] = {"FAIRPRICE_BROKER_URL": pipeline.host.url_at(f"127.0.0.1:{port}")}
        services = pipeline.start_chain(**environs)
        gateway = services["gateway"]
        for _ in range(ROUNDS):
            gateway.kill()
            for name in SERVICES:
                pipeline.note_again(services[name])
                services[name].stop()
                services[name].start()
                services[name].until_ready()
                pipeline.wait_for_more(100)
            gateway.start()
            gateway.until_ready()
        taps = [name for name in pipeline.host.queues() if name.startswith("amq.gen")]
        assert len(taps) == len((BOOKS, PRICES, LIVE)), "the queues of those who were killed are still there"
        assert [services[name].metric("broker_lost_connections_total") for name in SERVICES] == [0, 0]
        pipeline.finish("storer")
        [newest] = pipeline.newest("fair_price", 1)
        shown = gateway.price(newest["symbol"])
        assert (shown["update_id"], shown["price"]) == (newest["update_id"], newest["price"])
        pipeline.finish()
    assert [services[name].log_lines("warning", "error") for name in SERVICES] == [[], []]
    ledger = pipeline.assert_even(f"{ROUNDS} clean stops of each", "handed over again 0")
    again = [dict(seen.times - ledger.published) for seen in handovers.values()]
    assert again == [{}, {}]
    assert handovers["converter"].times.total() >= len(ledger.books) / 100
    assert ledger.gaps == {}
