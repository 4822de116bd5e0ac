"""What deploys more converters and storers asks a real broker as KEDA does, and learns how long the queues are."""

from itertools import chain
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
import yaml_files
from brokers import call
from waiting import eventually

COMPONENT = Path(__file__).parents[2] / "deploy" / "kubernetes" / "components" / "keda" / "scalers.yaml"
WAITING = 7
MESSAGE = {"properties": {}, "routing_key": "", "payload": "{}", "payload_encoding": "string"}

pytestmark = pytest.mark.rabbitmq


def triggers():
    scalers = [each for each in yaml_files.documents(COMPONENT.read_text()) if each["kind"] == "ScaledObject"]
    return [trigger["metadata"] for trigger in chain.from_iterable(each["spec"]["triggers"] for each in scalers)]


@pytest.fixture
def ask(private_broker):
    """Ask the management plug-in as the user `scaler`."""
    password = private_broker.passwords["scaler"].read_text()

    def asked(path, method="GET"):
        return call(method, f"{private_broker.management}/api/{path}", login=("scaler", password))

    return asked


def queue(trigger):
    return f"queues/{quote(trigger['vhostName'], safe='')}/{trigger['queueName']}"


def test_it_is_told_how_many_messages_wait_and_may_do_nothing_else(private_broker, ask):
    asked = triggers()
    assert {trigger["protocol"] for trigger in asked} == {"http"}
    for exchange in ("books", "prices"):
        for _ in range(WAITING):
            private_broker.call("POST", f"exchanges/%2F/{exchange}/publish", MESSAGE)
    try:
        for trigger in asked:
            eventually(lambda trigger=trigger: ask(queue(trigger)).get("messages") == WAITING)
            with pytest.raises(HTTPError, match="401") as raised:
                ask(f"{queue(trigger)}/contents", "DELETE")
            raised.value.close()
        with pytest.raises(HTTPError, match="401") as raised:
            ask("users")
        raised.value.close()
    finally:
        for trigger in asked:
            private_broker.call("DELETE", f"{queue(trigger)}/contents")
