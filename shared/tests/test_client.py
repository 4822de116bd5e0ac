"""A process's connection to the broker."""

from itertools import permutations
from random import Random

import pytest

from fairprice.broker.client import BrokerSettings, broker_problem
from fairprice.errors import SettingsError


def test_user_and_password_may_be_apart_from_the_address():
    settings = BrokerSettings.load(
        {
            "FAIRPRICE_BROKER_URL": "amqps://ignored:too@host:5671/vhost",
            "FAIRPRICE_BROKER_USER": "the storer",
            "FAIRPRICE_BROKER_PASSWORD": "p@ss/word",
        }
    )

    assert settings.address() == "amqps://the%20storer:p%40ss%2Fword@host:5671/vhost"
    assert "p@ss" not in repr(settings)


def test_user_and_password_are_those_of_every_node():
    settings = BrokerSettings.load(
        {
            "FAIRPRICE_BROKER_URL": "amqp://one:5672, amqps://ignored:too@two/vhost",
            "FAIRPRICE_BROKER_USER": "me",
            "FAIRPRICE_BROKER_PASSWORD": "a,amqp://b",
        }
    )

    assert settings.address() == "amqp://me:a%2Camqp%3A%2F%2Fb@one:5672,amqps://me:a%2Camqp%3A%2F%2Fb@two/vhost"


def test_processes_begin_at_different_nodes_and_go_on_in_different_orders():
    nodes = ["amqp://one", "amqp://two", "amqp://three"]
    settings = BrokerSettings(broker_url=",".join(nodes))
    orders = {settings.shuffled(Random(seed)).address() for seed in range(50)}

    assert orders == {",".join(order) for order in permutations(nodes)}


def test_a_password_in_a_file_is_read_anew(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("old\n")
    settings = BrokerSettings.load({"FAIRPRICE_BROKER_USER": "me", "FAIRPRICE_BROKER_PASSWORD_FILE": str(secret)})
    assert settings.address() == "amqp://me:old@localhost:5672"
    secret.write_text("new\n")

    assert settings.address() == "amqp://me:new@localhost:5672"


@pytest.mark.parametrize("url", ["http://localhost", "localhost:5672", "amqp://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SettingsError, match="FAIRPRICE_BROKER_URL: write an address like amqp://localhost:5672"):
        BrokerSettings.load({"FAIRPRICE_BROKER_URL": url})


def test_a_bad_address_is_named_and_no_password_shown():
    urls = "amqp://me:s3cret@one,http://me:s3cret@two,amqp://me:s3cret@three"
    with pytest.raises(SettingsError, match=r"address 2 of 3: write an address like .*, not 'two'") as caught:
        BrokerSettings.load({"FAIRPRICE_BROKER_URL": urls})
    assert "s3cret" not in str(caught.value)


async def test_a_broker_that_is_not_there_is_named_in_words():
    problem = await broker_problem("test", BrokerSettings(broker_url="amqp://localhost:1"), seconds=0.5)

    assert "cannot connect to the broker at localhost:1" in (problem or "")
