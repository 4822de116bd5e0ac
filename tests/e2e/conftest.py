"""Gives these tests real servers: private ones where the programs are on PATH."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brokers import Broker, PrivateBroker, given_broker, is_rabbitmq_on_path
from databases import PrivateDatabase, given_database, is_influxd_on_path
from influx_server import Server
from pipeline import Pipeline
from rabbitmq_nodes import PROGRAMS as RABBITMQ_PROGRAMS
from rabbitmq_nodes import Nothing, Programs

PROGRAMS = "private servers, which it stops and kills: put rabbitmq-server and influxd on PATH"
ADDRESSES = (
    "FAIRPRICE_TEST_RABBITMQ_URL with FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL, and FAIRPRICE_TEST_INFLUXDB_URL, set"
)


@pytest.fixture(scope="session")
def private_brokers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Programs | Nothing], PrivateBroker]]:
    """Start a node of each version when it is asked for."""
    brokers: dict[Programs, PrivateBroker] = {}

    def of(programs: Programs | Nothing) -> PrivateBroker:
        if isinstance(programs, Nothing):
            pytest.skip(f"needs {PROGRAMS}")
        if programs not in brokers:
            brokers[programs] = PrivateBroker(tmp_path_factory.mktemp("rabbitmq"), programs.folder)
            brokers[programs].node.start()
        return brokers[programs]

    try:
        yield of
    finally:
        for broker in brokers.values():
            broker.node.destroy()


@pytest.fixture(scope="session")
def private_broker(private_brokers: Callable[[Programs | Nothing], PrivateBroker]) -> PrivateBroker:
    """A node of the version that was named last."""
    return private_brokers(RABBITMQ_PROGRAMS[-1])


@pytest.fixture(params=RABBITMQ_PROGRAMS, ids=lambda programs: f"RabbitMQ of {programs}")
def each_private_broker(
    request: pytest.FixtureRequest, private_brokers: Callable[[Programs | Nothing], PrivateBroker]
) -> PrivateBroker:
    """A node of every version that is there."""
    return private_brokers(request.param)


@pytest.fixture
def oldest(request: pytest.FixtureRequest, private_brokers: Callable[[Programs | Nothing], PrivateBroker]) -> Broker:
    """A broker of the version that was named first, which need not be killed."""
    return private_brokers(RABBITMQ_PROGRAMS[0]) if is_rabbitmq_on_path() else request.getfixturevalue("broker")


@pytest.fixture(scope="session")
def private_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDatabase]:
    if not is_influxd_on_path():
        pytest.skip(f"needs {PROGRAMS}")
    database = PrivateDatabase(tmp_path_factory.mktemp("influxdb"))
    try:
        yield database
    finally:
        database.kill()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker that need not be killed."""
    if is_rabbitmq_on_path():
        return request.getfixturevalue("private_broker")
    return given_broker() or pytest.skip(f"needs {PROGRAMS}, or {ADDRESSES}")


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Server:
    """A database that need not be killed."""
    if is_influxd_on_path():
        return request.getfixturevalue("private_database")
    return given_database() or pytest.skip(f"needs {PROGRAMS}, or {ADDRESSES}")


@pytest.fixture
def make_pipeline(
    tmp_path: Path, database: Server, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Broker], Pipeline]]:
    """Make a pipeline in a virtual host and a bucket of its own; afterwards its queues hold nothing unexpected."""
    pipelines = []

    def make(broker: Broker) -> Pipeline:
        pipelines.append(Pipeline(broker, database, tmp_path / f"pipeline-{len(pipelines)}", capsys))
        return pipelines[-1]

    try:
        yield make
        for pipeline in pipelines:
            pipeline.assert_clean()
    finally:
        for pipeline in pipelines:
            pipeline.close()


@pytest.fixture
def pipeline(make_pipeline: Callable[[Broker], Pipeline], broker: Broker) -> Pipeline:
    return make_pipeline(broker)
