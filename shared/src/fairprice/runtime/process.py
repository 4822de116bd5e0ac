"""A service as a process of its own: its connection to the broker, its health, its end.

The parts are contexts that a service's `__main__` puts around its work.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from pydantic import Field, SecretStr, field_validator

from fairprice.broker.amqp import AmqpBroker
from fairprice.runtime.backoff import delays
from fairprice.runtime.health import Check, health_routes, serve
from fairprice.runtime.metrics import Exporter, Sample
from fairprice.runtime.settings import HttpSettings, ServiceSettings
from fairprice.topology import EXCHANGES, Exchange

CHECK_TIMEOUT = 10.0
"""Seconds that `check` gives a server to answer."""

DRAIN_TIMEOUT = 15.0
"""Seconds after SIGTERM for what was begun; whoever kills a service should wait longer."""

log = structlog.get_logger(__name__)


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
        """Return the address with user and password; a password in a file is read anew each time."""
        if not self.broker_user:
            return self.broker_url
        parts = urlsplit(self.broker_url)
        login = f"{quote(self.broker_user, safe='')}:{quote(self.broker_password.get_secret_value(), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


@asynccontextmanager
async def connected(
    name: str, settings: BrokerSettings, exchanges: Iterable[Exchange] = EXCHANGES
) -> AsyncIterator[AmqpBroker]:
    """Keep a broker connected for as long as the block runs; RabbitMQ lists it as `fairprice <name>`.

    `exchanges` and their queues are looked after, and declared where they are missing and the user may.
    """
    back_off = partial(delays, Random())  # noqa: S311  jitter
    broker = AmqpBroker(settings.address, name=f"fairprice {name}", back_off=back_off, exchanges=exchanges)
    async with asyncio.TaskGroup() as tasks:
        connection = tasks.create_task(broker.run())
        try:
            yield broker
        finally:
            connection.cancel()


def process_registry(*samples: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """Return what `/metrics` tells of a process: its memory and processor time, and these samples."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Exporter(lambda: chain.from_iterable(read() for read in samples)))
    return registry


@asynccontextmanager
async def healthy(
    environ: Mapping[str, str],
    port: int,
    checks: Mapping[str, Check],
    *samples: Callable[[], Iterable[Sample]],
) -> AsyncIterator[str]:
    """Serve `/livez`, `/readyz` and `/metrics` on the usual port, or where the environment says; yield the URL."""
    settings = HttpSettings.load({"FAIRPRICE_HTTP_PORT": str(port), **environ})
    async with serve(health_routes(checks, process_registry(*samples)), settings.http_host, settings.http_port) as url:
        yield url


async def drained(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, which is told to end by `stop`, and cancel it if it has not ended `DRAIN_TIMEOUT` seconds later."""
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work)
        stopped = tasks.create_task(stop.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        _, undone = await asyncio.wait({working}, timeout=DRAIN_TIMEOUT)
        if undone:
            log.warning(
                "not everything was done in time; the broker keeps it for the next start", seconds=DRAIN_TIMEOUT
            )
            working.cancel()
        stopped.cancel()


async def broker_problem(name: str, settings: BrokerSettings) -> str | None:
    """Connect, and return what is wrong with the broker after some seconds, or None as soon as nothing is."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + CHECK_TIMEOUT
    async with connected(f"{name} check", settings) as broker:
        while (problem := broker.problem()) and clock() < deadline:  # noqa: ASYNC110  a check has no event
            await asyncio.sleep(0.1)
    return problem


def told(problems: Mapping[str, str | None]) -> str:
    """Return what `<service> check` prints: a line for each thing that was looked at."""
    return "\n".join(f"{name:10} {problem or 'all right'}" for name, problem in problems.items())
