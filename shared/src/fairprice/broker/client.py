"""A process's connection to the broker: where it is, keeping it, and whether it is all right."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator

from fairprice.broker.amqp import AmqpBroker
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.settings import ServiceSettings
from fairprice.topology import EXCHANGES, USES, Exchange


class BrokerSettings(ServiceSettings):
    """Where the broker is and who one is there."""

    broker_url: str = Field(
        "amqp://localhost:5672", description="RabbitMQ; amqps:// for TLS, a path is the virtual host"
    )
    broker_user: str = Field("", description="user at the broker, where it is not in the address")
    broker_password: SecretStr = Field(SecretStr(""), description="password at the broker")

    @field_validator("broker_url")
    @classmethod
    def _is_amqp(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
            raise ValueError("write an address like amqp://localhost:5672")
        return url

    def address(self) -> str:
        """Return the address with user and password; a password in a file is read again each time."""
        if not self.broker_user:
            return self.broker_url
        parts = urlsplit(self.broker_url)
        login = f"{quote(self.broker_user, safe='')}:{quote(self.broker_password.get_secret_value(), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def connected(
    service: str, settings: BrokerSettings, *, exchanges: Iterable[Exchange] = EXCHANGES, purpose: str = ""
) -> AsyncIterator[AmqpBroker]:
    """Keep a broker connected for as long as the block runs; RabbitMQ lists it as `fairprice <service>`.

    The exchanges and queues that the service uses are looked after, and declared where they are missing and it may. A
    consumer of one's own, which is none of the services, names its own and uses all of them.
    """
    name = f"fairprice {service} {purpose}".rstrip()
    back_off = partial(delays, Random())  # noqa: S311  jitter
    use = USES.get(service)
    broker = AmqpBroker(
        settings.address, name=name, clock=SystemClock(), back_off=back_off, exchanges=exchanges, use=use
    )
    async with asyncio.TaskGroup() as tasks:
        connection = tasks.create_task(broker.run())
        try:
            yield broker
        finally:
            connection.cancel()


async def broker_problem(service: str, settings: BrokerSettings, *, seconds: float = 10.0) -> str | None:
    """Connect, and return what is wrong with the broker after so many seconds, or None as soon as nothing is."""
    async with connected(service, settings, purpose="check") as broker:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while broker.problem():  # noqa: ASYNC110  a check has no event
                    await asyncio.sleep(0.1)
        return broker.problem()
