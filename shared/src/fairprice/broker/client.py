"""A process's connection to the broker: where it is, keeping it, and whether it is all right."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator

from fairprice.broker import addresses
from fairprice.broker.amqp import AmqpBroker
from fairprice.runtime.backoff import delays
from fairprice.runtime.clock import SystemClock
from fairprice.runtime.settings import ServiceSettings
from fairprice.topology import EXCHANGES, USES, Exchange


class BrokerSettings(ServiceSettings):
    """Where the broker is and who one is there."""

    broker_url: str = Field(
        addresses.EXAMPLE,
        description="RabbitMQ; amqps:// for TLS, a path is the virtual host; of a cluster all, separated by commas",
    )
    broker_user: str = Field("", description="user at the broker, where it is not in the address")
    broker_password: SecretStr = Field(SecretStr(""), description="password at the broker")

    @field_validator("broker_url")
    @classmethod
    def _is_amqp(cls, url: str) -> str:
        addresses.parse(url)
        return url

    def address(self) -> str:
        """Return the addresses with user and password; a password in a file is read again each time."""
        if not self.broker_user:
            return self.broker_url
        login = f"{quote(self.broker_user, safe='')}:{quote(self.broker_password.get_secret_value(), safe='')}"
        return ",".join(_as_user(login, url) for url in addresses.split(self.broker_url))

    def shuffled(self, random: Random) -> Self:
        """Return the same with the addresses in another order."""
        urls = addresses.split(self.broker_url)
        return self.model_copy(update={"broker_url": ",".join(random.sample(urls, len(urls)))})


def _as_user(login: str, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def connected(
    service: str, settings: BrokerSettings, *, exchanges: Iterable[Exchange] = EXCHANGES, purpose: str = ""
) -> AsyncIterator[AmqpBroker]:
    """Keep a broker connected for as long as the block runs; RabbitMQ lists it as `fairprice <service>`.

    The exchanges and queues that the service uses are looked after, and declared where they are missing and it may. A
    consumer of one's own, which is none of the services, names its own and uses all of them. Each process tries the
    nodes of a cluster in an order of its own, so that they share the connections, also those that one of them had.
    """
    name = f"fairprice {service} {purpose}".rstrip()
    random = Random()  # noqa: S311  jitter
    back_off = partial(delays, random)
    use = USES.get(service)
    url = settings.shuffled(random).address
    broker = AmqpBroker(url, name=name, clock=SystemClock(), back_off=back_off, exchanges=exchanges, use=use)
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
