import asyncio

import pytest

from fairprice.errors import SettingsError
from fairprice.runtime import process
from fairprice.runtime.process import BrokerSettings, broker_problem, drained, healthy, told


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


async def test_a_broker_that_is_not_there_is_named_in_words(monkeypatch):
    monkeypatch.setattr(process, "CHECK_TIMEOUT", 0.5)
    problem = await broker_problem("test", BrokerSettings(broker_url="amqp://localhost:1"))

    assert "cannot connect to the broker at localhost:1" in (problem or "")


def test_what_was_looked_at_is_told_line_by_line():
    assert told({"settings": None, "broker": "not there"}) == "settings   all right\nbroker     not there"


async def test_work_that_is_told_to_stop_may_end_by_itself():
    stop, ended = asyncio.Event(), asyncio.Event()

    async def work():
        await stop.wait()
        await asyncio.sleep(0.01)
        ended.set()

    asyncio.get_running_loop().call_later(0.01, stop.set)
    await drained(stop, work())

    assert ended.is_set()


async def test_work_that_does_not_end_in_time_is_cancelled(monkeypatch):
    monkeypatch.setattr(process, "DRAIN_TIMEOUT", 0.02)
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def work():
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()

    asyncio.get_running_loop().call_later(0.01, stop.set)
    await drained(stop, work())

    assert cancelled.is_set()


async def test_an_error_in_the_work_is_raised():
    async def work():
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as raised:
        await drained(asyncio.Event(), work())

    assert [str(error) for error in raised.value.exceptions] == ["broken"]


async def test_the_usual_port_gives_way_to_the_environment():
    async with healthy({"FAIRPRICE_HTTP_PORT": "0"}, 8002, {}) as url:
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(":8002")
