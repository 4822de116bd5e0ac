"""What the storer keeps is what the gateway reads: rows of the one, asked for by the other."""

from contextlib import AsyncExitStack

import pytest
from exchange_data import START, audit, gap, price

from gateway.key import Key
from gateway.stored.port import MINUTE, Bar, Compared
from gateway.stored.sqlite import SqliteHistory
from storer.measurements import audit_point, fair_price_point, gap_point
from storer.stores.sqlite import open_sqlite

BTC = Key("binance", "BTCUSDT")


@pytest.fixture
async def history(tmp_path):
    path = tmp_path / "history.db"
    async with AsyncExitStack() as stack:
        store = await open_sqlite(path)
        stack.push_async_callback(store.close)
        history = SqliteHistory(path)
        stack.push_async_callback(history.close)
        spread = price(0).values["spread"]
        numbers = (0, 30_000, 59_999, 60_000, 125_000)
        rows = [price(number, price=float(number), values=price(0).values) for number in numbers]
        await store.write([fair_price_point(each) for each in rows])
        await store.write([gap_point(gap(130_000)), audit_point(audit(0)), audit_point(audit(1, wrong=2))])
        yield history, spread


async def test_rows_of_the_storer_are_answers_of_the_gateway_while_it_goes_on_storing(history):
    history, spread = history
    assert await history.keys() == [BTC]
    assert await history.newest(BTC) == START + 125_000_000
    assert await history.minutes(BTC, START, START + 3 * MINUTE, MINUTE) == [
        Bar(START, 0.0, 59_999.0, 0.0, 59_999.0, spread, 3),
        Bar(START + MINUTE, 60_000.0, 60_000.0, 60_000.0, 60_000.0, spread, 1),
    ]
    assert await history.ticks(BTC, START + 2 * MINUTE, START + 3 * MINUTE, MINUTE) == [
        Bar(START + 2 * MINUTE, 125_000.0, 125_000.0, 125_000.0, 125_000.0, spread, 1)
    ]
    assert await history.compared(BTC, START, START + 2 * MINUTE, MINUTE) == [
        Compared(START, 1, 0), Compared(START + MINUTE, 1, 2)
    ]  # fmt: skip
    (found,) = await history.gaps(BTC, START, START + 10 * MINUTE)
    assert (found.from_update_id, found.open_ids, found.reason) == (130_000, 6, "sequence")
