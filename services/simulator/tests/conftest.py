import logging
import sys
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parent))


class NaiveBook:
    """An order book kept in the most obvious way from what the exchange sends, in decimals: the tests' own opinion."""

    def __init__(self, snapshot: bytes) -> None:
        document = orjson.loads(snapshot)
        self.update_id = document["lastUpdateId"]
        self.bids = {Decimal(price): Decimal(quantity) for price, quantity in document["bids"]}
        self.asks = {Decimal(price): Decimal(quantity) for price, quantity in document["asks"]}

    def apply(self, event) -> bool:
        """Applies a diff unless it is old; true when it was applied. A hole is an error."""
        if event["u"] <= self.update_id:
            return False
        first_id = event["pu"] + 1 if "pu" in event else event["U"]
        assert first_id <= self.update_id + 1, f"hole between {self.update_id} and {first_id}"
        for side, rows in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in rows:
                side[Decimal(price)] = Decimal(quantity)
                if Decimal(quantity) == 0:
                    del side[Decimal(price)]
        self.update_id = event["u"]
        return True

    def equals(self, book) -> bool:
        """Whether an exchange's book says the same."""
        return self.bids == numbers(book.bids) and self.asks == numbers(book.asks)


def numbers(levels):
    return {Decimal(price): Decimal(quantity) for price, quantity in levels}


@pytest.fixture(scope="session")
def naive_book():
    return NaiveBook


@pytest.fixture(autouse=True)
def no_errors_logged(caplog):
    """A handler that fails is logged by aiohttp, not raised: no test may pass over it."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
