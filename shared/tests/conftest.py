"""Gives the tests of this folder each RabbitMQ that there is."""

from collections.abc import Iterator

import pytest
from rabbitmq_nodes import SERVERS, Given, Node, reached


@pytest.fixture(scope="session", params=SERVERS, ids=str)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node | Given]:
    """A server of every version, which these tests empty again and again."""
    with reached(request.param, tmp_path_factory) as server:
        yield server
