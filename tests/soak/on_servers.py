"""The services as processes, over a RabbitMQ and an InfluxDB that the environment names, or that are on PATH."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from brokers import PrivateBroker, given_broker, is_rabbitmq_on_path
from databases import PrivateDatabase, given_database, is_influxd_on_path
from pipeline import Pipeline
from pydantic import SecretStr
from rabbitmq_nodes import PROGRAMS
from waiting import eventually

from fairprice.broker.client import BrokerSettings, connected
from fairprice.broker.port import Broker
from fairprice.topology import BOOKS, UNROUTED, Exchange
from storer.stores.influxql import InfluxReader
from storer.stores.port import Reader
from tests.soak.stage import TRUTH, Market, Stage

PATIENCE = 60.0
"""Seconds that a service may take to be ready, and that a page of rows may take."""

FINISHED = 900
"""Seconds that the work which is left at the end may take, also on a busy machine."""

BOOKS_COMPARED = Exchange(BOOKS, (TRUTH,), alternate=UNROUTED)


def are_there() -> bool:
    """Return whether there are a broker and a database."""
    return bool((given_broker() or is_rabbitmq_on_path()) and (given_database() or is_influxd_on_path()))


@contextmanager
def pipeline(folder: Path) -> Iterator[Pipeline]:
    """Yield a virtual host and an organization; servers of our own where none are named."""
    with ExitStack() as stack:
        broker, database = given_broker(), given_database()
        if broker is None:
            broker = PrivateBroker(_made(folder / "rabbitmq"), PROGRAMS[-1].folder)
            stack.callback(broker.node.destroy)
            broker.node.start()
        if database is None:
            database = PrivateDatabase(_made(folder / "influxdb"))
            stack.callback(database.kill)
        pipeline = Pipeline(broker, database, folder / "pipeline", is_witnessed=False)
        stack.callback(pipeline.close)
        yield pipeline


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


class OnServers(Stage):
    """Processes; whoever works between the exchange and the database can be killed and frozen."""

    crawlers = ("crawler-0", "crawler-1")
    victims = (*crawlers, "converter", "storer")
    can_freeze = True

    def __init__(self, pipeline: Pipeline, broker: Broker) -> None:
        self.broker = broker
        self._pipeline = pipeline
        self._services = {}

    async def start(self, market: Market) -> None:
        self._symbols = market.symbols
        await asyncio.to_thread(self._start, market)

    def _start(self, market: Market) -> None:
        environ = {
            "FAIRPRICE_SYMBOLS": ",".join(market.symbols),
            "FAIRPRICE_STORE_BOOK_INTERVAL": "1s",
            "FAIRPRICE_EXCHANGE_REST_URL": market.rest_url,
            "FAIRPRICE_EXCHANGE_STREAM_URL": market.stream_url,
            "FAIRPRICE_STREAM_CONNECTIONS": "2",
            "FAIRPRICE_ADDRESS_SHARE": str(1 / len(self.crawlers)),
            "FAIRPRICE_SILENCE_TIMEOUT": "2s",
        }
        for name in ("storer", "converter", "gateway", *self.crawlers):
            folder = str(self._pipeline.folder / name)
            self._services[name] = self._pipeline.start(name.partition("-")[0], **environ, FAIRPRICE_STATE_DIR=folder)
            if name not in {"gateway", *self.crawlers}:
                self._services[name].until_ready()

    async def restart(self, name: str) -> None:
        self._services[name].start()

    async def kill(self, name: str) -> None:
        self._services[name].kill()

    async def freeze(self, name: str) -> None:
        self._services[name].freeze()

    async def thaw(self, name: str) -> None:
        self._services[name].thaw()

    async def out_of_sync(self, name: str) -> Collection[str]:
        problems = await asyncio.to_thread(self._services[name].problems)
        if problems is None:
            return self._symbols
        return [each for each in problems.get("books", "").rpartition("not in sync: ")[2].split(", ") if each]

    async def resyncs(self, name: str) -> int:
        return round(await asyncio.to_thread(self._services[name].metric, "crawler_resyncs_total"))

    def megabytes(self) -> Mapping[str, float]:
        running = {name: each for name, each in self._services.items() if each.is_running}
        return {f"{name} {each.process.pid}": each.megabytes() for name, each in running.items()}

    async def depths(self) -> Mapping[str, int]:
        queues = await asyncio.to_thread(self._pipeline.host.queues)
        return {name: sum(held) for name, held in queues.items() if not name.startswith("amq.")}

    async def finish(self) -> None:
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        for name in self.crawlers:
            self._services[name].stop()
        eventually(lambda: not any(map(sum, self._pipeline.host.queues().values())), FINISHED, pause=1)
        self._pipeline.finish()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        token = SecretStr(self._pipeline.token_file.read_text().strip())
        reader = InfluxReader(self._pipeline.org.address, token, PATIENCE)
        try:
            yield reader
        finally:
            await reader.close()


@asynccontextmanager
async def on_servers(pipeline: Pipeline) -> AsyncIterator[OnServers]:
    """Yield the stage when there is the queue that is compared with the truth."""
    user, password = pipeline.host.broker.login
    settings = BrokerSettings.load({}, broker_url=pipeline.host.url, broker_user=user, broker_password=password)
    async with connected("soak", settings, exchanges=(BOOKS_COMPARED,)) as broker:
        while broker.problem():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.1)
        yield OnServers(pipeline, broker)
