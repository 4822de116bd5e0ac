"""Lets the test modules of this folder share others, and gives them each RabbitMQ that there is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("broker_contract", "broker_steps")

from rabbitmq_nodes import SERVERS, Given, Node, reached  # noqa: E402


@pytest.fixture(scope="session", params=SERVERS, ids=str)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node | Given]:
    """A server of every version, which these tests empty again and again."""
    with reached(request.param, tmp_path_factory) as server:
        yield server
